import { createDataFrame, type DataQueryRequest, FieldType } from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import { grafana, range, templateSrv, type TestVariable } from './test/grafana';
import { type HubscopeVariableQuery } from './types';
import { choices, collectVariables, migrateVariable, references } from './variables';

describe('references', () => {
  it('are the names of what may be variables, macros left out', () => {
    expect(
      references(
        'T | where $__timeFilter() and A == $a and B in (${b:long}) and C has "[[c:regex]]" and $__contains(D, $d) and E == "${__user.login}" and ${a}'
      )
    ).toEqual(['a', 'b', 'c', 'd', '__user.login']);
    expect(references('T | join (U) on $left.a == $right.b | where c matches regex "^x$" and d has "$1"')).toEqual([]);
  });
});

describe('collectVariables', () => {
  const variables: TestVariable[] = [
    { name: 'hub', value: 'plant-7' },
    { name: 'version', value: ['1.0', '1.1'], multi: true },
    { name: 'everything', value: ['$__all'], multi: true, options: ['a', 'b'] },
    { name: 'custom', value: '$__all', allValue: '.*', options: ['a', 'b'] },
    { name: 'text', value: 'x" or true //' },
    { name: 'unnamed', value: 'not in the text' },
    { name: 'width', value: '10m', type: 'interval' },
  ];
  const collect = (text: string, scopedVars = {}) => collectVariables(text, scopedVars, templateSrv(variables));

  it.each([
    ['$hub', { hub: { values: ['plant-7'], all: false, multi: false } }],
    ['in ($version)', { version: { values: ['1.0', '1.1'], all: false, multi: true } }],
    ['$everything', { everything: { values: ['a', 'b'], all: true, multi: true } }],
    ['${custom:regex}', { custom: { values: ['.*'], all: true, multi: false } }],
    ['[[text]]', { text: { values: ['x" or true //'], all: false, multi: false } }],
    ['bin(TimeGenerated, $width)', { width: { values: ['10m'], all: false, multi: false, type: 'timespan' } }],
    ['$nobody knows', {}],
    ['$left.DeviceId == $right.DeviceId', {}],
  ])('%s', (text, want) => {
    expect(collect(text)).toEqual(want);
  });

  it('takes the value of a repeated panel, not what the dashboard has', () => {
    expect(collect('$everything', { everything: { value: 'b', text: 'b' } })).toEqual({
      everything: { values: ['b'], all: false, multi: true },
    });
  });

  it('takes the value of a repeated panel that only the panel itself knows', () => {
    // As Grafana's scenes have it: not in scopedVars, and the dashboard's variable still says All.
    const scene = templateSrv(variables);
    const local: Record<string, unknown> = { everything: 'b', version: '1.1', hub: '' };
    const replace: typeof scene.replace = (target, scopedVars, format) => {
      const name = /^\$\{(\w+)\}$/.exec(target ?? '')?.[1] ?? '';
      return name in local && typeof format === 'function'
        ? format(local[name], { name })
        : scene.replace(target, scopedVars, format);
    };
    expect(collectVariables('$everything $version $hub $custom', {}, { ...scene, replace })).toEqual({
      everything: { values: ['b'], all: false, multi: true },
      version: { values: ['1.1'], all: false, multi: true },
      hub: { values: [''], all: false, multi: false },
      custom: { values: ['.*'], all: true, multi: false },
    });
  });

  it('takes variables that only the panel knows', () => {
    expect(collect('$row', { row: { value: 7, text: '7' } })).toEqual({
      row: { values: ['7'], all: false, multi: false },
    });
  });
});

describe('choices', () => {
  const frame = (columns: Record<string, unknown[]>) =>
    createDataFrame({ fields: Object.entries(columns).map(([name, values]) => ({ name, values })) });
  const query: HubscopeVariableQuery = { refId: 'v' };

  it('takes the first column, and each value once', () => {
    expect(choices(frame({ Hub: ['a', 'b', 'a', null, ''] }), query)).toEqual([
      { text: 'a', value: 'a' },
      { text: 'b', value: 'b' },
    ]);
  });

  it('takes a second column as text', () => {
    expect(choices(frame({ Id: ['1'], Name: ['one'] }), query)).toEqual([{ text: 'one', value: '1' }]);
  });

  it('takes columns by name', () => {
    const data = { Other: ['x'], __text: ['one'], __value: ['1'] };
    expect(choices(frame(data), query)).toEqual([{ text: 'one', value: '1' }]);
    expect(choices(frame(data), { ...query, valueColumn: 'Other' })).toEqual([{ text: 'one', value: 'x' }]);
    expect(choices(frame({ A: ['a'], B: ['b'] }), { ...query, valueColumn: 'B' })).toEqual([{ text: 'b', value: 'b' }]);
    expect(choices(frame({ A: ['a'], B: ['b'] }), { ...query, textColumn: 'A', valueColumn: 'B' })).toEqual([
      { text: 'a', value: 'b' },
    ]);
  });

  it('writes values as text', () => {
    const data = createDataFrame({ fields: [{ name: 'T', type: FieldType.time, values: [0] }] });
    expect(choices(data, query)).toEqual([{ text: '1970-01-01T00:00:00.000Z', value: '1970-01-01T00:00:00.000Z' }]);
    expect(choices(frame({ N: [0, true] }), query).map((c) => c.value)).toEqual(['0', 'true']);
    expect(choices(undefined, query)).toEqual([]);
  });
});

describe('migrateVariable', () => {
  it('takes a text, nothing, and queries without a source', () => {
    expect(migrateVariable('Devices | distinct Hub')).toMatchObject({
      source: 'query',
      query: 'Devices | distinct Hub',
    });
    expect(migrateVariable(undefined)).toMatchObject({ source: 'query', schemaVersion: 1 });
    expect(migrateVariable({ refId: 'x', source: 'values', table: 'T' })).toMatchObject({
      refId: 'x',
      source: 'values',
    });
  });
});

describe('the query of a variable', () => {
  const ask = async (given: Parameters<typeof grafana>[0], query: Partial<HubscopeVariableQuery> | string) => {
    const { datasource, requests } = grafana(given);
    const request = { targets: [typeof query === 'string' ? query : { refId: 'v', ...query }], range, scopedVars: {} };
    const response = await lastValueFrom(
      (datasource.variables as never as { query: typeof datasource.query }).query(
        request as unknown as DataQueryRequest<HubscopeVariableQuery>
      )
    );
    return { data: response.data, requests };
  };

  it('runs KQL as a table, with the values of other variables', async () => {
    const { data, requests } = await ask(
      {
        variables: [{ name: 'hub', value: 'a' }],
        answers: {
          '/api/ds/query': () => ({
            results: {
              v: {
                frames: [
                  {
                    schema: { refId: 'v', fields: [{ name: 'DeviceId', type: 'string' }] },
                    data: { values: [['d1', 'd2']] },
                  },
                ],
              },
            },
          }),
        },
      },
      { query: 'Connections | where $__timeFilter() and Hub == $hub | distinct DeviceId' }
    );
    expect(data).toEqual([
      { text: 'd1', value: 'd1' },
      { text: 'd2', value: 'd2' },
    ]);
    expect(requests[0].data.queries[0]).toMatchObject({
      query: 'Connections | where $__timeFilter() and Hub == $hub | distinct DeviceId',
      format: 'table',
      purpose: 'variable',
      variables: { hub: { values: ['a'] } },
    });
  });

  it.each<Partial<HubscopeVariableQuery> | string>([
    '',
    { query: ' ' },
    { source: 'values' },
    { source: 'values', table: 'Connections' },
    { source: 'columns' },
  ])('asks for nothing while it is not complete: %j', async (query) => {
    const { data, requests } = await ask({}, query);
    expect(data).toEqual([]);
    expect(requests).toEqual([]);
  });

  it('says why KQL failed', async () => {
    const { datasource } = grafana({
      answers: { '/api/ds/query': () => ({ results: { v: { error: 'no column Hubb', status: 400 } } }) },
    });
    const response = await lastValueFrom(
      (datasource.variables as never as { query: typeof datasource.query }).query({
        targets: [{ refId: 'v', query: 'Connections | distinct Hubb' }],
        range,
        scopedVars: {},
      } as unknown as DataQueryRequest<HubscopeVariableQuery>)
    );
    expect(response.data).toEqual([]);
    expect(response.errors?.[0].message).toBe('no column Hubb');
  });

  it('asks for the values of a column within the range', async () => {
    const { data, requests } = await ask(
      { answers: { 'resources/values': () => [{ text: 'a', value: 'a' }] } },
      { source: 'values', table: 'Connections', column: 'Hub' }
    );
    expect(data).toEqual([{ text: 'a', value: 'a' }]);
    expect(requests[0].params).toEqual({
      table: 'Connections',
      column: 'Hub',
      from: range.from.valueOf(),
      to: range.to.valueOf(),
    });
  });

  it('lists the columns of a table', async () => {
    const { data } = await ask({}, { source: 'columns', table: 'Devices' });
    expect(data).toEqual([{ text: 'DeviceId', value: 'DeviceId' }]);
  });
});
