import {
  addStage,
  contextQuery,
  hasStage,
  predicate,
  removeStage,
  sampleQuery,
  sourceTable,
  stages,
  tailQuery,
  volumeQuery,
} from './kql';

describe('stages', () => {
  it.each([
    ['Connections', ['connections']],
    ['Connections | where A == "a | b" | take 5', ['connections', 'where', 'take']],
    ["Connections | where A == 'a|b'\n// take | top\n| order by B", ['connections', 'where', 'order']],
    ['Connections | join (Devices | where X) on DeviceId | count', ['connections', 'join', 'count']],
    ['let a = 5; let T = Connections | take 3;\nT | count;', ['t', 'count']],
    [
      'Connections | extend x = dynamic({"a": ["|", 1]}) | make-series n=count() on T',
      ['connections', 'extend', 'make-series'],
    ],
    ['// nothing yet', []],
    ['', []],
  ])('%s', (text, operators) => {
    expect(stages(text).map((s) => s.operator)).toEqual(operators);
  });

  it('covers the statement', () => {
    const text = 'let a = 1;\nConnections | where A > a // why\n| take 5 ;';
    expect(stages(text).map((s) => s.text)).toEqual(['Connections ', '| where A > a // why\n', '| take 5 ']);
  });
});

describe('sourceTable', () => {
  it.each([
    ['Connections | count', 'Connections'],
    ["['Connections']\n| count", 'Connections'],
    ['// first\nConnections', 'Connections'],
    ['union A, B | count', undefined],
    ['print 1', undefined],
    ['', undefined],
  ])('%s', (text, table) => {
    expect(sourceTable(text)).toBe(table);
  });
});

describe('addStage', () => {
  it.each([
    ['Connections', 'Connections\n| where X'],
    ['Connections | order by T desc | take 10', 'Connections\n| where X\n| order by T desc | take 10'],
    ['Connections | take 10 | project A', 'Connections | take 10 | project A\n| where X'],
    ['Connections // all of them', 'Connections // all of them\n| where X'],
    ['let a = 1;\nConnections | top 5 by T;', 'let a = 1;\nConnections\n| where X\n| top 5 by T;'],
    ['Connections | count;', 'Connections | count\n| where X;'],
    ['', ''],
  ])('%s', (text, want) => {
    expect(addStage(text, 'where X')).toBe(want);
  });

  it('is undone by removeStage', () => {
    const text = 'Connections\n| where Hub == "a"\n| top 5 by TimeGenerated';
    expect(removeStage(addStage(text, 'where X == "1"'), 'where X=="1"')).toBe(text);
  });
});

describe('hasStage and removeStage', () => {
  const text = 'Connections\n|where  TlsVersion  ==  "1.0" // legacy\n| where TlsVersion == "1.2"';

  it('finds an operator however it is spaced and quoted', () => {
    expect(hasStage(text, "where TlsVersion == '1.0'")).toBe(true);
    expect(hasStage(text, 'where TlsVersion == "1.1"')).toBe(false);
    expect(hasStage(text, 'where TlsVersion != "1.0"')).toBe(false);
  });

  it('leaves comments', () => {
    expect(removeStage(text, 'where TlsVersion == "1.0"')).toBe('Connections\n// legacy\n| where TlsVersion == "1.2"');
  });
});

describe('predicate', () => {
  it.each([
    ['Hub', 'plant-7', true, 'string', 'Hub == "plant-7"'],
    ['Hub', 'a"; drop\\', false, 'string', 'Hub != "a\\"; drop\\\\"'],
    ['two words', 'x', true, undefined, '["two words"] == "x"'],
    ['WouldFailStrict', 'True', true, 'bool', 'WouldFailStrict == true'],
    ['ClientPort', '8883', true, 'int', 'ClientPort == 8883'],
    ['ClientPort', '1 or true', true, 'int', 'tostring(ClientPort) == "1 or true"'],
    ['Properties', '{"a":1}', true, 'dynamic', 'tostring(Properties) == "{\\"a\\":1}"'],
  ])('%s %s %s %s', (column, value, equal, type, want) => {
    expect(predicate(column, value, equal, type)).toBe(want);
  });
});

describe('queries made of a query', () => {
  it('counts events over time, up to where rows are no longer events', () => {
    expect(volumeQuery('Connections | where Hub == "a" | project DeviceId | take 5', true)).toBe(
      'Connections | where Hub == "a"\n| summarize Events = count() by bin(TimeGenerated, $__timeInterval), level = Level'
    );
    expect(volumeQuery('AzureMetrics;', false)).toBe(
      'AzureMetrics\n| summarize Events = count() by bin(TimeGenerated, $__timeInterval)'
    );
    expect(volumeQuery('let h = "a"; Connections | where Hub == h; // end', true)).toMatch(
      /^let h = "a"; Connections \| where Hub == h\n\| summarize/
    );
  });

  it('samples the events behind a count', () => {
    expect(sampleQuery('Connections | where Hub == "a" | summarize count() by Hub', 50)).toBe(
      'Connections | where Hub == "a"\n| top 50 by TimeGenerated desc'
    );
  });

  it('tails without order and limit at the end', () => {
    expect(tailQuery('Connections | where Hub == "a" | order by TimeGenerated | take 5')).toBe(
      'Connections | where Hub == "a"'
    );
    expect(tailQuery('Connections | extend A = 1 | project A')).toBe('Connections | extend A = 1 | project A');
    expect(tailQuery('Connections | take 5 | where Hub == "a"')).toBe('Connections | take 5 | where Hub == "a"');
  });

  it('looks around an event', () => {
    expect(
      contextQuery({
        table: 'Connections',
        time: '2026-11-22T01:02:03.4560000Z',
        equal: { DeviceId: 'pump"1', Hub: 'a', Gone: undefined },
        before: false,
        limit: 10,
      })
    ).toBe(
      'Connections\n| where DeviceId == "pump\\"1"\n| where Hub == "a"\n' +
        '| where TimeGenerated >= datetime(2026-11-22T01:02:03.4560000Z)\n| top 10 by TimeGenerated asc'
    );
  });
});
