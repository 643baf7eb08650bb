// A page in Grafana's place: it loads the built plugin, renders its editors
// with what Grafana gives them, and shows the frames that a query returns.
// ?view= is one of panel, explore, variable, annotation and config.
import { css } from '@emotion/css';
import { ComponentType, useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Observable, Subscription, firstValueFrom, isObservable, lastValueFrom } from 'rxjs';
import {
  AdHocVariableFilter,
  AnnotationQuery,
  CoreApp,
  DataFrame,
  DataQuery,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceApi,
  DataSourceInstanceSettings,
  DataSourcePlugin,
  DataSourcePluginMeta,
  DataSourceSettings,
  FieldType,
  GrafanaTheme2,
  LoadingState,
  PanelData,
  TimeRange,
  ThemeContext,
  createTheme,
  rangeUtil,
  toUtc,
} from '@grafana/data';
import { initializeI18n } from '@grafana/i18n/internal';
import { config } from '@grafana/runtime';
import { Alert, Button, Combobox, GlobalStyles, Stack, useStyles2 } from '@grafana/ui';
import { load } from './loader';
import { calls, install, variables } from './services';

type Query = DataQuery & Record<string, unknown>;
type Source = DataSourceApi<Query>;

interface Boot {
  settings: DataSourceInstanceSettings;
  config: DataSourceSettings;
}

const view = new URLSearchParams(location.search).get('view') ?? 'panel';

/** state is what tests look at, and set. */
const state: {
  query: Query;
  setQuery?: (query: Query) => void;
  frames: DataFrame[];
  error?: string;
  calls: typeof calls;
  variables: typeof variables;
  runs: number;
  source?: Source;
  /** filters are the dashboard's ad hoc filters. */
  filters: AdHocVariableFilter[];
  /** ask runs a query besides those of the editor. */
  ask?: (query: Partial<Query>, request?: object) => Promise<DataQueryResponse>;
} = { query: { refId: 'A' }, frames: [], calls, variables, runs: 0, filters: [] };
Object.assign(window, { page: state });

const ranges: Record<string, string> = { 'now-15m': 'Last 15 minutes', 'now-1h': 'Last hour', 'now-24h': 'Last 24 hours', 'now-7d': 'Last 7 days' };

function timeRange(raw: string): TimeRange {
  const { from, to } = rangeUtil.convertRawToRange({ from: raw, to: 'now' });
  return { from, to, raw: { from: raw, to: 'now' } };
}

function request(source: Source, query: Query, range: TimeRange, app: string): DataQueryRequest<Query> {
  const width = 1000;
  const { interval, intervalMs } = rangeUtil.calculateInterval(range, width, source.interval);
  return {
    app,
    requestId: `Q${state.runs}`,
    timezone: 'utc',
    range,
    rangeRaw: range.raw,
    interval,
    intervalMs,
    maxDataPoints: width,
    targets: [query],
    filters: state.filters,
    scopedVars: { __interval: { text: interval, value: interval }, __interval_ms: { text: String(intervalMs), value: intervalMs } },
    startTime: Date.now(),
    panelId: 1,
  } as DataQueryRequest<Query>;
}

function Editors({ source, plugin, boot }: { source: Source; plugin: DataSourcePlugin<Source>; boot: Boot }) {
  switch (view) {
    case 'config':
      return <Config plugin={plugin} boot={boot} source={source} />;
    case 'variable':
      return <Variables source={source} />;
    default:
      return <Panel source={source} plugin={plugin} />;
  }
}

/** Panel is a panel's query, Explore's, or an annotation's. */
function Panel({ source, plugin }: { source: Source; plugin: DataSourcePlugin<Source> }) {
  const app = view === 'explore' ? CoreApp.Explore : view === 'annotation' ? CoreApp.Dashboard : CoreApp.PanelEditor;
  const [query, setQuery] = useState<Query>(() => ({ refId: 'A', datasource: source.getRef(), ...source.getDefaultQuery?.(app) }) as Query);
  const [raw, setRaw] = useState('now-1h');
  const [range, setRange] = useState(() => timeRange('now-1h'));
  const [data, setData] = useState<PanelData>();
  const [running] = useState<{ now?: Subscription }>({});
  state.query = query;
  state.setQuery = setQuery;

  const run = () => {
    // What the editor has just changed counts, as in Grafana.
    setTimeout(() => {
      const now = timeRange(raw);
      setRange(now);
      state.runs++;
      running.now?.unsubscribe();
      if (source.filterQuery && !source.filterQuery(state.query)) {
        setData({ state: LoadingState.NotStarted, series: [], timeRange: now });
        return;
      }
      setData((d) => ({ series: d?.series ?? [], state: LoadingState.Loading, timeRange: now }));
      const target = annotations?.prepareQuery?.({ target: state.query } as never) ?? state.query;
      const answer = source.query(request(source, target as Query, now, app));
      running.now = (answer as Observable<DataQueryResponse>).subscribe({
        next: (r) => {
          state.frames = r.data;
          state.error = r.error?.message ?? r.errors?.[0]?.message;
          setData({ series: r.data, errors: r.errors, error: r.error, state: r.error ?? r.errors?.length ? LoadingState.Error : (r.state ?? LoadingState.Done), timeRange: now });
        },
        error: (error: unknown) => {
          state.frames = [];
          state.error = String(error);
          setData({ series: [], state: LoadingState.Error, error: { message: String(error) }, timeRange: now });
        },
      });
    });
  };

  const annotations = view === 'annotation' ? source.annotations : undefined;
  const Editor = (annotations?.QueryEditor ?? plugin.components.QueryEditor) as ComponentType<Record<string, unknown>>;
  const extra: Record<string, unknown> = {};
  if (view === 'annotation') {
    const annotation: AnnotationQuery = { name: 'test', enable: true, iconColor: 'red', target: query as never };
    extra.annotation = annotation;
    extra.onAnnotationChange = (a: AnnotationQuery) => setQuery((a.target ?? query) as unknown as Query);
  }
  return (
    <Stack direction="column" gap={2}>
      <Stack alignItems="center" justifyContent="flex-end">
        <Combobox
          id="range"
          width={24}
          value={raw}
          options={Object.entries(ranges).map(([value, label]) => ({ value, label }))}
          onChange={(o) => setRaw(o.value)}
        />
        <Button data-testid="run" onClick={run}>
          Run query
        </Button>
      </Stack>
      <div data-testid="editor">
        <Editor
          app={app}
          datasource={source}
          query={query}
          queries={[query]}
          data={data}
          range={range}
          history={[]}
          onChange={setQuery}
          onRunQuery={run}
          onAddQuery={() => undefined}
          {...extra}
        />
      </div>
      <Result data={data} />
    </Stack>
  );
}

function Result({ data }: { data?: PanelData }) {
  const styles = useStyles2(getStyles);
  const errors = data?.errors ?? (data?.error ? [data.error] : []);
  return (
    <div data-testid="result" data-state={data?.state ?? LoadingState.NotStarted}>
      {errors.map((e, i) => (
        <Alert key={i} severity="error" title={e.message ?? 'error'} data-testid="error" />
      ))}
      {data?.series.map((frame, i) => (
        <figure key={i} className={styles.frame} data-testid="frame" data-type={frame.meta?.type}>
          <figcaption>
            {frame.name ?? frame.refId} · {frame.meta?.type ?? 'no type'} · {frame.meta?.preferredVisualisationType ?? ''} · {frame.length} rows
          </figcaption>
          {frame.meta?.notices?.map((n, k) => (
            <p key={k} data-testid="notice">
              {n.severity}: {n.text}
            </p>
          ))}
          <table>
            <thead>
              <tr>
                {frame.fields.map((f, k) => (
                  <th key={k} title={f.type}>
                    {f.name}
                    {f.labels && ` {${Object.entries(f.labels).map(([a, b]) => `${a}=${b}`)}}`}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {Array.from({ length: Math.min(frame.length, 8) }, (_, row) => (
                <tr key={row}>
                  {frame.fields.map((f, k) => (
                    <td key={k}>{cell(f.type, f.values[row])}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </figure>
      ))}
    </div>
  );
}

function cell(type: FieldType, value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (type === FieldType.time) {
    return toUtc(value as number).toISOString();
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Variables is the editor of a query variable; running it lists its values. */
function Variables({ source }: { source: Source }) {
  const support = source.variables;
  const [query, setQuery] = useState<Query>({ refId: 'A', ...(support as never as { getDefaultQuery?: () => object })?.getDefaultQuery?.() } as Query);
  const [values, setValues] = useState<Array<{ text: string; value?: string | number }>>();
  const [error, setError] = useState('');
  state.query = query;
  state.setQuery = setQuery;
  const run = async () => {
    // What the editor has just changed counts.
    await new Promise((resolve) => setTimeout(resolve));
    const range = timeRange('now-1h');
    try {
      const answer = (support as never as { query: (r: unknown) => unknown }).query(request(source, state.query, range, CoreApp.Dashboard));
      const { data } = (isObservable(answer) ? await lastValueFrom(answer) : await answer) as { data: Array<DataFrame | { text: string; value?: string }> };
      const [first] = data as DataFrame[];
      const list = first?.fields
        ? Array.from({ length: first.length }, (_, i) => {
            const of = (name: string) => first.fields.find((f) => f.name === name)?.values[i];
            return { text: String(of('text') ?? of('value') ?? first.fields[0].values[i]), value: of('value') as string };
          })
        : (data as Array<{ text: string; value?: string }>);
      setValues(list);
      setError('');
    } catch (e) {
      setError(String((e as Error).message ?? e));
    }
    state.runs++;
  };
  const Editor = (support as never as { editor?: ComponentType<Record<string, unknown>> })?.editor;
  if (!Editor) {
    return <Alert severity="error" title="the plugin has no variable editor" />;
  }
  return (
    <Stack direction="column" gap={2}>
      <div data-testid="editor">
        <Editor datasource={source} query={query} range={timeRange('now-1h')} onChange={(q: Query) => setQuery(q)} onRunQuery={run} />
      </div>
      <div>
        <Button data-testid="run" onClick={run}>
          Run query
        </Button>
      </div>
      {error && <Alert severity="error" title={error} data-testid="error" />}
      <ul data-testid="values">{values?.map((v, i) => <li key={i}>{v.text === String(v.value ?? v.text) ? v.text : `${v.text} = ${v.value}`}</li>)}</ul>
    </Stack>
  );
}

/** Config is the page of a data source; its button saves and tests. */
function Config({ plugin, boot, source }: { plugin: DataSourcePlugin<Source>; boot: Boot; source: Source }) {
  const [options, setOptions] = useState(boot.config);
  const [result, setResult] = useState<{ status: string; message: string; details?: unknown }>();
  Object.assign(state, { options });
  const Editor = plugin.components.ConfigEditor as unknown as ComponentType<Record<string, unknown>>;
  const test = async () => {
    setResult(undefined);
    const answer = await fetch(`/api/datasources/uid/${options.uid}`, { method: 'PUT', body: JSON.stringify(options) });
    setOptions(await answer.json());
    try {
      setResult(await source.testDatasource());
    } catch (error) {
      const e = error as { message?: string; details?: { message?: string; verboseMessage?: string } };
      setResult({ status: 'error', message: e.message ?? String(error), details: e.details });
    }
  };
  return (
    <Stack direction="column" gap={2}>
      <div data-testid="editor">
        <Editor options={options} onOptionsChange={setOptions} />
      </div>
      <div>
        <Button data-testid="test" onClick={test}>
          Save &amp; test
        </Button>
      </div>
      {result && (
        <Alert severity={result.status === 'error' ? 'error' : 'success'} title={result.message} data-testid="health">
          {JSON.stringify(result.details)}
        </Alert>
      )}
    </Stack>
  );
}

function App({ source, plugin, boot }: { source: Source; plugin: DataSourcePlugin<Source>; boot: Boot }) {
  const theme = useMemo(() => createTheme({ colors: { mode: config.bootData.user.theme === 'light' ? 'light' : 'dark' } }), []);
  useEffect(() => {
    document.body.dataset.ready = 'yes';
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <main style={{ padding: 16, maxWidth: 1200, margin: '0 auto' }}>
        <Editors source={source} plugin={plugin} boot={boot} />
      </main>
      <div id="grafana-portal-container" />
    </ThemeContext.Provider>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  frame: css({
    overflow: 'auto',
    marginTop: theme.spacing(2),
    fontSize: 12,
    'th, td': { padding: '2px 8px', textAlign: 'left', whiteSpace: 'nowrap', borderBottom: `1px solid ${theme.colors.border.weak}` },
  }),
});

async function start() {
  await initializeI18n({ language: 'en-US', ns: ['grafana'] } as never);
  const boot = (await (await fetch('/host/boot')).json()) as Boot;
  let source: Source | undefined;
  install(boot.settings, () => source as DataSourceApi);
  const meta = boot.settings.meta as DataSourcePluginMeta;
  const module = await load(`/public/plugins/${meta.id}/module.js`);
  const plugin = module.plugin as DataSourcePlugin<Source>;
  plugin.meta = meta;
  source = new plugin.DataSourceClass(boot.settings);
  source.components = plugin.components;
  source.meta = meta;
  state.source = source;
  const asked = source;
  state.ask = async (query, extra) => {
    const target = { refId: 'X', datasource: asked.getRef(), schemaVersion: 1, ...query } as Query;
    const answer = asked.query({ ...request(asked, target, timeRange('now-1h'), CoreApp.Explore), ...extra });
    return firstValueFrom(answer as Observable<DataQueryResponse>);
  };
  createRoot(document.getElementById('root') as HTMLElement).render(<App source={source} plugin={plugin} boot={boot} />);
}

start().catch((error: Error) => {
  document.body.dataset.ready = 'failed';
  console.error(error.stack ?? String(error));
});
