// Grafana's side of @grafana/runtime, as small as the plugin's needs allow.
import { Observable, firstValueFrom, from, of, throwError } from 'rxjs';
import { catchError, mergeMap } from 'rxjs/operators';
import {
  DataFrameJSON,
  DataSourceApi,
  DataSourceInstanceSettings,
  EventBusSrv,
  LoadingState,
  ScopedVars,
  dataFrameFromJSON,
  monacoLanguageRegistry,
} from '@grafana/data';
import {
  BackendSrv,
  BackendSrvRequest,
  FetchResponse,
  LiveDataStreamOptions,
  setAppEvents,
  setBackendSrv,
  setDataSourceSrv,
  setEchoSrv,
  setGrafanaLiveSrv,
  setTemplateSrv,
} from '@grafana/runtime';

import { initDataSourceInstanceSettings } from '@grafana/runtime/internal/settings';
import { initializeLoggersRegistry } from '@grafana/runtime/unstable';

/** calls are what was asked of the server, for tests to look at. */
export const calls: Array<{ method: string; url: string; data?: unknown; status?: number }> = [];

class Backend {
  private running = new Map<string, AbortController>();

  fetch = <T>(options: BackendSrvRequest): Observable<FetchResponse<T>> =>
    new Observable((subscriber) => {
      const abort = new AbortController();
      // A second request of the same id cancels the first, as in Grafana.
      if (options.requestId) {
        this.running.get(options.requestId)?.abort();
        this.running.set(options.requestId, abort);
      }
      options.abortSignal?.addEventListener('abort', () => abort.abort());
      void this.send<T>(options, abort.signal).then(
        (answer) => {
          subscriber.next(answer);
          subscriber.complete();
        },
        (error: unknown) => subscriber.error(error)
      );
      return () => abort.abort();
    });

  private async send<T>(options: BackendSrvRequest, signal: AbortSignal): Promise<FetchResponse<T>> {
    const params = new URLSearchParams();
    for (const [key, value] of Object.entries(options.params ?? {})) {
      if (value !== undefined && value !== null) {
        for (const v of Array.isArray(value) ? value : [value]) {
          params.append(key, String(v));
        }
      }
    }
    const query = params.toString();
    const url = (options.url.startsWith('/') ? '' : '/') + options.url + (query && (options.url.includes('?') ? '&' : '?') + query);
    const call = { method: options.method ?? 'GET', url, data: options.data, status: 0 };
    calls.push(call);
    const answer = await fetch(url, {
      method: call.method,
      headers: { ...(options.data !== undefined && { 'Content-Type': 'application/json' }), ...options.headers },
      body: options.data === undefined ? undefined : JSON.stringify(options.data),
      signal,
    });
    call.status = answer.status;
    const text = await answer.text();
    let data: unknown = text;
    if (options.responseType !== 'text' && /json/.test(answer.headers.get('content-type') ?? '')) {
      data = text === '' ? {} : JSON.parse(text);
    }
    const { status, statusText, ok, headers, redirected, type } = answer;
    if (!ok) {
      throw { status, statusText, data, config: options };
    }
    return { data: data as T, status, statusText, ok, headers, redirected, type, url, config: options };
  }

  request = async <T>(options: BackendSrvRequest) => (await firstValueFrom(this.fetch<T>(options))).data;
  datasourceRequest = <T>(options: BackendSrvRequest) => firstValueFrom(this.fetch<T>(options));
  get = <T>(url: string, params?: object, requestId?: string, options?: object) =>
    this.request<T>({ ...options, method: 'GET', url, params, requestId });
  post = <T>(url: string, data?: unknown, options?: object) => this.request<T>({ ...options, method: 'POST', url, data });
  put = <T>(url: string, data?: unknown, options?: object) => this.request<T>({ ...options, method: 'PUT', url, data });
  patch = <T>(url: string, data?: unknown, options?: object) => this.request<T>({ ...options, method: 'PATCH', url, data });
  delete = <T>(url: string, data?: unknown, options?: object) => this.request<T>({ ...options, method: 'DELETE', url, data });
  chunked = () => throwError(() => new Error('not here'));
}

/** Variable is a dashboard variable of the page. */
export interface Variable {
  name: string;
  type: string;
  multi: boolean;
  includeAll: boolean;
  allValue?: string;
  current: { text: string | string[]; value: string | string[] };
  options: Array<{ text: string; value: string; selected: boolean }>;
}

/** variables are those of the page's dashboard; tests set them. */
export const variables: Variable[] = [];

const VARIABLE = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}/g;

type Formatter = (value: unknown, variable?: unknown, defaultFormat?: unknown) => string;

/** replace is what TemplateSrv does, with those formats that data sources use. */
function replace(text?: string, scoped?: ScopedVars, format?: string | Formatter): string {
  return (text ?? '').replace(VARIABLE, (match, a, b, bFormat, c, _field, cFormat) => {
    const name: string = a ?? b ?? c;
    const variable = variables.find((v) => v.name === name);
    let value: unknown = scoped?.[name]?.value;
    if (value === undefined || value === null) {
      if (!variable) {
        return match;
      }
      value = variable.current.value;
      if (value === '$__all' || (Array.isArray(value) && value[0] === '$__all')) {
        if (variable.allValue) {
          return variable.allValue;
        }
        value = variable.options.filter((o) => o.value !== '$__all').map((o) => o.value);
      }
    }
    const how = bFormat ?? cFormat ?? format;
    if (typeof how === 'function') {
      return how(value, variable ?? { name }, () => '');
    }
    const list = Array.isArray(value) ? value.map(String) : [String(value)];
    switch (how) {
      case 'json':
        return typeof value === 'string' ? value : JSON.stringify(value);
      case 'csv':
        return list.join(',');
      case 'text':
        return variable ? [variable.current.text].flat().join(' + ') : list.join(' + ');
      case 'queryparam':
        return list.map((v) => `var-${name}=${encodeURIComponent(v)}`).join('&');
      case 'raw':
        return list.join(',');
      default:
        return list.length === 1 ? list[0] : `{${list.join(',')}}`;
    }
  });
}

/** install sets up @grafana/runtime for one data source. */
export function install(settings: DataSourceInstanceSettings, instance: () => DataSourceApi) {
  initializeLoggersRegistry();
  initDataSourceInstanceSettings({ [settings.name]: settings }, settings.name);
  setBackendSrv(new Backend() as unknown as BackendSrv);
  setEchoSrv({ flush: () => undefined, addBackend: () => undefined, addEvent: () => undefined });
  setAppEvents(new EventBusSrv());
  setTemplateSrv({
    getVariables: () => variables as never,
    replace: replace as never,
    containsTemplate: (text) => (text ?? '').search(VARIABLE) >= 0,
    updateTimeRange: () => undefined,
  });
  setDataSourceSrv({
    get: async () => instance(),
    getList: () => [settings],
    getInstanceSettings: () => settings,
    reload: async () => undefined,
    registerRuntimeDataSource: () => undefined,
  });
  // Live: one stream of lines for each channel.
  setGrafanaLiveSrv({
    getConnectionState: () => of(true),
    getStream: () => throwError(() => new Error('not here')),
    getPresence: () => Promise.reject(new Error('not here')),
    publish: () => Promise.reject(new Error('not here')),
    getDataStream: ({ addr, key }: LiveDataStreamOptions) => {
      const { scope, namespace, stream, path, data } = addr as { scope: string; namespace?: string; stream?: string; path: string; data?: unknown };
      return from(lines(`/live/${scope}/${stream ?? namespace}/${path}`, data)).pipe(
        mergeMap((frame) => of({ key, state: LoadingState.Streaming, data: [frame] })),
        catchError((error: unknown) => of({ key, state: LoadingState.Error, data: [], error: { message: String(error) } }))
      );
    },
  } as never);

  // The editor's workers, as in Grafana: the language registry first.
  monacoLanguageRegistry.setInit(() => [{ id: 'kusto', name: 'kusto', init: async () => new Worker('/host/kusto.worker.js') as never }]);
  Object.assign(self, {
    MonacoEnvironment: {
      getWorker: (_: string, label: string) =>
        monacoLanguageRegistry.getIfExists(label)?.init() ?? new Worker('/host/editor.worker.js'),
    },
  });
}

/** lines follows a channel: each line is a frame, of which the first has the schema. */
async function* lines(url: string, data: unknown) {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(data ?? null) });
  if (!answer.ok || !answer.body) {
    throw new Error(await answer.text());
  }
  let schema: DataFrameJSON['schema'];
  let rest = '';
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const parts = (rest + value).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts.filter(Boolean)) {
      const frame = JSON.parse(line) as DataFrameJSON;
      schema = frame.schema ?? schema;
      yield dataFrameFromJSON({ schema, data: frame.data });
    }
  }
}
