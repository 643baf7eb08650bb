import {
  CustomVariableSupport,
  type DataFrame,
  type DataQueryRequest,
  type DataQueryResponse,
  FieldType,
  getDefaultTimeRange,
  type MetricFindValue,
  type ScopedVars,
  toDataFrame,
  type TimeRange,
} from '@grafana/data';
import { getTemplateSrv, type TemplateSrv } from '@grafana/runtime';
import { from, map, type Observable, of } from 'rxjs';
import { VariableEditor } from './components/VariableEditor';
import { type HubscopeDataSource } from './datasource';
import { type HubscopeVariableQuery, SCHEMA_VERSION, type VariableValue } from './types';

// Dashboard variables in the text of queries, and queries of dashboard variables.

/** SIDES are those of a join, $left and $right. */
const SIDES = new Set(['left', 'right']);

const REFERENCE = /\$([A-Za-z_]\w*)|\$\{(\w+(?:\.\w+)*)(?::[^}]*)?\}|\[\[(\w+(?:\.\w+)*)(?::[^\]]*)?\]\]/g;

/** references are the names of what may be variables in a text. Macros begin with two underscores. */
export function references(text: string): string[] {
  const names = new Set<string>();
  for (const [, bare, braced, bracketed] of text.matchAll(REFERENCE)) {
    if (bare && SIDES.has(bare)) {
      continue;
    }
    const name = bare ?? braced ?? bracketed;
    // Of Grafana's own variables only those with a field, such as ${__user.login}, are no macros.
    if (!name.startsWith('__') || name.includes('.')) {
      names.add(name);
    }
  }
  return [...names];
}

const ALL = '$__all';

/**
 * collectVariables gives the values of the variables that a text names, those of
 * a repeated panel included. The text is not changed: the backend puts values
 * in, as literals.
 */
export function collectVariables(
  text: string,
  scopedVars: ScopedVars,
  templateSrv: TemplateSrv = getTemplateSrv()
): Record<string, VariableValue> {
  const found: Record<string, VariableValue> = {};
  const defined = templateSrv.getVariables();
  for (const name of references(text)) {
    let value: unknown;
    let called = false;
    const expression = '${' + name + '}';
    // The format function sees the values as they are. It is not called for the
    // "custom all value" of a variable, which is in the text that comes back.
    const replaced = templateSrv.replace(expression, scopedVars, (v: unknown) => {
      value = v;
      called = true;
      return '';
    });
    if (!called) {
      if (replaced === expression) {
        continue;
      }
      value = replaced;
    }
    const definition = defined.find((v) => v.name === name);
    const current =
      scopedVars[name]?.value ??
      (definition && 'current' in definition ? (definition.current as never)['value'] : undefined);
    // A repeated panel or row has one value of its own, where the dashboard's variable,
    // which is all that the definition tells, still says All.
    const one = called && !Array.isArray(value) && value !== ALL;
    found[name] = {
      values: list(value).filter((v) => v !== ALL),
      all: list(current).includes(ALL) && !one,
      multi: Array.isArray(value) || Boolean(definition && 'multi' in definition && definition.multi),
      ...(definition?.type === 'interval' && { type: 'timespan' as const }),
    };
  }
  return found;
}

function list(value: unknown): string[] {
  if (value === undefined || value === null) {
    return [];
  }
  return (Array.isArray(value) ? value : [value]).map(String);
}

/** migrateVariable reads what may be stored as a variable's query: a text too, or nothing. */
export function migrateVariable(query: HubscopeVariableQuery | string | undefined): HubscopeVariableQuery {
  if (typeof query === 'string') {
    return { refId: 'variable', schemaVersion: SCHEMA_VERSION, source: 'query', query };
  }
  return {
    ...query,
    refId: query?.refId || 'variable',
    schemaVersion: query?.schemaVersion ?? SCHEMA_VERSION,
    source: query?.source ?? 'query',
  };
}

/** choices makes a variable's choices of a result: which columns are text and value is said or goes by name. */
export function choices(frame: DataFrame | undefined, query: HubscopeVariableQuery): MetricFindValue[] {
  if (!frame || frame.fields.length === 0) {
    return [];
  }
  const named = (...names: Array<string | undefined>) =>
    names.flatMap((name) => (name ? frame.fields.filter((f) => f.name === name) : []))[0];
  const value = named(query.valueColumn, '__value', 'value') ?? frame.fields[0];
  const text =
    named(query.textColumn, '__text', 'text') ??
    (query.valueColumn ? value : (frame.fields.find((f) => f !== value) ?? value));
  const seen = new Set<string>();
  const found: MetricFindValue[] = [];
  for (let i = 0; i < frame.length; i++) {
    const v = asText(value.values[i], value.type);
    if (v === '' || seen.has(v)) {
      continue;
    }
    seen.add(v);
    found.push({ text: asText(text.values[i], text.type) || v, value: v });
  }
  return found;
}

function asText(value: unknown, type: FieldType): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (type === FieldType.time) {
    return new Date(value as number).toISOString();
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Queries of dashboard variables: a KQL query, the values of a column, or the columns of a table. */
export class HubscopeVariables extends CustomVariableSupport<HubscopeDataSource, HubscopeVariableQuery> {
  editor = VariableEditor;

  constructor(private readonly datasource: HubscopeDataSource) {
    super();
  }

  getDefaultQuery(): Partial<HubscopeVariableQuery> {
    return { schemaVersion: SCHEMA_VERSION, source: 'query' };
  }

  query(request: DataQueryRequest<HubscopeVariableQuery>): Observable<DataQueryResponse> {
    const query = migrateVariable(request.targets[0]);
    const range: TimeRange = request.range ?? getDefaultTimeRange();
    const replace = (text = '') => getTemplateSrv().replace(text, request.scopedVars);
    // Grafana asks at once, also while there is nothing to ask for yet.
    const nothing = of({ data: [] });
    switch (query.source) {
      case 'columns':
        if (!query.table) {
          return nothing;
        }
        return from(this.datasource.columns(replace(query.table))).pipe(
          map((columns) => ({ data: columns.map(({ name }) => ({ text: name, value: name })) }))
        );
      case 'values':
        if (!query.table || !query.column) {
          return nothing;
        }
        return from(this.datasource.values(replace(query.table), replace(query.column), range)).pipe(
          map((data) => ({ data }))
        );
      default:
        if (!this.datasource.filterQuery(query)) {
          return nothing;
        }
        return this.datasource
          .query({ ...request, targets: [{ ...query, format: 'table', purpose: 'variable' }] })
          .pipe(
            map((response) => ({
              ...response,
              data: choices(response.data[0] && toDataFrame(response.data[0]), query),
            }))
          );
    }
  }
}
