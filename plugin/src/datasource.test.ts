import {
  type AnnotationQuery,
  CoreApp,
  createDataFrame,
  type DataQueryRequest,
  type DataSourceApi,
  FieldType,
  type LiveChannelAddress,
  LoadingState,
  LogRowContextQueryDirection,
  type LogRowModel,
  parseLiveChannelAddress,
  SupplementaryQueryType,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import { migrate } from './datasource';
import { grafana, range } from './test/grafana';
import { type HubscopeQuery } from './types';

jest.mock('@grafana/data', () => {
  const data = jest.requireActual('@grafana/data');
  return { ...data, parseLiveChannelAddress: jest.fn(data.parseLiveChannelAddress) };
});

const query = (text: string, more: Partial<HubscopeQuery> = {}): HubscopeQuery => ({
  refId: 'A',
  schemaVersion: 1,
  query: text,
  ...more,
});

const request = (targets: HubscopeQuery[], more: Partial<DataQueryRequest<HubscopeQuery>> = {}) =>
  ({
    requestId: 'Q1',
    app: CoreApp.Dashboard,
    interval: '1m',
    intervalMs: 60000,
    maxDataPoints: 500,
    range,
    scopedVars: {},
    startTime: 0,
    timezone: 'utc',
    targets,
    ...more,
  }) as DataQueryRequest<HubscopeQuery>;

describe('queries', () => {
  it('are sent as they were written, with the values of the variables they name', async () => {
    const { datasource, requests } = grafana({
      variables: [
        { name: 'hub', value: ['plant-7', 'x" or true'], multi: true },
        { name: 'other', value: 'unused' },
      ],
    });
    const text =
      'Connections | where $__timeFilter() and $__contains(Hub, $hub) | summarize count() by bin(TimeGenerated, $__timeInterval)';
    await lastValueFrom(datasource.query(request([query(text, { format: 'time_series', rowLimit: 10 })])));
    expect(requests).toHaveLength(1);
    const { data } = requests[0];
    expect(data.from).toBe(String(range.from.valueOf()));
    expect(data.queries).toEqual([
      {
        refId: 'A',
        schemaVersion: 1,
        query: text,
        format: 'time_series',
        rowLimit: 10,
        variables: { hub: { values: ['plant-7', 'x" or true'], all: false, multi: true } },
        datasource: { type: 'hubscope-connections-datasource', uid: 'hubscope' },
        datasourceId: 1,
        intervalMs: 60000,
        maxDataPoints: 500,
      },
    ]);
  });

  it('take the values of repeated panels', () => {
    const { datasource } = grafana({
      variables: [{ name: 'hub', value: ['$__all'], multi: true, options: ['a', 'b'] }],
    });
    const of = (scopedVars = {}) =>
      datasource.applyTemplateVariables(query('T | where Hub in ($hub)'), scopedVars).variables;
    expect(of()).toEqual({ hub: { values: ['a', 'b'], all: true, multi: true } });
    expect(of({ hub: { value: 'b', text: 'b' } })).toEqual({ hub: { values: ['b'], all: false, multi: true } });
  });

  it('carry the filters of the dashboard, variables in their values replaced', () => {
    const { datasource } = grafana({ variables: [{ name: 'hub', value: 'a' }] });
    const filters = [
      { key: 'Hub', operator: '=', value: '$hub' },
      { key: 'TlsVersion', operator: '=|', value: '1.0', values: ['1.0', '1.1'] },
    ];
    const sent = datasource.applyTemplateVariables(query('Connections'), {}, filters);
    expect(sent.query).toBe('Connections');
    expect(sent.adHocFilters).toEqual([
      { key: 'Hub', operator: '=', value: 'a' },
      { key: 'TlsVersion', operator: '=|', value: '1.0', values: ['1.0', '1.1'] },
    ]);
    expect(datasource.applyTemplateVariables(query('Connections'), {}, [])).not.toHaveProperty('adHocFilters');
  });

  it('keep their values on the way to Explore, which has no variables', () => {
    const dashboard = grafana({ variables: [{ name: 'hub', value: 'a' }] });
    const [carried] = dashboard.datasource.interpolateVariablesInQueries([query('T | where Hub == $hub')], {});
    expect(carried.query).toBe('T | where Hub == $hub');
    const explore = grafana();
    expect(explore.datasource.applyTemplateVariables(carried, {}).variables).toEqual({
      hub: { values: ['a'], all: false, multi: false },
    });
    // Once the text no longer names the variable its value goes.
    const edited = { ...carried, query: 'T' };
    expect(explore.datasource.applyTemplateVariables(edited, {})).not.toHaveProperty('variables');
  });

  it('are not run when empty or hidden', () => {
    const { datasource } = grafana();
    expect(datasource.filterQuery(query('T'))).toBe(true);
    expect(datasource.filterQuery(query(' \n'))).toBe(false);
    expect(datasource.filterQuery({ refId: 'A' })).toBe(false);
    expect(datasource.filterQuery(query('T', { hide: true }))).toBe(false);
  });

  it('begin as suits the place', () => {
    const { datasource } = grafana();
    expect(datasource.getDefaultQuery(CoreApp.Explore)).toMatchObject({ format: 'logs', schemaVersion: 1 });
    expect(datasource.getDefaultQuery(CoreApp.UnifiedAlerting)).toMatchObject({ format: 'table' });
    expect(datasource.getDefaultQuery(CoreApp.PanelEditor)).toMatchObject({ format: 'time_series' });
  });

  it('are migrated, but not those of a newer version', () => {
    expect(migrate({ refId: 'A', query: 'T' })).toEqual({ refId: 'A', query: 'T', schemaVersion: 1 });
    expect(migrate({ refId: 'A', query: 'T', schemaVersion: 7 }).schemaVersion).toBe(7);
  });

  it('know whether they name variables of the dashboard', () => {
    const { datasource } = grafana({ variables: [{ name: 'hub', value: 'a' }] });
    expect(datasource.targetContainsTemplate(query('T | where Hub == $hub'))).toBe(true);
    expect(datasource.targetContainsTemplate(query('T | where $__timeFilter() and $left.A == 1'))).toBe(false);
  });

  it('are taken over from other KQL data sources', async () => {
    const { datasource } = grafana();
    const from = (type: string, fields: object) =>
      // What Explore still calls when one changes the data source.
      // eslint-disable-next-line @typescript-eslint/no-deprecated
      datasource.importQueries([{ refId: 'B', datasource: { type }, ...fields }], { type } as DataSourceApi);
    expect(await from('grafana-azure-data-explorer-datasource', { query: 'T | count' })).toMatchObject([
      { refId: 'B', query: 'T | count', schemaVersion: 1, datasource: { uid: 'hubscope' } },
    ]);
    expect(await from('grafana-azure-monitor-datasource', { azureLogAnalytics: { query: 'Heartbeat' } })).toMatchObject(
      [{ query: 'Heartbeat' }]
    );
    expect(await from('prometheus', { query: 'up' })).toMatchObject([{ query: '' }]);
    expect(
      await from('hubscope-connections-datasource', { query: 'Devices', format: 'table', rowLimit: 3 })
    ).toMatchObject([{ query: 'Devices', format: 'table', rowLimit: 3 }]);
  });
});

describe('annotations', () => {
  it('ask for a table, for this purpose', () => {
    const { datasource } = grafana();
    const prepare = (annotation: object) =>
      datasource.annotations?.prepareQuery?.(annotation as AnnotationQuery<HubscopeQuery>);
    expect(prepare({ target: { refId: '', query: 'Audit', format: 'logs' } })).toEqual({
      refId: 'Anno',
      schemaVersion: 1,
      query: 'Audit',
      format: 'table',
      purpose: 'annotation',
    });
    expect(prepare({})).toBeUndefined();
  });
});

describe('resources', () => {
  it('list what filters may name, and values within the range', async () => {
    const { datasource, requests } = grafana({
      answers: {
        'resources/tag-keys': () => [{ text: 'Hub', value: 'Hub', type: 'string', doc: 'The hub.' }],
        'resources/tag-values': () => [{ text: 'plant-7' }],
      },
    });
    expect(await datasource.getTagKeys()).toEqual([{ text: 'Hub', value: 'Hub' }]);
    expect(await datasource.getTagValues({ key: 'Hub', filters: [], timeRange: range })).toEqual([{ text: 'plant-7' }]);
    expect(requests[1].params).toEqual({ key: 'Hub', from: range.from.valueOf(), to: range.to.valueOf() });
    await datasource.getTagValues({ key: 'Hub', filters: [{ key: 'Level', operator: '=', value: 'Error' }] });
    expect(requests[2].params).toEqual({ key: 'Hub', filters: '[{"key":"Level","operator":"=","value":"Error"}]' });
  });

  it('ask for the schema once, and again after a failure', async () => {
    let fails = true;
    const { datasource, requests } = grafana({
      answers: {
        'resources/schema': () => {
          if (fails) {
            throw {
              status: 502,
              data: { error: { code: 'Unreachable', message: 'no answer', hint: 'Check the URL.' } },
              config: {},
            };
          }
          return { database: 'hubscope', tables: [] };
        },
      },
    });
    await expect(datasource.schema()).rejects.toThrow('no answer: Check the URL.');
    fails = false;
    await datasource.schema();
    await datasource.schema();
    expect(requests).toHaveLength(2);
    expect(await datasource.columns('Nothing')).toEqual([]);
  });

  it('check a query with its variables and range', async () => {
    const { datasource, requests } = grafana({ variables: [{ name: 'hub', value: 'a' }] });
    expect(await datasource.validate(query('T | where Hub == $hub'), range)).toEqual({ valid: true, errors: [] });
    expect(requests[0]).toMatchObject({
      method: 'POST',
      showErrorAlert: false,
      data: {
        query: 'T | where Hub == $hub',
        variables: { hub: { values: ['a'] } },
        range: { from: range.from.valueOf(), to: range.to.valueOf() },
      },
    });
  });
});

describe('supplementary queries', () => {
  const logs = query('Connections | where Hub == "a" | order by TimeGenerated desc', { format: 'logs', rowLimit: 5 });

  it('count logs by level', () => {
    const { datasource } = grafana();
    const volume = datasource.getSupplementaryRequest(SupplementaryQueryType.LogsVolume, request([logs]));
    expect(volume?.targets).toEqual([
      {
        ...logs,
        refId: 'log-volume-A',
        editorMode: 'code',
        format: 'time_series',
        purpose: 'logs-volume',
        rowLimit: undefined,
        query:
          'Connections | where Hub == "a"\n| summarize Events = count() by bin(TimeGenerated, $__timeInterval), level = column_ifexists("Level", "")',
      },
    ]);
  });

  it('know the columns from the schema of the editor', async () => {
    const columns = (...names: string[]) => names.map((Name) => ({ Name, CslType: 'string' }));
    const Tables = {
      Connections: { Name: 'Connections', OrderedColumns: columns('TimeGenerated', 'Level') },
      QueryLog: { Name: 'QueryLog', OrderedColumns: columns('TimeGenerated', 'Text') },
      Devices: { Name: 'Devices', OrderedColumns: columns('DeviceId') },
    };
    const { datasource } = grafana({
      answers: { 'resources/kusto-schema': () => ({ Plugins: [], Databases: { hubscope: { Tables } } }) },
    });
    await datasource.kustoSchema();
    const volume = (text: string) =>
      datasource.getSupplementaryQuery({ type: SupplementaryQueryType.LogsVolume }, query(text, { format: 'logs' }))
        ?.query;
    expect(volume('Connections')).toMatch(/, level = Level$/);
    expect(volume('QueryLog')).toMatch(/, \$__timeInterval\)$/);
    expect(volume('Devices')).toBeUndefined();
    expect(volume('let T = Connections; T')).toMatch(/, level = column_ifexists\("Level", ""\)$/);
  });

  it('count by level only where there is one, and not where there is no time', async () => {
    const { datasource } = grafana();
    await datasource.schema();
    const volume = (text: string) =>
      datasource.getSupplementaryQuery({ type: SupplementaryQueryType.LogsVolume }, query(text, { format: 'logs' }))
        ?.query;
    expect(volume('AzureMetrics')).toBe(
      'AzureMetrics\n| summarize Events = count() by bin(TimeGenerated, $__timeInterval)'
    );
    expect(volume('Devices')).toBeUndefined();
    expect(volume('union A, B')).toBeUndefined();
  });

  it('sample the events behind other formats, and only there', () => {
    const { datasource } = grafana();
    const type = SupplementaryQueryType.LogsSample;
    const series = query('Connections | summarize count() by bin(TimeGenerated, 1m)', { format: 'time_series' });
    const sample = datasource.getSupplementaryRequest(type, request([series, logs]), { type, limit: 20 });
    expect(sample?.targets).toMatchObject([
      {
        refId: 'log-sample-A',
        query: 'Connections\n| top 20 by TimeGenerated desc',
        format: 'logs',
        purpose: 'logs-sample',
      },
    ]);
    expect(datasource.getSupplementaryRequest(SupplementaryQueryType.LogsVolume, request([series]))).toBeUndefined();
    expect(datasource.getSupplementaryRequest(type, request([query('')]))).toBeUndefined();
  });
});

describe('log context', () => {
  const row = {
    uid: 'A_1',
    rowIndex: 0,
    timeEpochMs: 1763776923456,
    timeEpochNs: '1763776923456789100',
    labels: { Hub: 'plant-7' },
    dataFrame: createDataFrame({ fields: [{ name: 'DeviceId', type: FieldType.string, values: ['pump-1'] }] }),
  } as unknown as LogRowModel;
  const logs = query('Connections | where TlsVersion == "1.0"', { format: 'logs' });

  it('is what the same device did, before and after', async () => {
    const { datasource, requests } = grafana();
    await datasource.getLogRowContext(row, { direction: LogRowContextQueryDirection.Backward, limit: 10 }, logs);
    await datasource.getLogRowContext(
      row,
      { direction: LogRowContextQueryDirection.Forward, limit: 10, timeWindowMs: 1000 },
      logs
    );
    const [before, after] = requests.map((r) => r.data);
    expect(before.queries[0]).toMatchObject({
      format: 'logs',
      purpose: 'logs-context',
      query:
        'Connections\n| where DeviceId == "pump-1"\n| where Hub == "plant-7"\n' +
        '| where TimeGenerated <= datetime(2025-11-22T02:02:03.4567891Z)\n| top 10 by TimeGenerated desc',
    });
    expect([before.from, before.to]).toEqual([String(row.timeEpochMs - 6 * 3600 * 1000), String(row.timeEpochMs + 1)]);
    expect(after.queries[0].query).toContain(
      '| where TimeGenerated >= datetime(2025-11-22T02:02:03.4567891Z)\n| top 10 by TimeGenerated asc'
    );
    expect([after.from, after.to]).toEqual([String(row.timeEpochMs), String(row.timeEpochMs + 1000)]);
  });

  it('is nothing for queries that begin with no table', async () => {
    const { datasource, requests } = grafana();
    expect(await datasource.getLogRowContext(row, {}, query('union A, B'))).toEqual({ data: [] });
    expect(await datasource.getLogRowContextQuery(row, {}, query('union A, B'))).toBeNull();
    expect(requests).toHaveLength(0);
    expect(await datasource.getLogRowContextQuery(row, {}, logs)).toMatchObject({ format: 'logs' });
  });
});

describe('filters from log lines', () => {
  const text = 'Connections\n| where $__timeFilter()\n| take 100';
  const FOR = (key: string, value: string) => ({ type: 'FILTER_FOR' as const, options: { key, value } });
  const OUT = (key: string, value: string) => ({ type: 'FILTER_OUT' as const, options: { key, value } });

  it('are put in, turned round and taken out', () => {
    const { datasource } = grafana();
    const one = datasource.toggleQueryFilter(query(text), FOR('Hub', 'a'));
    expect(one.query).toBe('Connections\n| where $__timeFilter()\n| where Hub == "a"\n| take 100');
    expect(datasource.queryHasFilter(one, { key: 'Hub', value: 'a' })).toBe(true);
    expect(datasource.queryHasFilter(one, { key: 'Hub', value: 'b' })).toBe(false);
    const turned = datasource.toggleQueryFilter(one, OUT('Hub', 'a'));
    expect(turned.query).toBe('Connections\n| where $__timeFilter()\n| where Hub != "a"\n| take 100');
    expect(datasource.toggleQueryFilter(turned, OUT('Hub', 'a')).query).toBe(text);
  });

  it('go by the type of the column', async () => {
    const { datasource } = grafana();
    await datasource.schema();
    const where = (key: string, value: string) =>
      datasource.modifyQuery(query('Connections'), { type: 'ADD_FILTER', options: { key, value } }).query;
    expect(where('WouldFailStrict', 'true')).toBe('Connections\n| where WouldFailStrict == true');
    expect(where('ClientPort', '50123')).toBe('Connections\n| where ClientPort == 50123');
    expect(where('TimeGenerated', '2026-11-22T02:02:03.45Z')).toBe(
      'Connections\n| where TimeGenerated == datetime(2026-11-22T02:02:03.45Z)'
    );
    expect(where('Properties', '{}')).toBe('Connections\n| where tostring(Properties) == "{}"');
  });

  it('are not put in twice, and replace their opposite', () => {
    const { datasource } = grafana();
    const add = (q: HubscopeQuery, type: string) =>
      datasource.modifyQuery(q, { type, options: { key: 'Hub', value: 'a' } });
    const once = add(query('Connections'), 'ADD_FILTER');
    expect(add(once, 'ADD_FILTER').query).toBe(once.query);
    expect(add(once, 'ADD_FILTER_OUT').query).toBe('Connections\n| where Hub != "a"');
    expect(add(once, 'SOMETHING_ELSE')).toBe(once);
  });

  it('look for a text', () => {
    const { datasource } = grafana();
    const find = (type: string) =>
      datasource.modifyQuery(query('Connections'), { type, options: { value: 'a "b"' } }).query;
    expect(find('ADD_STRING_FILTER')).toBe('Connections\n| where * contains "a \\"b\\""');
    expect(find('ADD_STRING_FILTER_OUT')).toBe('Connections\n| where not(* contains "a \\"b\\"")');
    expect(datasource.getSupportedQueryModifications()).toContain('ADD_STRING_FILTER_OUT');
  });
});

describe('live tail', () => {
  it('follows a query without what makes no sense of events as they come', async () => {
    const { datasource, streams, requests } = grafana({ variables: [{ name: 'hub', value: 'a' }] });
    const target = query('Connections | where Hub == $hub | order by TimeGenerated desc', {
      format: 'table',
      key: 'Q-1',
      datasource: { uid: 'hubscope' },
    });
    await lastValueFrom(datasource.query(request([target], { liveStreaming: true })));
    const data = {
      refId: 'A',
      schemaVersion: 1,
      query: 'Connections | where Hub == $hub',
      format: 'logs',
      variables: { hub: { values: ['a'], all: false, multi: false } },
    };
    expect(requests).toMatchObject([{ url: expect.stringMatching(/validate$/), data: { ...data, live: true } }]);
    expect(streams).toHaveLength(1);
    expect(streams[0].addr).toEqual({
      scope: 'ds',
      stream: 'hubscope',
      path: expect.stringMatching(/^tail\/[0-9a-f]{16}$/),
      data,
    });
  });

  it('names its channel as the Grafana at hand does', async () => {
    const { datasource, streams } = grafana();
    // As @grafana/data 12.3 has it.
    jest.mocked(parseLiveChannelAddress).mockImplementationOnce((id = '') => {
      const [scope, namespace, ...path] = id.split('/');
      return { scope, namespace, path: path.join('/') } as unknown as LiveChannelAddress;
    });
    await lastValueFrom(datasource.query(request([query('Connections')], { liveStreaming: true })));
    expect(streams[0].addr).toMatchObject({
      scope: 'ds',
      namespace: 'hubscope',
      path: expect.stringMatching(/^tail\/[0-9a-f]{16}$/),
      data: { query: 'Connections' },
    });
  });

  it('has one channel for equal queries and others for others', async () => {
    const { datasource, streams } = grafana();
    const path = async (text: string) => {
      await lastValueFrom(datasource.query(request([query(text)], { liveStreaming: true })));
      return streams[streams.length - 1].addr.path;
    };
    expect(await path('Connections')).toBe(await path('Connections'));
    expect(await path('Connections')).not.toBe(await path('Connections | where Hub == "a"'));
  });

  it('says why the service cannot follow a query', async () => {
    const refusal = {
      code: 'NotSupported',
      message: 'tail does not support the operator summarize',
      hint: 'tail knows where',
    };
    const { datasource, streams } = grafana({
      answers: { 'resources/validate': () => ({ valid: false, errors: [refusal] }) },
    });
    const response = await lastValueFrom(
      datasource.query(request([query('Connections | summarize count() by Hub')], { liveStreaming: true }))
    );
    expect(response).toEqual({
      data: [],
      errors: [{ refId: 'A', message: 'tail does not support the operator summarize: tail knows where' }],
      state: LoadingState.Error,
    });
    expect(streams).toHaveLength(0);
  });

  it('says that the service is away', async () => {
    const { datasource } = grafana({ answers: { 'resources/validate': () => Promise.reject(new Error('no answer')) } });
    const response = await lastValueFrom(datasource.query(request([query('Connections')], { liveStreaming: true })));
    expect(response.errors).toEqual([{ refId: 'A', message: 'no answer' }]);
  });

  it('is done when there is nothing to follow', async () => {
    const { datasource } = grafana();
    const response = await lastValueFrom(datasource.query(request([query('')], { liveStreaming: true })));
    expect(response).toEqual({ data: [], state: LoadingState.Done });
  });
});
