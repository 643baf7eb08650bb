import { lex, type Token } from './builder/lex';
import { name, quote } from './builder/write';

/**
 * Small edits of a query's text: a filter from a log line's details, the query
 * of a log volume. They go by the operators of the last statement and leave all
 * else as it was written. What a query means is the backend's to say.
 */

/** Stage is one operator of a pipeline with its leading bar; the first is the source. */
export interface Stage {
  /** operator is its first word, in lower case. */
  operator: string;
  /** start and end are its place in the text; text is what is there. */
  start: number;
  end: number;
  text: string;
}

const OPENING = new Set(['(', '[', '{']);
const CLOSING = new Set([')', ']', '}']);

/** stages cuts the last statement of a text into its operators. */
export function stages(text: string): Stage[] {
  const all = lex(text);
  const end = all[all.length - 1];
  let depth = 0;
  let statement: Token[][] = [[]];
  let last: Token[][] = [];
  for (const token of all) {
    if (token.kind === 'comment' || token.kind === 'end') {
      continue;
    }
    if (token.kind === 'punctuation') {
      depth += OPENING.has(token.text) ? 1 : CLOSING.has(token.text) ? -1 : 0;
      if (depth === 0 && token.text === ';') {
        last = statement[0].length > 0 ? statement : last;
        statement = [[]];
        continue;
      }
      if (depth === 0 && token.text === '|') {
        statement.push([]);
      }
    }
    statement[statement.length - 1].push(token);
  }
  const parts = (statement[0].length > 0 ? statement : last).filter((tokens) => tokens.length > 0);
  return parts.map((tokens, i) => {
    const start = tokens[0].start;
    // A comment behind an operator belongs to it; one after the last semicolon does not matter.
    const stop = parts[i + 1]?.[0].start ?? statementEnd(all, tokens[tokens.length - 1], end.start);
    const first = tokens[0].text === '|' ? tokens[1] : tokens[0];
    return { operator: first?.text.toLowerCase() ?? '', start, end: stop, text: text.slice(start, stop) };
  });
}

/** statementEnd is the place of the semicolon behind a token, or of the end of the text. */
function statementEnd(all: Token[], last: Token, end: number): number {
  for (const token of all.slice(all.indexOf(last) + 1)) {
    if (token.kind === 'punctuation' && token.text === ';') {
      return token.start;
    }
  }
  return end;
}

/** sourceTable is the table a query begins with, when it begins with a mere name. */
export function sourceTable(text: string): string | undefined {
  const [source] = stages(text);
  const tokens = source ? lex(source.text).filter((t) => t.kind !== 'comment' && t.kind !== 'end') : [];
  return tokens.length === 1 && (tokens[0].kind === 'word' || tokens[0].kind === 'name') ? tokens[0].text : undefined;
}

/** Operators at the end of a query that change no columns: what is added comes before them. */
const KEEPS_COLUMNS = new Set(['take', 'limit', 'top', 'order', 'sort', 'render', 'as', 'serialize']);

/** addStage adds an operator where its rows have the columns of the result. */
export function addStage(text: string, stage: string): string {
  const pipeline = stages(text);
  if (pipeline.length === 0) {
    return text;
  }
  let at = pipeline.length;
  while (at > 1 && KEEPS_COLUMNS.has(pipeline[at - 1].operator)) {
    at--;
  }
  const place = at < pipeline.length ? pipeline[at].start : pipeline[pipeline.length - 1].end;
  const behind = text.slice(place).trimStart();
  return text.slice(0, place).trimEnd() + '\n| ' + stage + (behind === '' || behind[0] === ';' ? '' : '\n') + behind;
}

/** words is a text without what means nothing: for comparing. */
function words(text: string): string {
  return JSON.stringify(
    lex(text)
      .filter((t) => t.kind !== 'comment' && t.kind !== 'end')
      .map((t) => [t.kind, t.text])
  );
}

/** hasStage says whether an operator stands in the query, however it is spaced. */
export function hasStage(text: string, stage: string): boolean {
  const wanted = words('| ' + stage);
  return stages(text).some((s) => words(s.text) === wanted);
}

/** removeStage takes an operator out. */
export function removeStage(text: string, stage: string): string {
  const wanted = words('| ' + stage);
  const found = stages(text).find((s) => words(s.text) === wanted);
  if (!found) {
    return text;
  }
  // A comment within the operator's text stays.
  const comments = lex(found.text).filter((t) => t.kind === 'comment');
  const kept = comments.map((t) => t.text).join('\n');
  const before = text.slice(0, found.start).trimEnd();
  const behind = text.slice(found.end).trimStart();
  return [before, kept, behind].filter((part) => part !== '').join('\n');
}

/** predicate compares a column with a value as a log line shows it, by the column's type. */
export function predicate(column: string, value: string, equal: boolean, type?: string): string {
  const is = equal ? '==' : '!=';
  const left = name(column);
  switch (type) {
    case undefined:
    case 'string':
      return `${left} ${is} ${quote(value)}`;
    case 'bool':
      if (/^(true|false)$/i.test(value)) {
        return `${left} ${is} ${value.toLowerCase()}`;
      }
      break;
    case 'int':
    case 'long':
    case 'real':
    case 'decimal':
      if (/^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)) {
        return `${left} ${is} ${value}`;
      }
      break;
    case 'guid':
      if (/^[0-9a-fA-F-]{36}$/.test(value)) {
        return `${left} ${is} guid(${value})`;
      }
      break;
    case 'datetime':
      // A log line leaves out the zeros at the end, which tostring() has.
      if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) {
        return `${left} ${is} datetime(${value})`;
      }
      break;
  }
  return `tostring(${left}) ${is} ${quote(value)}`;
}

/** Operators that keep TimeGenerated and Level as the table has them. */
const KEEPS_EVENTS = new Set(['where', 'filter', 'extend']);

/** events is the query up to where its rows are no longer events of the table. */
function events(text: string): string {
  const pipeline = stages(text);
  let at = 1;
  while (at < pipeline.length && KEEPS_EVENTS.has(pipeline[at].operator)) {
    at++;
  }
  return text.slice(0, pipeline[at]?.start ?? pipeline[pipeline.length - 1]?.end).trimEnd();
}

/** volumeQuery counts the events of a query over time, by their level if there is one, which may not be known. */
export function volumeQuery(text: string, byLevel: boolean | undefined): string {
  const level = byLevel === undefined ? ', level = column_ifexists("Level", "")' : byLevel ? ', level = Level' : '';
  return `${events(text)}\n| summarize Events = count() by bin(TimeGenerated, $__timeInterval)${level}`;
}

/** sampleQuery is some of the events behind a query. */
export function sampleQuery(text: string, limit: number): string {
  return `${events(text)}\n| top ${Math.max(1, Math.floor(limit))} by TimeGenerated desc`;
}

/** Operators a live tail has no use for: its rows come as they happen, and the panel limits them. */
const STATIC = new Set(['take', 'limit', 'top', 'order', 'sort', 'render', 'serialize', 'as']);

/** tailQuery leaves out what a live tail has no use for. What else it cannot run is the service's to say. */
export function tailQuery(text: string): string {
  const pipeline = stages(text);
  let count = pipeline.length;
  while (count > 1 && STATIC.has(pipeline[count - 1].operator)) {
    count--;
  }
  return count < pipeline.length ? text.slice(0, pipeline[count].start).trimEnd() : text;
}

/** contextQuery is what happened around an event: of the same device, where the event has one. */
export function contextQuery(options: {
  table: string;
  time: string;
  equal: Record<string, string | undefined>;
  before: boolean;
  limit: number;
}): string {
  const { table, time, equal, before, limit } = options;
  const where = Object.entries(equal)
    .filter(([, value]) => value)
    .map(([column, value]) => `\n| where ${name(column)} == ${quote(value ?? '')}`);
  return (
    `${name(table)}${where.join('')}` +
    `\n| where TimeGenerated ${before ? '<=' : '>='} datetime(${time})` +
    `\n| top ${limit} by TimeGenerated ${before ? 'desc' : 'asc'}`
  );
}
