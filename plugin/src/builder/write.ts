import {
  AGGREGATES,
  Aggregate,
  BuilderQuery,
  Condition,
  OPERATORS,
  TIME,
  Value,
  complete,
  isClock,
  isMoment,
} from './model';

/**
 * toKql writes the query as KQL, one operator a line. Every name and value is
 * quoted here; nothing that a user typed becomes KQL in any other way.
 */
export function toKql(builder: BuilderQuery): string {
  const b = complete(builder);
  if (!b.table) {
    return '';
  }
  const lines = [name(b.table)];
  if (b.timeColumn) {
    lines.push(`where $__timeFilter(${b.timeColumn === TIME ? '' : name(b.timeColumn)})`);
  }
  lines.push(...b.filters.map(where));
  if (b.mode === 'aggregate') {
    const by = b.groupBy.map((g) => (g.step ? `bin(${name(g.column)}, ${g.step})` : name(g.column)));
    lines.push(
      ['summarize', b.aggregates.map(aggregate).join(', '), by.length ? 'by ' + by.join(', ') : '']
        .filter(Boolean)
        .join(' ')
    );
    lines.push(...b.having.map(where));
  }
  if (b.orderBy.length) {
    lines.push('order by ' + b.orderBy.map((o) => `${name(o.column)} ${o.desc ? 'desc' : 'asc'}`).join(', '));
  }
  if (b.limit !== undefined) {
    lines.push(`take ${b.limit}`);
  }
  // Last, so that rows can be ordered by a column that is not shown.
  if (b.columns.length) {
    lines.push('project ' + b.columns.map(name).join(', '));
  }
  return lines.join('\n| ');
}

const where = (any: Condition[]) => 'where ' + any.map(condition).join(' or ');

function condition({ column, operator, values }: Condition): string {
  const left = name(column);
  const list = values.map(literal);
  switch (OPERATORS[operator].arity) {
    case 'none':
      return `${operator}(${left})`;
    case 'variable':
      return `${operator}(${left}, ${list[0]})`;
    case 'many':
      return `${left} ${operator} (${list.join(', ')})`;
    case 'two':
      return `${left} ${operator} (${list[0]} .. ${list[1]})`;
    case 'one':
      return `${left} ${operator} ${list[0]}`;
  }
}

function aggregate(a: Aggregate): string {
  const alias = a.alias ? name(a.alias) + ' = ' : '';
  const column = a.column ? name(a.column) : '';
  switch (AGGREGATES[a.function].needs) {
    case 'condition':
      return `${alias}${a.function}(${a.condition ? condition(a.condition) : ''})`;
    case 'percentile':
      return `${alias}${a.function}(${column}, ${a.parameter})`;
    case 'returning':
      return `${a.function}(${[column, ...(a.returning?.length ? a.returning.map(name) : ['*'])].join(', ')})`;
    default:
      return `${alias}${a.function}(${column})`;
  }
}

function literal({ type, text }: Value): string {
  switch (type) {
    case 'string':
      return quote(text);
    case 'template':
      return quoteTemplate(text);
    case 'datetime':
      return isMoment(text) ? text : `datetime(${text})`;
    case 'timespan':
      return isClock(text) ? `timespan(${text})` : text;
    case 'guid':
      return `guid(${text})`;
    default:
      return text;
  }
}

const ESCAPES: Record<string, string> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** quote writes a string literal that is its text and nothing else. */
export function quote(text: string): string {
  // What looks like a dashboard variable would be replaced.
  return quoteTemplate(text)
    .replace(/\$(?=[A-Za-z_{])/g, '\\u0024')
    .replace(/\[(?=\[)/g, '\\u005b');
}

/** quoteTemplate writes a string literal in which dashboard variables are replaced. */
function quoteTemplate(text: string): string {
  // Control characters and the two line ends that editors break lines at.
  const escaped = text.replace(
    /["\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (c) => ESCAPES[c] ?? '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')
  );
  return `"${escaped}"`;
}

/** name writes the name of a table or column, in brackets when it must be. */
export function name(text: string): string {
  return /^(?!__)[A-Za-z_]\w*$/.test(text) && !KEYWORDS.has(text) ? text : `[${quote(text)}]`;
}

/** KEYWORDS cannot stand everywhere as names. The language's words are case-sensitive. */
const KEYWORDS = new Set(
  (
    'accumulate and anomalychart areachart as asc bagexpansion barchart between bin bin_legacy bool boolean by byte cachingpolicy ' +
    'callout cancel card char columnchart contains contains_cs containscs contextual_datatable cycles datascope datatable date datetime ' +
    'decimal desc double dynamic earliest endswith endswith_cs external_data externaldata false False FALSE find first flags float guid has has_all ' +
    'has_any has_cs hasprefix hasprefix_cs hassuffix hassuffix_cs in int int8 int16 int32 int64 invoke isfuzzy kind last latest let like ' +
    'likecs linechart long matches materialize mdm missing notcontains notcontainscs notlike notlikecs null of on or others piechart pivotchart ' +
    'print project queries query_results real relaxed sample scatterchart search seal seals set shards simple sql stackedareachart ' +
    'startswith startswith_cs statistics string time timechart timeline timepivot timespan title to toscalar totable treemap true True ' +
    'TRUE typeof uint uint8 uint16 uint32 uint64 ulong union uniqueid verbose viewers views where with with_source withsource'
  ).split(' ')
);
