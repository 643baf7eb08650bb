import {
  AGGREGATES,
  Aggregate,
  BuilderQuery,
  Condition,
  Group,
  OPERATORS,
  Order,
  TIME,
  Value,
  ValueType,
  complete,
  emptyBuilder,
  isStep,
  isValue,
} from './model';
import { Kind, Token, lex } from './lex';

/** Reason says why KQL cannot be shown in the builder. */
export type Reason =
  | 'comment' // a comment, which would be lost
  | 'statement' // let, set, or more than one query
  | 'source' // not a table
  | 'operator' // an operator that the builder has not
  | 'order' // an operator where it means something else than in the builder
  | 'expression' // a computed value where the builder has a column or literal
  | 'nesting' // and within or
  | 'function' // an aggregate that the builder has not
  | 'syntax'; // something unexpected

/** Refusal tells where the builder's subset ends in a text. */
export interface Refusal {
  reason: Reason;
  /** found is the piece of the text in question; empty at its end. */
  found: string;
  line: number;
  column: number;
}

export type Parsed = { builder: BuilderQuery; refusal?: undefined } | { builder?: undefined; refusal: Refusal };

class Refused extends Error {
  constructor(
    readonly reason: Reason,
    readonly token: Token
  ) {
    super(reason);
  }
}

/**
 * parseKql reads KQL that toKql could have written, whatever its white space
 * and however its filters are put together. All else is refused: what the
 * builder cannot show it must not lose.
 */
export function parseKql(text: string): Parsed {
  try {
    return { builder: new Parser(text).query() };
  } catch (error) {
    if (!(error instanceof Refused)) {
      throw error;
    }
    const { token, reason } = error;
    const before = text.slice(0, token.start).split(/\r\n|\r|\n/);
    const next = lex(text).find((t) => t.start > token.start);
    return {
      refusal: {
        reason,
        found: text.slice(token.start, next?.start ?? text.length).trim(),
        line: before.length,
        column: before[before.length - 1].length + 1,
      },
    };
  }
}

/** Term is what stands between `and`s: the time filter, or alternatives. */
type Term = { time: string; token: Token } | { any: Condition[] };

class Parser {
  private tokens: Token[];
  private at = 0;

  constructor(text: string) {
    this.tokens = lex(text);
    const comment = this.tokens.find((t) => t.kind === 'comment');
    if (comment) {
      throw new Refused('comment', comment);
    }
  }

  query(): BuilderQuery {
    const first = this.peek();
    if (
      first.kind === 'word' &&
      /^(let|set|declare|alias|pattern|restrict)$/.test(first.text) &&
      !this.punctuation('|', 1) &&
      this.peek(1).kind !== 'end'
    ) {
      throw new Refused('statement', first);
    }
    if (first.kind !== 'word' && first.kind !== 'name') {
      throw new Refused('source', first);
    }
    const b = emptyBuilder(this.next().text);
    if (!this.punctuation('|') && !this.punctuation(';') && this.peek().kind !== 'end') {
      throw new Refused('source', first);
    }
    while (this.accept('|')) {
      this.operator(b);
    }
    if (this.accept(';') && this.peek().kind !== 'end') {
      throw new Refused('statement', this.peek());
    }
    if (this.peek().kind !== 'end') {
      throw new Refused('syntax', this.peek());
    }
    return complete(b);
  }

  /** done are the operators so far; some mean something else after others. */
  private done = new Set<string>();

  private operator(b: BuilderQuery) {
    const token = this.next();
    const op = { filter: 'where', sort: 'order', limit: 'take' }[token.text] ?? token.text;
    const after = (...names: string[]) => {
      if (names.some((n) => this.done.has(n))) {
        throw new Refused('order', token);
      }
    };
    if (token.kind !== 'word') {
      throw new Refused('syntax', token);
    }
    switch (op) {
      case 'where':
        after('take');
        this.where(b);
        break;
      case 'summarize':
        after('summarize', 'order', 'take', 'project');
        this.summarize(b);
        break;
      case 'order':
        after('order', 'take');
        this.expect('by');
        b.orderBy = this.list(() => this.order());
        break;
      case 'take':
        after('take');
        b.limit = this.whole();
        break;
      case 'top':
        after('order', 'take');
        b.limit = this.whole();
        this.expect('by');
        b.orderBy = this.list(() => this.order());
        this.done.add('order').add('take');
        break;
      case 'project':
        after('summarize', 'project');
        b.columns = this.list(() => this.column());
        break;
      default:
        throw new Refused('operator', token);
    }
    this.done.add(op);
    if (!this.punctuation('|') && !this.punctuation(';') && this.peek().kind !== 'end') {
      throw new Refused('expression', this.peek());
    }
    // What follows `project` may use only its columns; in the builder it stands last.
    if (this.done.has('project') && op !== 'project') {
      const used = op === 'where' ? b.filters.flat().map((c) => c.column) : b.orderBy.map((o) => o.column);
      if (
        op !== 'take' &&
        (b.timeColumn && op === 'where' ? [...used, b.timeColumn] : used).some((c) => !b.columns.includes(c))
      ) {
        throw new Refused('order', token);
      }
    }
  }

  private where(b: BuilderQuery) {
    const summarized = this.done.has('summarize');
    for (const term of this.and()) {
      if ('any' in term) {
        (summarized ? b.having : b.filters).push(term.any);
      } else if (summarized || b.timeColumn) {
        throw new Refused('order', term.token);
      } else {
        b.timeColumn = term.time;
      }
    }
  }

  /** and reads the whole of a predicate. */
  private and(): Term[] {
    const start = this.peek();
    const alternatives: Term[][] = [this.conjunction()];
    while (this.accept('or')) {
      alternatives.push(this.conjunction());
    }
    if (alternatives.length === 1) {
      return alternatives[0];
    }
    const any: Condition[] = [];
    for (const terms of alternatives) {
      const [term] = terms;
      if (terms.length !== 1 || !('any' in term)) {
        throw new Refused('nesting', start);
      }
      any.push(...term.any);
    }
    return [{ any }];
  }

  private conjunction(): Term[] {
    const terms = this.term();
    while (this.accept('and')) {
      terms.push(...this.term());
    }
    return terms;
  }

  private term(): Term[] {
    if (this.accept('(')) {
      const terms = this.and();
      this.expect(')');
      return terms;
    }
    const token = this.peek();
    if (token.kind === 'macro' && token.text === '$__timeFilter') {
      this.next();
      if (!this.accept('(') || this.accept(')')) {
        return [{ time: TIME, token }];
      }
      const time = this.column();
      this.expect(')');
      return [{ time, token }];
    }
    return [{ any: [this.condition()] }];
  }

  private condition(): Condition {
    const token = this.peek();
    const call = OPERATORS[token.text];
    if ((token.kind === 'word' || token.kind === 'macro') && this.punctuation('(', 1)) {
      if (call?.arity !== 'none' && call?.arity !== 'variable') {
        throw new Refused('expression', token);
      }
      this.next();
      this.expect('(');
      const column = this.column();
      const values: Value[] = [];
      if (call.arity === 'variable') {
        this.expect(',');
        if (this.peek().kind !== 'variable') {
          throw new Refused('expression', this.peek());
        }
        values.push(this.value());
      }
      this.expect(')');
      return { column, operator: token.text, values };
    }
    const column = this.column();
    const op = this.next();
    const arity = op.kind === 'word' || op.kind === 'punctuation' ? OPERATORS[op.text]?.arity : undefined;
    switch (arity) {
      case 'one':
        return { column, operator: op.text, values: [this.value()] };
      case 'many': {
        this.expect('(');
        const values = this.list(() => this.value());
        this.expect(')');
        return { column, operator: op.text, values };
      }
      case 'two': {
        this.expect('(');
        const from = this.value();
        this.expect('..');
        const to = this.value();
        this.expect(')');
        return { column, operator: op.text, values: [from, to] };
      }
      default:
        throw new Refused('expression', op);
    }
  }

  private summarize(b: BuilderQuery) {
    b.mode = 'aggregate';
    if (!this.accept('by')) {
      b.aggregates = this.list(() => this.aggregate());
      if (!this.accept('by')) {
        return;
      }
    }
    b.groupBy = this.list(() => this.group());
  }

  private aggregate(): Aggregate {
    let alias: string | undefined;
    if (this.punctuation('=', 1)) {
      alias = this.column();
      this.expect('=');
    }
    const token = this.next();
    const needs = token.kind === 'word' ? AGGREGATES[token.text]?.needs : undefined;
    if (!needs || (needs === 'returning' && alias)) {
      throw new Refused(token.kind === 'word' && this.punctuation('(') ? 'function' : 'expression', token);
    }
    this.expect('(');
    const a: Aggregate = { function: token.text };
    switch (needs) {
      case 'nothing':
        break;
      case 'condition': {
        const start = this.peek();
        const [term, ...more] = this.and();
        if (more.length || !('any' in term) || term.any.length !== 1) {
          throw new Refused('nesting', start);
        }
        a.condition = term.any[0];
        break;
      }
      case 'column':
        a.column = this.column();
        break;
      case 'percentile': {
        a.column = this.column();
        this.expect(',');
        const n = this.next();
        a.parameter = Number(n.text);
        if (n.kind !== 'number' || a.parameter > 100 || String(a.parameter) !== n.text) {
          throw new Refused('expression', n);
        }
        break;
      }
      case 'returning':
        a.column = this.column();
        this.expect(',');
        a.returning = this.accept('*') ? [] : this.list(() => this.column());
        break;
    }
    this.expect(')');
    return alias === undefined ? a : { ...a, alias };
  }

  private group(): Group {
    if (this.peek().kind !== 'word' || !/^(bin|floor)$/.test(this.peek().text) || !this.punctuation('(', 1)) {
      return { column: this.column() };
    }
    this.next();
    this.expect('(');
    const column = this.column();
    this.expect(',');
    const token = this.next();
    const step = token.type === 'timespan' || token.type === 'time' || !token.type ? token.text : '';
    if (!isStep(step) || token.kind === 'string' || /:/.test(step)) {
      throw new Refused('expression', token);
    }
    this.expect(')');
    return { column, step };
  }

  private order(): Order {
    const column = this.column();
    const desc = !this.accept('asc');
    if (desc) {
      this.accept('desc');
    }
    return { column, desc };
  }

  /** column reads a name that nothing is done with. */
  private column(): string {
    const token = this.next();
    if (
      token.kind !== 'name' &&
      (token.kind !== 'word' || /^!|[-~ ]/.test(token.text) || /^(and|or|by|true|false)$/i.test(token.text))
    ) {
      throw new Refused('expression', token);
    }
    if (this.punctuation('.') || this.punctuation('[') || this.punctuation('(')) {
      throw new Refused('expression', token);
    }
    return token.text;
  }

  private whole(): number {
    const token = this.next();
    const n = Number(token.text);
    if (token.kind !== 'number' || !Number.isSafeInteger(n) || !/^\d+$/.test(token.text)) {
      throw new Refused('expression', token);
    }
    return n;
  }

  private value(): Value {
    const token = this.next();
    const value = this.literal(token);
    if (!value || !isValue(value) || (this.peek().kind === 'punctuation' && /^[-+*/%.[(]$/.test(this.peek().text))) {
      throw new Refused('expression', token);
    }
    return value;
  }

  private literal(token: Token): Value | undefined {
    const { kind, text } = token;
    const plain: Partial<Record<Kind, ValueType>> = {
      string: 'string',
      template: 'template',
      number: 'number',
      timespan: 'timespan',
      variable: 'variable',
    };
    const type = plain[kind];
    if (type) {
      return { type, text };
    }
    if (kind === 'typed') {
      return typed(token);
    }
    if (kind === 'punctuation' && text === '-') {
      const next = this.next();
      return next.kind === 'number' || next.kind === 'timespan'
        ? { type: next.kind, text: '-' + next.text }
        : undefined;
    }
    if (kind === 'macro') {
      if ((text === '$__timeFrom' || text === '$__timeTo') && this.accept('(')) {
        this.expect(')');
      }
      return { type: text.startsWith('$__time') && text !== '$__timeInterval' ? 'datetime' : 'timespan', text };
    }
    if (kind === 'word' && /^(true|false)$/i.test(text)) {
      return { type: 'bool', text: text.toLowerCase() };
    }
    if (kind === 'word' && (text === 'now' || text === 'ago')) {
      this.expect('(');
      const inner = this.punctuation(')') ? '' : this.next().text;
      this.expect(')');
      return { type: 'datetime', text: `${text}(${inner})` };
    }
    return undefined;
  }

  private list<T>(item: () => T): T[] {
    const items = [item()];
    while (this.accept(',')) {
      items.push(item());
    }
    return items;
  }

  private peek(ahead = 0): Token {
    return this.tokens[Math.min(this.at + ahead, this.tokens.length - 1)];
  }

  private next(): Token {
    const token = this.peek();
    this.at++;
    return token;
  }

  private punctuation(text: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === 'punctuation' && token.text === text;
  }

  private accept(text: string): boolean {
    const token = this.peek();
    if ((token.kind === 'punctuation' || token.kind === 'word') && token.text === text) {
      this.at++;
      return true;
    }
    return false;
  }

  private expect(text: string) {
    if (!this.accept(text)) {
      throw new Refused('syntax', this.peek());
    }
  }
}

/** typed is the value of datetime(...), guid(...) and the like. */
function typed({ type, text }: Token): Value | undefined {
  switch (type) {
    case 'datetime':
    case 'date':
      return /^\d/.test(text) ? { type: 'datetime', text } : undefined;
    case 'timespan':
    case 'time':
      return { type: 'timespan', text };
    case 'guid':
      return { type: 'guid', text };
    case 'bool':
      return { type: 'bool', text };
    case 'long':
    case 'int64':
      return /^-?\d+$/.test(text) ? { type: 'number', text } : undefined;
    default:
      // int(5) and real(5) are not the literal 5.
      return undefined;
  }
}
