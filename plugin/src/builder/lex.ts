import { references } from './model';

/** Kind of a token. A template is a string with dashboard variables in it. Names in brackets are `name` too; `word` may be an operator. */
export type Kind =
  | 'word'
  | 'name'
  | 'string'
  | 'template'
  | 'number'
  | 'timespan'
  | 'typed'
  | 'macro'
  | 'variable'
  | 'comment'
  | 'punctuation'
  | 'bad'
  | 'end';

/** Token is a piece of KQL. */
export interface Token {
  kind: Kind;
  /** text is the value: of a name without brackets, of a string without quotes. */
  text: string;
  /** start is where it begins, from 0. */
  start: number;
  /** type is the word before the parenthesis of a typed literal: datetime, guid. */
  type?: string;
}

const SPACE = /[\s\u180e\u200b]+/y;
const COMMENT = /\/\/[^\r\n]*/y;
const MACRO = /\$__\w+/y;
const VARIABLE = /\$[A-Za-z_]\w*|\$\{\w+(?::\w+)?\}|\[\[\w+(?::\w+)?\]\]/y;
const TYPED = /(datetime|date|timespan|time|guid|long|int64|int|real|double|bool)\(([^)\r\n]*)\)/y;
const GUID = /[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)/y;
const TIMESPAN = /\d+(?:\.\d+)?[a-z]+(?!\w)/y;
const NUMBER = /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|\d+(?=\s*\.\.)/y;
// Words with a dash are operators; "matches regex" is one word.
const WORD =
  /!?(?:matches[ \t]+regex\b|(?:project|mv|make|sample|parse|top|partition|graph|macro|assert|materialized)(?:-[a-z]+)+|in~|[A-Za-z_]\w*)/y;
const PUNCTUATION = /==|!=|<>|=~|!~|<=|>=|\.\.|[()[\]{},|=<>.;:*+\-/%?@#]/y;

/** lex cuts a text into tokens; the last one is `end`. It never fails. */
export function lex(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (re: RegExp) => {
    re.lastIndex = at;
    return re.exec(text);
  };
  for (;;) {
    at += match(SPACE)?.[0].length ?? 0;
    if (at >= text.length) {
      tokens.push({ kind: 'end', text: '', start: text.length });
      return tokens;
    }
    const start = at;
    const push = (kind: Kind, value: string, length: number, type?: string) => {
      tokens.push({ kind, text: value, start, ...(type && { type }) });
      at += length;
    };
    const bracket = text[at] === '[' && /^\[\s*(?=["'])/.exec(text.slice(at, at + 200));
    if (bracket) {
      const s = string(text, at + bracket[0].length);
      const close = s && /^\s*\]/.exec(text.slice(s.end));
      if (s && s.kind === 'string' && close) {
        push('name', s.value, s.end - at + close[0].length);
        continue;
      }
    }
    const s = string(text, at);
    if (s) {
      push(s.kind, s.value, s.end - at);
      continue;
    }
    let m: RegExpExecArray | null;
    if ((m = match(COMMENT))) {
      push('comment', m[0], m[0].length);
    } else if ((m = match(MACRO))) {
      push('macro', m[0], m[0].length);
    } else if ((m = match(VARIABLE))) {
      push('variable', m[0], m[0].length);
    } else if ((m = match(TYPED))) {
      push('typed', m[2].trim().replace(/^(["'])(.*)\1$/, '$2'), m[0].length, m[1]);
    } else if ((m = match(GUID))) {
      push('typed', m[0], m[0].length, 'guid');
    } else if ((m = match(NUMBER))) {
      push('number', m[0], m[0].length);
    } else if ((m = match(TIMESPAN))) {
      push('timespan', m[0], m[0].length);
    } else if ((m = match(WORD))) {
      push('word', m[0].replace(/[ \t]+/, ' '), m[0].length);
    } else if ((m = match(PUNCTUATION))) {
      push('punctuation', m[0] === '<>' ? '!=' : m[0], m[0].length);
    } else {
      push('bad', text.slice(at, at + 1), 1);
    }
  }
}

const ESCAPES: Record<string, string> = { a: '\u0007', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{1,3})|([abfnrtv"'\\]))/g;

/** string reads the string literal that starts at a place, if one does. */
function string(text: string, at: number): { kind: Kind; value: string; end: number } | undefined {
  const verbatim = text[at] === '@';
  const open = verbatim ? at + 1 : at;
  const quote = text[open];
  if (quote !== '"' && quote !== "'") {
    return undefined;
  }
  for (let i = open + 1; i < text.length; i++) {
    const c = text[i];
    if (c === '\n' || c === '\r') {
      return undefined;
    }
    if (c === '\\' && !verbatim) {
      i++;
    } else if (c === quote && verbatim && text[i + 1] === quote) {
      i++;
    } else if (c === quote) {
      const raw = text.slice(open + 1, i);
      const value = verbatim ? raw.split(quote + quote).join(quote) : unescape(raw);
      return { kind: stringKind(references(raw), references(value)), value, end: i + 1 };
    }
  }
  return undefined;
}

/** stringKind tells templates by the variables as written; what only looks like one was escaped. */
function stringKind(written: string[], seen: string[]): Kind {
  if (written.length === 0) {
    return 'string';
  }
  return written.join() === seen.join() ? 'template' : 'bad';
}

function unescape(raw: string): string {
  return raw.replace(ESCAPE, (all, u, long, x, octal, letter) => {
    if (octal !== undefined) {
      return String.fromCharCode(parseInt(octal, 8));
    }
    const hex = u ?? long ?? x;
    if (hex !== undefined) {
      const code = parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : all;
    }
    return ESCAPES[letter] ?? letter;
  });
}
