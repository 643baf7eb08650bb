import cases from './testdata/cases.json';
import { lex } from './lex';
import {
  AGGREGATES,
  Aggregate,
  BuilderQuery,
  Condition,
  OPERATORS,
  Value,
  complete,
  emptyBuilder,
  isValue,
  outputColumns,
  toValue,
} from './model';
import { Reason, parseKql } from './parse';
import { quote, toKql } from './write';

const full = (b: Partial<BuilderQuery>): BuilderQuery => ({ ...emptyBuilder(), ...b });

describe('cases', () => {
  // The same file is run against the service in plugin/e2e.
  test.each(cases.map((c) => [c.name, c] as const))('%s', (_, { kql, builder }) => {
    const want = full(builder as Partial<BuilderQuery>);
    expect(toKql(want)).toBe(kql);
    expect(parseKql(kql)).toEqual({ builder: want });
  });
});

describe('parseKql', () => {
  const same = (text: string, canonical: string) => {
    const { builder, refusal } = parseKql(text);
    expect(refusal).toBeUndefined();
    expect(toKql(builder!)).toBe(canonical);
  };

  test.each([
    [
      'white space',
      ' Connections|where\t$__timeFilter\n\n|take\u00a05 ; ',
      'Connections\n| where $__timeFilter()\n| take 5',
    ],
    [
      'filters put together',
      'T | where a == 1 and (b == 2 or (c == 3)) and $__timeFilter(TimeGenerated)',
      'T\n| where $__timeFilter()\n| where a == 1\n| where b == 2 or c == 3',
    ],
    ['other words', 'T | filter a <> 1 | sort by b | limit 3', 'T\n| where a != 1\n| order by b desc\n| take 3'],
    ['top', 'T | top 3 by b asc', 'T\n| order by b asc\n| take 3'],
    [
      'columns before the limit',
      'T | project a, b | order by b asc | take 3',
      'T\n| order by b asc\n| take 3\n| project a, b',
    ],
    ['filter behind columns', 'T | project a, b | where a == 1', 'T\n| where a == 1\n| project a, b'],
    [
      'other quotes',
      `['T'] | where ["a"] == 'it\\'s "x"' and b == @"c:\\d""e"`,
      'T\n| where a == "it\'s \\"x\\""\n| where b == "c:\\\\d\\"e"',
    ],
    [
      'typed literals',
      'T | where a == datetime("2020-01-01") or a == date(2020-01-02) | where b == long(5) | where c > time(5m) | where d == TRUE',
      'T\n| where a == datetime(2020-01-01) or a == datetime(2020-01-02)\n| where b == 5\n| where c > 5m\n| where d == true',
    ],
    [
      'floor and macros as calls',
      'T | where t > $__timeFrom() | summarize count() by floor(t, 5m)',
      'T\n| where t > $__timeFrom\n| summarize count() by bin(t, 5m)',
    ],
    ['a table named like a statement', 'set | take 1', '["set"]\n| take 1'],
  ])('is tolerant: %s', (_, text, canonical) => same(text, canonical));

  test.each<[string, Reason, string]>([
    ['', 'source', '1:1 '],
    ['// why\nT | take 1', 'comment', '1:1 // why'],
    ['T | take 1 // why', 'comment', '1:12 // why'],
    ['let x = 1; T | take x', 'statement', '1:1 let'],
    ['T | take 1; T', 'statement', '1:13 T'],
    ['union A, B', 'source', '1:1 union'],
    ['print 1', 'source', '1:1 print'],
    ['range x from 1 to 2 step 1', 'source', '1:1 range'],
    ['table("T") | take 1', 'source', '1:1 table'],
    ['T\n| extend x = 1', 'operator', '2:3 extend'],
    ['T | join kind=inner (U) on a', 'operator', '1:5 join'],
    ['T | project-away a', 'operator', '1:5 project-away'],
    ['T | render timechart', 'operator', '1:5 render'],
    ['T | take 1 | where a == 1', 'order', '1:14 where'],
    ['T | take 1 | order by a', 'order', '1:14 order'],
    ['T | take 1 | take 2', 'order', '1:14 take'],
    ['T | order by a | summarize count()', 'order', '1:18 summarize'],
    ['T | summarize count() by a | summarize count()', 'order', '1:30 summarize'],
    ['T | summarize count() by a | project a', 'order', '1:30 project'],
    ['T | project a | where b == 1', 'order', '1:17 where'],
    ['T | project a | where $__timeFilter()', 'order', '1:17 where'],
    ['T | project a | order by b', 'order', '1:17 order'],
    ['T | where $__timeFilter() and $__timeFilter(b)', 'order', '1:31 $__timeFilter'],
    ['T | summarize count() by t | where $__timeFilter(t)', 'order', '1:36 $__timeFilter'],
    ['T | where tolower(a) == "x"', 'expression', '1:11 tolower'],
    ['T | where a == tolower("x")', 'expression', '1:16 tolower'],
    ['T | where a == b', 'expression', '1:16 b'],
    ['T | where 1 == a', 'expression', '1:11 1'],
    ['T | where a.b == 1', 'expression', '1:11 a'],
    ['T | where a == 1 + 1', 'expression', '1:16 1'],
    ['T | where a == int(1)', 'expression', '1:16 int(1)'],
    ['T | where a == h"secret"', 'expression', '1:16 h'],
    ['T | where a == datetime(null)', 'expression', '1:16 datetime(null)'],
    ['T | where not(a == 1)', 'expression', '1:11 not'],
    ['T | where a', 'expression', '1:12 '],
    ['T | where a in (U | project b)', 'expression', '1:17 U'],
    ['T | where a == 1 and b == 2 or c == 3', 'nesting', '1:11 a'],
    ['T | where a == 1 or $__timeFilter()', 'nesting', '1:11 a'],
    ['T | where $__adhocFilters', 'expression', '1:11 $__adhocFilters'],
    ['T | where $__contains(a, "x")', 'expression', '1:26 "x"'],
    ['T | project b = a', 'expression', '1:15 ='],
    ['T | summarize hll(a)', 'function', '1:15 hll'],
    ['T | summarize a = 1', 'expression', '1:19 1'],
    ['T | summarize sum(a) / 2', 'expression', '1:22 /'],
    ['T | summarize sum(a + 1)', 'syntax', '1:21 +'],
    ['T | summarize x = arg_max(a, *)', 'function', '1:19 arg_max'],
    ['T | summarize countif(a == 1 and b == 2)', 'nesting', '1:23 a'],
    ['T | summarize percentile(a, 50, 90)', 'syntax', '1:31 ,'],
    ['T | summarize count() by x = bin(t, 1h)', 'expression', '1:28 ='],
    ['T | summarize count() by bin(t, tolong(1))', 'expression', '1:33 tolong'],
    ['T | summarize hint.strategy=shuffle count()', 'expression', '1:15 hint'],
    ['T | order by a nulls last', 'expression', '1:16 nulls'],
    ['T | take x', 'expression', '1:10 x'],
    ['T |', 'syntax', '1:4 '],
    ['T | where a == "no end', 'expression', '1:16 "'],
    ['T | where a == 1 ™', 'expression', '1:18 ™'],
  ])('refuses %j', (text, reason, place) => {
    const { refusal } = parseKql(text);
    expect(refusal && [refusal.reason, `${refusal.line}:${refusal.column} ${refusal.found}`]).toEqual([reason, place]);
  });
});

test('toKql leaves out what is not complete', () => {
  const string = (text: string): Value => ({ type: 'string', text });
  const b = full({
    table: 'T',
    mode: 'aggregate',
    filters: [
      [],
      [
        { column: '', operator: '==', values: [string('x')] },
        { column: 'a', operator: '==', values: [] },
      ],
      [
        { column: 'n', operator: '>', values: [{ type: 'number', text: '1); drop' }] },
        { column: 'n', operator: 'like', values: [string('x')] },
      ],
    ],
    aggregates: [
      { function: 'sum' },
      { function: 'percentile', column: 'a' },
      { function: 'countif' },
      { function: 'evil', column: 'a' },
    ],
    groupBy: [{ column: '' }, { column: 't', step: '1h) | take 1' }],
    having: [[{ column: 'a', operator: '==', values: [{ type: 'variable', text: '$a | take 1' }] }]],
    columns: ['', 'a'],
    orderBy: [{ column: '', desc: true }],
    limit: NaN,
  });
  expect(toKql(b)).toBe('T\n| project a');
  expect(toKql(full({}))).toBe('');
});

// A small generator with a seed, so that a failure can be run again.
function random(seed: number) {
  let state = seed;
  const below = (n: number) => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
  const pick = <T>(list: readonly T[]): T => list[below(list.length)];
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: below(most + 1) }, make);
  const names = [
    'Hub',
    'TlsVersion',
    'by',
    'where',
    'has',
    'my column',
    "it's",
    '"',
    '\\',
    '1st',
    'ä',
    'a.b',
    '$x',
    '',
    '__x',
    'count',
    'now',
    'true',
    'isempty',
    'bin',
    'summarize',
  ];
  const letters = [
    'a',
    ' ',
    '"',
    "'",
    '\\',
    '\n',
    '\r',
    '\t',
    '\u0000',
    '\u2028',
    '|',
    '//',
    '$hub',
    '${x:regex}',
    '[[y]]',
    '😀',
    'é',
    ']',
    ')',
    '@',
    '`',
    '\\u0041',
    'u0041',
  ];
  const texts: Record<Value['type'], () => string> = {
    string: () => some(6, () => pick(letters)).join(''),
    template: () => some(6, () => pick(letters)).join(''),
    number: () => pick(['0', '-1', '42', '1.5', '-0.25', '1e9', '2.5E-3', 'x', '']),
    bool: () => pick(['true', 'false', 'maybe']),
    datetime: () =>
      pick([
        '2026-01-01',
        '2026-01-01T00:00:00Z',
        '2026-01-01 10:20',
        '2026-01-01T00:00:00.1234567+02:00',
        'ago(1d)',
        'now()',
        '$__timeFrom',
        '$__timeTo',
        'tomorrow',
        'ago(x)',
      ]),
    timespan: () =>
      pick(['5m', '1.5h', '-1d', '100ms', '1.02:03:04', '00:10', '$__timeInterval', '$__interval', '5 apples']),
    guid: () => pick(['74be27de-1e4e-49d9-b579-fe0b331d3642', '74BE27DE-1E4E-49D9-B579-FE0B331D3642', 'g']),
    variable: () => pick(['$hub', '${hub}', '${hub:long}', '[[hub]]', 'hub', '$__x', '${__from}', '$hub|']),
  };
  const value = (): Value => {
    const type = pick(Object.keys(texts) as Array<Value['type']>);
    return { type, text: texts[type]() };
  };
  const condition = (): Condition => {
    const operator = pick([...Object.keys(OPERATORS), 'nonsense']);
    const count = { none: 0, one: 1, many: 1 + below(3), two: 2, variable: 1 }[OPERATORS[operator]?.arity ?? 'one'];
    return {
      column: pick(names),
      operator,
      values: Array.from(
        { length: count },
        operator === '$__contains' ? () => ({ type: 'variable', text: texts.variable() }) : value
      ),
    };
  };
  const aggregate = (): Aggregate => ({
    function: pick([...Object.keys(AGGREGATES), 'nonsense']),
    column: pick(names),
    parameter: pick([0, 50, 99.9, 101]),
    condition: condition(),
    returning: some(2, () => pick(names)),
    ...(below(2) && { alias: pick(names) }),
  });
  const groups = () => some(3, () => some(3, condition));
  return (): BuilderQuery => ({
    table: pick(['Connections', 'Devices', 'let', 'union', 'my table', 'set']),
    mode: pick(['rows', 'aggregate'] as const),
    timeColumn: pick([undefined, 'TimeGenerated', 'LastSeen', 'my time']),
    filters: groups(),
    columns: some(3, () => pick(names)),
    aggregates: some(3, aggregate),
    groupBy: some(3, () => ({
      column: pick(names),
      step: pick([undefined, '$__timeInterval', '5m', '10', '0', '-1', 'x', '$step']),
    })),
    having: groups(),
    orderBy: some(2, () => ({ column: pick(names), desc: below(2) === 1 })),
    limit: pick([undefined, 0, 10, 1.5, -1]),
  });
}

test('what is written is read back', () => {
  const next = random(20261123);
  let conditions = 0;
  for (let i = 0; i < 3000; i++) {
    const b = next();
    const kql = toKql(b);
    const parsed = parseKql(kql);
    if (parsed.refusal) {
      throw new Error(`${JSON.stringify(parsed.refusal)} in:\n${kql}`);
    }
    expect(parsed.builder).toEqual(complete(b));
    expect(toKql(parsed.builder)).toBe(kql);
    conditions += parsed.builder.filters.flat().length;
  }
  expect(conditions).toBeGreaterThan(1000);
});

test('strings cannot be left', () => {
  const next = random(7);
  for (let i = 0; i < 500; i++) {
    const text = next()
      .filters.flatMap((any) => any.flatMap((c) => c.values.map((v) => v.text)))
      .join('');
    expect(lex(quote(text)).map((t) => [t.kind, t.text])).toEqual([
      ['string', text],
      ['end', ''],
    ]);
  }
});

test('values get the type of their column', () => {
  const known = ['$hub'];
  expect(toValue(' 5 ', 'number', known)).toEqual({ type: 'number', text: '5' });
  expect(toValue(' x ', 'string', known)).toEqual({ type: 'string', text: ' x ' });
  expect(toValue('$hub', 'number', known)).toEqual({ type: 'variable', text: '$hub' });
  expect(toValue('${other:long}', 'number', known)).toEqual({ type: 'variable', text: '${other:long}' });
  expect(toValue('a $hub b', 'string', known)).toEqual({ type: 'template', text: 'a $hub b' });
  expect(toValue('$edgeAgent', 'string', known)).toEqual({ type: 'string', text: '$edgeAgent' });
  expect(toValue('$5', 'string', known)).toEqual({ type: 'string', text: '$5' });
  expect(toValue('x', 'dynamic', known)).toEqual({ type: 'string', text: 'x' });
  expect(isValue(toValue('soon', 'datetime', known))).toBe(false);
});

test('columns of the result', () => {
  const table = [
    { name: 'TimeGenerated', type: 'datetime' },
    { name: 'Hub', type: 'string' },
    { name: 'N', type: 'long' },
  ];
  const list = (b: Partial<BuilderQuery>) =>
    outputColumns(full({ table: 'T', ...b }), table).map((c) => `${c.name}:${c.type}`);
  expect(list({})).toEqual(['TimeGenerated:datetime', 'Hub:string', 'N:long']);
  expect(list({ columns: ['N'] })).toEqual(['N:long']);
  expect(
    list({
      mode: 'aggregate',
      groupBy: [{ column: 'Hub' }],
      aggregates: [
        { function: 'count' },
        { function: 'percentile', column: 'N', parameter: 99.9 },
        { function: 'avg', column: 'N' },
        { function: 'max', column: 'TimeGenerated', alias: 'Last' },
        { function: 'make_set', column: 'Hub' },
      ],
    })
  ).toEqual(['Hub:string', 'count_:long', 'percentile_N_99_9:long', 'avg_N:real', 'Last:datetime', 'set_Hub:dynamic']);
  expect(
    list({
      mode: 'aggregate',
      groupBy: [{ column: 'Hub' }],
      aggregates: [{ function: 'arg_max', column: 'TimeGenerated' }],
    })
  ).toEqual(['Hub:string', 'TimeGenerated:datetime', 'N:long']);
});
