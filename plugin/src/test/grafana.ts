import {
  type DataSourceInstanceSettings,
  dateTime,
  type ScopedVars,
  type TimeRange,
  type TypedVariableModel,
} from '@grafana/data';
import {
  type BackendSrv,
  type BackendSrvRequest,
  type DataSourceSrv,
  type GrafanaLiveSrv,
  type LiveDataStreamOptions,
  setBackendSrv,
  setDataSourceSrv,
  setGrafanaLiveSrv,
  setTemplateSrv,
  type TemplateSrv,
} from '@grafana/runtime';
import { defer, from, type Observable, of } from 'rxjs';
import { HubscopeDataSource } from '../datasource';
import pluginJson from '../plugin.json';
import { type HubscopeOptions, type Schema } from '../types';

// What of Grafana the data source talks to, in tests: its services as the
// @grafana/runtime package declares them.

export interface TestVariable {
  name: string;
  value: string | string[];
  multi?: boolean;
  type?: string;
  /** All the choices: what $__all stands for. */
  options?: string[];
  /** The "custom all value" of the variable. */
  allValue?: string;
}

const ALL = '$__all';

/** templateSrv replaces as Grafana does: by a format function, which a custom all value never reaches. */
export function templateSrv(variables: TestVariable[]): TemplateSrv {
  const value = (name: string, scopedVars?: ScopedVars) => {
    const scoped = scopedVars?.[name.split('.')[0]];
    if (scoped) {
      return { found: true, value: scoped.value as string | string[] };
    }
    const v = variables.find((v) => v.name === name);
    if (!v) {
      return { found: false, value: '' };
    }
    if ([v.value].flat().includes(ALL)) {
      return v.allValue === undefined
        ? { found: true, value: v.options ?? [] }
        : { found: true, value: v.allValue, custom: true };
    }
    return { found: true, value: v.value };
  };
  return {
    getVariables: () =>
      variables.map(
        (v) =>
          ({
            name: v.name,
            type: v.type ?? 'query',
            multi: v.multi,
            current: { value: v.value },
          }) as unknown as TypedVariableModel
      ),
    replace: (target = '', scopedVars, format) =>
      target.replace(/\$(\w+)|\$\{(\w+(?:\.\w+)*)(?::(\w+))?\}/g, (all, bare, braced) => {
        const { found, value: v, custom } = { custom: false, ...value(bare ?? braced, scopedVars) };
        if (!found) {
          return all;
        }
        if (custom) {
          return String(v);
        }
        return typeof format === 'function' ? format(v) : Array.isArray(v) ? `{${v.join(',')}}` : v;
      }),
    containsTemplate: () => false,
    updateTimeRange: () => undefined,
  };
}

export const schema: Schema = {
  database: 'hubscope',
  tables: [
    {
      name: 'Connections',
      doc: 'Every event of a connection.',
      columns: [
        { name: 'TimeGenerated', type: 'datetime' },
        { name: 'DeviceId', type: 'string', doc: 'Device whose identity was proven.' },
        { name: 'Hub', type: 'string' },
        { name: 'Level', type: 'string' },
        { name: 'TlsVersion', type: 'string' },
        { name: 'WouldFailStrict', type: 'bool' },
        { name: 'ClientPort', type: 'int' },
        { name: 'Properties', type: 'dynamic' },
      ],
    },
    { name: 'Devices', columns: [{ name: 'DeviceId', type: 'string' }] },
    {
      name: 'AzureMetrics',
      columns: [
        { name: 'TimeGenerated', type: 'datetime' },
        { name: 'MetricName', type: 'string' },
      ],
    },
  ],
};

export const range: TimeRange = {
  from: dateTime('2026-11-22T00:00:00Z'),
  to: dateTime('2026-11-22T06:00:00Z'),
  raw: { from: 'now-6h', to: 'now' },
};

/** Answers are what the backend says, by the end of the address. */
export type Answers = Record<string, (request: BackendSrvRequest) => unknown>;

/** Grafana with one data source of ours; `requests` are what it was asked. */
export function grafana(given: { variables?: TestVariable[]; options?: HubscopeOptions; answers?: Answers } = {}) {
  const requests: BackendSrvRequest[] = [];
  const streams: LiveDataStreamOptions[] = [];
  const answers: Answers = {
    'resources/schema': () => schema,
    'resources/kusto-schema': () => ({ Plugins: [], Databases: { hubscope: { Name: 'hubscope', Tables: {} } } }),
    'resources/validate': () => ({ valid: true, errors: [] }),
    '/api/ds/query': () => ({ results: {} }),
    ...given.answers,
  };
  setTemplateSrv(templateSrv(given.variables ?? []));
  setBackendSrv({
    fetch: (request: BackendSrvRequest): Observable<unknown> => {
      requests.push(request);
      const address = request.url.replace(/\?.*/, '');
      const found = Object.entries(answers).find(([end]) => address.endsWith(end));
      return found
        ? defer(() => from(Promise.resolve(found[1](request)).then((data) => ({ data, status: 200, ok: true }))))
        : defer(() => from(Promise.reject(new Error(`nothing answers ${request.url}`))));
    },
  } as unknown as BackendSrv);
  setGrafanaLiveSrv({
    getDataStream: (options: LiveDataStreamOptions) => {
      streams.push(options);
      return of({ data: [], key: options.key });
    },
  } as unknown as GrafanaLiveSrv);
  const settings = {
    id: 1,
    uid: 'hubscope',
    type: pluginJson.id,
    name: 'hubscope',
    meta: pluginJson,
    readOnly: false,
    access: 'proxy',
    jsonData: given.options ?? {},
  } as unknown as DataSourceInstanceSettings<HubscopeOptions>;
  setDataSourceSrv({ getInstanceSettings: () => settings } as unknown as DataSourceSrv);
  const datasource = new HubscopeDataSource(settings);
  datasource.meta = settings.meta;
  return { datasource, requests, streams };
}
