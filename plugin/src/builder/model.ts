/**
 * The state of the visual builder, and what may be said with it. The state is
 * kept in the query as `builder`; its KQL (write.ts) is kept in `query`, and
 * the KQL is what counts: provisioning, alert rules and people who read JSON
 * need only that.
 */

/**
 * ValueType says how a value is written. A variable stands for the dashboard's
 * values; a template is a string with variables in it.
 */
export type ValueType = 'string' | 'template' | 'number' | 'bool' | 'datetime' | 'timespan' | 'guid' | 'variable';

/** Value is a literal as the user typed it, without quotes, or a variable with its dollar. */
export interface Value {
  type: ValueType;
  text: string;
}

/** Condition compares a column. A condition that is not complete is not written. */
export interface Condition {
  column: string;
  operator: string;
  values: Value[];
}

/** Aggregate is one computed column of `summarize`. */
export interface Aggregate {
  function: string;
  /** column is what is aggregated; count and countif have none. */
  column?: string;
  /** parameter is the percentile, from 0 to 100. */
  parameter?: number;
  /** condition is countif's. */
  condition?: Condition;
  /** returning has the columns that arg_max and arg_min give besides; empty means all. */
  returning?: string[];
  /** alias is the name of the result; without one Kusto makes one up. */
  alias?: string;
}

/** Group is one `by` of summarize: a column, or bins of it. */
export interface Group {
  column: string;
  /** step makes bins: $__timeInterval, a timespan or a number. */
  step?: string;
}

/** Order is one part of `order by`. */
export interface Order {
  column: string;
  desc: boolean;
}

/** BuilderQuery is the whole state. */
export interface BuilderQuery {
  table: string;
  mode: 'rows' | 'aggregate';
  /** timeColumn is limited to the dashboard's range by $__timeFilter. */
  timeColumn?: string;
  /** filters: every one must hold, and of the alternatives within one any. */
  filters: Condition[][];
  /** columns of rows; empty means all. */
  columns: string[];
  aggregates: Aggregate[];
  groupBy: Group[];
  /** having filters what was aggregated. */
  having: Condition[][];
  orderBy: Order[];
  limit?: number;
}

/** TIME is the time column of every table of events. */
export const TIME = 'TimeGenerated';

/** AUTO_STEP is the bin width that follows the dashboard. */
export const AUTO_STEP = '$__timeInterval';

/** emptyBuilder is where a new query begins. */
export function emptyBuilder(table = ''): BuilderQuery {
  return { table, mode: 'rows', filters: [], columns: [], aggregates: [], groupBy: [], having: [], orderBy: [] };
}

/** Arity is how many values an operator takes. */
export type Arity = 'none' | 'one' | 'many' | 'two' | 'variable';

interface OperatorInfo {
  arity: Arity;
  /** types that the operator fits, of columns. */
  types: ColumnType[];
}

/** ColumnType is a kind of column as far as filters go. */
export type ColumnType = 'string' | 'number' | 'bool' | 'datetime' | 'timespan' | 'guid' | 'dynamic';

const ordered: ColumnType[] = ['number', 'datetime', 'timespan'];
const nullable: ColumnType[] = [...ordered, 'bool', 'guid', 'dynamic'];

/** OPERATORS are the comparisons, in the order in which they are offered. */
export const OPERATORS: Record<string, OperatorInfo> = {
  '==': { arity: 'one', types: ['string', 'number', 'bool', 'datetime', 'timespan', 'guid'] },
  '!=': { arity: 'one', types: ['string', 'number', 'bool', 'datetime', 'timespan', 'guid'] },
  in: { arity: 'many', types: ['string', 'number', 'guid'] },
  '!in': { arity: 'many', types: ['string', 'number', 'guid'] },
  $__contains: { arity: 'variable', types: ['string', 'number', 'guid'] },
  '<': { arity: 'one', types: ordered },
  '<=': { arity: 'one', types: ordered },
  '>': { arity: 'one', types: ordered },
  '>=': { arity: 'one', types: ordered },
  between: { arity: 'two', types: ordered },
  '!between': { arity: 'two', types: ordered },
  '=~': { arity: 'one', types: ['string'] },
  '!~': { arity: 'one', types: ['string'] },
  'in~': { arity: 'many', types: ['string'] },
  '!in~': { arity: 'many', types: ['string'] },
  has: { arity: 'one', types: ['string', 'dynamic'] },
  '!has': { arity: 'one', types: ['string', 'dynamic'] },
  has_any: { arity: 'many', types: ['string', 'dynamic'] },
  has_all: { arity: 'many', types: ['string', 'dynamic'] },
  contains: { arity: 'one', types: ['string', 'dynamic'] },
  '!contains': { arity: 'one', types: ['string', 'dynamic'] },
  startswith: { arity: 'one', types: ['string'] },
  '!startswith': { arity: 'one', types: ['string'] },
  endswith: { arity: 'one', types: ['string'] },
  '!endswith': { arity: 'one', types: ['string'] },
  'matches regex': { arity: 'one', types: ['string'] },
  isempty: { arity: 'none', types: ['string'] },
  isnotempty: { arity: 'none', types: ['string'] },
  isnull: { arity: 'none', types: nullable },
  isnotnull: { arity: 'none', types: nullable },
};

interface AggregateInfo {
  /** needs says what stands between the parentheses. */
  needs: 'nothing' | 'column' | 'percentile' | 'condition' | 'returning';
  /** types of columns that it takes; all when absent. */
  types?: ColumnType[];
}

/** AGGREGATES are the functions of summarize, in the order in which they are offered. */
export const AGGREGATES: Record<string, AggregateInfo> = {
  count: { needs: 'nothing' },
  dcount: { needs: 'column' },
  countif: { needs: 'condition' },
  sum: { needs: 'column', types: ['number', 'timespan'] },
  avg: { needs: 'column', types: ordered },
  min: { needs: 'column', types: [...ordered, 'string'] },
  max: { needs: 'column', types: [...ordered, 'string'] },
  percentile: { needs: 'percentile', types: ordered },
  stdev: { needs: 'column', types: ['number'] },
  make_set: { needs: 'column' },
  take_any: { needs: 'column' },
  arg_max: { needs: 'returning', types: ordered },
  arg_min: { needs: 'returning', types: ordered },
};

/** columnType makes the type of a schema's column one of the kinds above. */
export function columnType(type: string | undefined): ColumnType {
  switch (type) {
    case 'int':
    case 'long':
    case 'real':
    case 'decimal':
      return 'number';
    case 'bool':
    case 'datetime':
    case 'timespan':
    case 'guid':
    case 'dynamic':
      return type;
    default:
      return 'string';
  }
}

// The forms that the backend replaces (plugin/pkg/ds, variables.go).
const REFERENCE = /\$[A-Za-z_]\w*|\$\{[A-Za-z_][\w.]*(?::[\w:.\- ]*)?\}|\[\[[A-Za-z_][\w.]*(?::[\w:.\- ]*)?\]\]/g;
const VARIABLE = /^(?:\$(?!__)[A-Za-z_]\w*|\$\{(?!__)[A-Za-z_]\w*(?::\w+)?\}|\[\[(?!__)[A-Za-z_]\w*(?::\w+)?\]\])$/;
const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const UNITS = 'd|days?|h|hrs?|hours?|m|min|minutes?|s|sec|seconds?|ms|millis?|milliseconds?|microseconds?|ticks?';
const TIMESPAN = new RegExp(`^-?\\d+(?:\\.\\d+)?(?:${UNITS})$`);
const CLOCK = /^-?(?:\d+\.)?\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?$/;
const DATETIME = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?)?(?:Z|[+-]\d{2}:\d{2})?$/;
const AGO = new RegExp(`^(?:now\\(\\)|ago\\(\\d+(?:\\.\\d+)?(?:${UNITS})\\))$`);
const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** references are the dashboard variables in a text. */
export function references(text: string): string[] {
  return text.match(REFERENCE) ?? [];
}

/** isVariable reports whether the text is a dashboard variable and nothing else. */
export function isVariable(text: string): boolean {
  return VARIABLE.test(text);
}

/** isClock reports whether a timespan is written as 1.02:03:04 and not as 5m. */
export function isClock(text: string): boolean {
  return CLOCK.test(text);
}

/** isMoment reports whether a datetime is written as it stands: ago(1h), $__timeFrom. */
export function isMoment(text: string): boolean {
  return AGO.test(text) || text === '$__timeFrom' || text === '$__timeTo';
}

/** isValue reports whether a value is one of its type. Others are not written. */
export function isValue({ type, text }: Value): boolean {
  switch (type) {
    case 'string':
      return true;
    case 'template':
      return references(text).length > 0;
    case 'number':
      return NUMBER.test(text);
    case 'bool':
      return text === 'true' || text === 'false';
    case 'datetime':
      return DATETIME.test(text) || isMoment(text);
    case 'timespan':
      return TIMESPAN.test(text) || isClock(text) || text === AUTO_STEP || text === '$__interval';
    case 'guid':
      return GUID.test(text);
    case 'variable':
      return isVariable(text);
  }
}

/**
 * toValue is what a user's text means for a column: a variable, a text with
 * variables in it, or a literal of the column's type. `$name` is a variable only
 * when the dashboard has it: there are devices called $edgeAgent.
 */
export function toValue(text: string, type: ColumnType, variables: string[]): Value {
  const known = (reference: string) => !/^\$\w/.test(reference) || variables.includes(reference);
  const trimmed = text.trim();
  if (isVariable(trimmed) && known(trimmed)) {
    return { type: 'variable', text: trimmed };
  }
  if (type !== 'string' && type !== 'dynamic') {
    return { type, text: trimmed };
  }
  return { type: references(text).some(known) ? 'template' : 'string', text };
}

/** isStep reports whether a bin's step is one that can be written. */
export function isStep(step: string): boolean {
  return (
    isValue({ type: 'timespan', text: step }) ||
    (isValue({ type: 'number', text: step }) && Number(step) > 0) ||
    isVariable(step)
  );
}

/** isCompleteCondition reports whether nothing is missing from a condition. */
export function isCompleteCondition(c: Condition): boolean {
  const info = OPERATORS[c.operator];
  if (!c.column || !info || !c.values.every(isValue)) {
    return false;
  }
  switch (info.arity) {
    case 'none':
      return c.values.length === 0;
    case 'one':
      return c.values.length === 1;
    case 'many':
      return c.values.length > 0;
    case 'two':
      return c.values.length === 2;
    case 'variable':
      return c.values.length === 1 && c.values[0].type === 'variable';
  }
}

/** isCompleteAggregate reports whether nothing is missing from an aggregate. */
export function isCompleteAggregate(a: Aggregate): boolean {
  switch (AGGREGATES[a.function]?.needs) {
    case 'nothing':
      return true;
    case 'column':
    case 'returning':
      return !!a.column;
    case 'percentile':
      return !!a.column && a.parameter !== undefined && a.parameter >= 0 && a.parameter <= 100;
    case 'condition':
      return !!a.condition && isCompleteCondition(a.condition);
    default:
      return false;
  }
}

/**
 * complete is the query without what is not complete or not of its mode: what
 * its KQL says, and what parsing that KQL gives back.
 */
export function complete(b: BuilderQuery): BuilderQuery {
  const conditions = (groups: Condition[][]) =>
    groups
      .map((any) =>
        any.filter(isCompleteCondition).map(({ column, operator, values }) => ({
          column,
          operator,
          values: values.map(({ type, text }) => ({ type, text })),
        }))
      )
      .filter((any) => any.length > 0);
  const out = emptyBuilder(b.table);
  if (b.timeColumn) {
    out.timeColumn = b.timeColumn;
  }
  out.filters = conditions(b.filters);
  const aggregates = b.aggregates.filter(isCompleteAggregate).map(completeAggregate);
  const groupBy = b.groupBy
    .filter((g) => g.column && (!g.step || isStep(g.step)))
    .map(({ column, step }) => (step ? { column, step } : { column }));
  if (b.mode === 'aggregate' && aggregates.length + groupBy.length > 0) {
    out.mode = 'aggregate';
    out.aggregates = aggregates;
    out.groupBy = groupBy;
    out.having = conditions(b.having);
  } else {
    out.columns = b.columns.filter(Boolean);
  }
  out.orderBy = b.orderBy.filter((o) => o.column).map(({ column, desc }) => ({ column, desc }));
  if (b.limit !== undefined && Number.isSafeInteger(b.limit) && b.limit >= 0) {
    out.limit = b.limit;
  }
  return out;
}

function completeAggregate(a: Aggregate): Aggregate {
  const out: Aggregate = { function: a.function };
  const needs = AGGREGATES[a.function].needs;
  if (needs === 'column' || needs === 'percentile' || needs === 'returning') {
    out.column = a.column;
  }
  if (needs === 'percentile') {
    out.parameter = a.parameter;
  }
  if (needs === 'condition' && a.condition) {
    const { column, operator, values } = a.condition;
    out.condition = { column, operator, values: values.map(({ type, text }) => ({ type, text })) };
  }
  if (needs === 'returning') {
    out.returning = (a.returning ?? []).filter(Boolean);
  } else if (a.alias) {
    out.alias = a.alias;
  }
  return out;
}

/** Column is a column with its type in the schema. */
export interface Column {
  name: string;
  type: string;
  doc?: string;
}

/** outputName is the name of an aggregate's column, as Kusto makes it up. */
export function outputName(a: Aggregate): string {
  if (a.alias) {
    return a.alias;
  }
  switch (a.function) {
    case 'count':
    case 'countif':
      return a.function + '_';
    case 'percentile':
      return `percentile_${a.column}_${String(a.parameter).replace('.', '_')}`;
    case 'make_set':
      return `set_${a.column}`;
    case 'take_any':
    case 'arg_max':
    case 'arg_min':
      return a.column ?? '';
    default:
      return `${a.function}_${a.column}`;
  }
}

/** outputColumns are the columns of the result, given those of the table. */
export function outputColumns(b: BuilderQuery, columns: Column[]): Column[] {
  const q = complete(b);
  const find = (name: string): Column => columns.find((c) => c.name === name) ?? { name, type: 'string' };
  if (q.mode === 'rows') {
    return q.columns.length > 0 ? q.columns.map(find) : columns;
  }
  const out = q.groupBy.map((g) => find(g.column));
  for (const a of q.aggregates) {
    if (AGGREGATES[a.function].needs === 'returning') {
      const rest = a.returning?.length ? a.returning.map(find) : columns;
      out.push(find(a.column ?? ''), ...rest.filter((c) => c.name !== a.column && !out.some((o) => o.name === c.name)));
      continue;
    }
    out.push({ name: outputName(a), type: outputType(a, find(a.column ?? '').type) });
  }
  return out;
}

function outputType(a: Aggregate, type: string): string {
  switch (a.function) {
    case 'count':
    case 'countif':
    case 'dcount':
      return 'long';
    case 'make_set':
      return 'dynamic';
    case 'stdev':
      return 'real';
    case 'avg':
      return columnType(type) === 'number' ? 'real' : type;
    default:
      return type;
  }
}
