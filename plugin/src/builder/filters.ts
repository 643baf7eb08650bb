import { BuilderQuery, ColumnType, Condition, toValue } from './model';

/** Filter is one value of a column that is wanted, or not wanted. */
export interface Filter {
  column: string;
  operator: '==' | '!=';
  value: string;
  type?: ColumnType;
}

const matches = (any: Condition[], { column, operator, value }: Filter) =>
  any.length === 1 &&
  any[0].column === column &&
  any[0].operator === operator &&
  any[0].values.length === 1 &&
  any[0].values[0].text === value;

/** hasFilter reports whether the builder has exactly this filter. */
export function hasFilter(b: BuilderQuery, filter: Filter): boolean {
  return b.filters.some((any) => matches(any, filter));
}

/** addFilter adds a filter, in place of its opposite when that is there. */
export function addFilter(b: BuilderQuery, filter: Filter): BuilderQuery {
  const { filters } = removeFilter(b, { ...filter, operator: filter.operator === '==' ? '!=' : '==' });
  if (hasFilter(b, filter)) {
    return { ...b, filters };
  }
  const { column, operator, value, type = 'string' } = filter;
  // The value of a row: what looks like a variable in it is none.
  return { ...b, filters: [...filters, [{ column, operator, values: [toValue(value, type, [])] }]] };
}

/** removeFilter takes a filter away. */
export function removeFilter(b: BuilderQuery, filter: Filter): BuilderQuery {
  return { ...b, filters: b.filters.filter((any) => !matches(any, filter)) };
}
