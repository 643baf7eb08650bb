import {
  type AdHocVariableFilter,
  type AnnotationQuery,
  CoreApp,
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceApi,
  type DataSourceGetTagKeysOptions,
  type DataSourceGetTagValuesOptions,
  type DataSourceInstanceSettings,
  type DataSourceWithLogsContextSupport,
  type DataSourceWithQueryModificationSupport,
  type DataSourceWithSupplementaryQueriesSupport,
  type DataSourceWithToggleableQueryFiltersSupport,
  dateTime,
  type LiveChannelAddress,
  LiveChannelScope,
  LoadingState,
  type LogRowContextOptions,
  LogRowContextQueryDirection,
  type LogRowModel,
  type MetricFindValue,
  parseLiveChannelAddress,
  type QueryFilterOptions,
  type QueryFixAction,
  type QueryFixType,
  type ScopedVars,
  type SupplementaryQueryOptions,
  SupplementaryQueryType,
  type TimeRange,
  type ToggleFilterAction,
} from '@grafana/data';
import { DataSourceWithBackend, getGrafanaLiveSrv, getTemplateSrv, isFetchError } from '@grafana/runtime';
import { type DataQuery } from '@grafana/schema';
import { catchError, from, lastValueFrom, merge, type Observable, of, switchMap } from 'rxjs';
import { quote } from './builder/write';
import { AnnotationEditor } from './components/AnnotationEditor';
import {
  addStage,
  contextQuery,
  hasStage,
  predicate,
  removeStage,
  sampleQuery,
  sourceTable,
  tailQuery,
  volumeQuery,
} from './kql';
import {
  type AdHocFilter,
  type HubscopeOptions,
  type HubscopeQuery,
  type Schema,
  SCHEMA_VERSION,
  type Validation,
} from './types';
import { collectVariables, HubscopeVariables, references } from './variables';

/** TIME is the column of a table's time. */
const TIME = 'TimeGenerated';

/** How long a schema is used before it is asked for again. */
const SCHEMA_AGE_MS = 5 * 60 * 1000;

/** How far around a log line its context is looked for, when Grafana does not say. */
const CONTEXT_WINDOW_MS = 6 * 60 * 60 * 1000;

/** What setSchemaFromShowSchema of Microsoft's language service takes. */
export interface KustoSchema {
  Plugins: unknown[];
  Databases: Record<
    string,
    { Tables?: Record<string, { Name: string; OrderedColumns: Array<{ Name: string; CslType: string }> }> }
  >;
}

/**
 * The data source in the browser. It sends queries as they were written, with the
 * values of the variables they name beside them; the backend (plugin/pkg/ds)
 * expands macros, variables and filters.
 */
export class HubscopeDataSource
  extends DataSourceWithBackend<HubscopeQuery, HubscopeOptions>
  implements
    DataSourceWithLogsContextSupport<HubscopeQuery>,
    DataSourceWithQueryModificationSupport<HubscopeQuery>,
    DataSourceWithSupplementaryQueriesSupport<HubscopeQuery>,
    DataSourceWithToggleableQueryFiltersSupport<HubscopeQuery>
{
  readonly options: HubscopeOptions;
  private readonly answers = new Map<string, { answer: Promise<unknown>; since: number }>();
  private loaded?: Schema;

  constructor(settings: DataSourceInstanceSettings<HubscopeOptions>) {
    super(settings);
    this.options = settings.jsonData ?? {};
    this.interval = this.options.timeInterval;
    this.variables = new HubscopeVariables(this);
    this.annotations = {
      QueryEditor: AnnotationEditor,
      getDefaultQuery: () => ({ schemaVersion: SCHEMA_VERSION, format: 'table' }),
      prepareQuery: (annotation: AnnotationQuery<HubscopeQuery>) =>
        annotation.target && {
          ...migrate(annotation.target),
          refId: annotation.target.refId || 'Anno',
          format: 'table',
          purpose: 'annotation',
        },
    };
  }

  // Queries.

  getDefaultQuery(app: CoreApp): Partial<HubscopeQuery> {
    return {
      schemaVersion: SCHEMA_VERSION,
      editorMode: 'code',
      format: app === CoreApp.Explore ? 'logs' : app === CoreApp.UnifiedAlerting ? 'table' : 'time_series',
      query: '',
    };
  }

  filterQuery(query: HubscopeQuery): boolean {
    return !query.hide && Boolean(query.query?.trim());
  }

  query(request: DataQueryRequest<HubscopeQuery>): Observable<DataQueryResponse> {
    return request.liveStreaming ? this.tail(request) : super.query(request);
  }

  /** Adds what the dashboard has chosen; the text stays as it is. */
  applyTemplateVariables(query: HubscopeQuery, scopedVars: ScopedVars, filters?: AdHocVariableFilter[]): HubscopeQuery {
    const migrated = migrate(query);
    const named = references(migrated.query ?? '');
    // Explore knows no dashboard variables: there those count that came with the query.
    const carried = Object.entries(migrated.variables ?? {}).filter(([name]) => named.includes(name));
    const variables = {
      ...Object.fromEntries(carried),
      ...collectVariables(migrated.query ?? '', scopedVars),
    };
    const { variables: _variables, adHocFilters: _adHocFilters, ...rest } = migrated;
    return {
      ...rest,
      ...(Object.keys(variables).length > 0 && { variables }),
      ...(filters && filters.length > 0
        ? {
            adHocFilters: filters.map((filter) =>
              asFilter({ ...filter, value: getTemplateSrv().replace(filter.value, scopedVars) })
            ),
          }
        : migrated.adHocFilters && { adHocFilters: migrated.adHocFilters }),
    };
  }

  getQueryDisplayText(query: HubscopeQuery): string {
    return query.query ?? '';
  }

  /** Whether the text names variables of the dashboard, which alert rules have none of. */
  targetContainsTemplate(query: HubscopeQuery): boolean {
    const known = new Set(
      getTemplateSrv()
        .getVariables()
        .map(({ name }) => name)
    );
    return references(query.query ?? '').some((name) => known.has(name));
  }

  /** KQL of other data sources is taken over; other languages leave nothing. */
  async importQueries(queries: DataQuery[], origin: DataSourceApi): Promise<HubscopeQuery[]> {
    return queries.map((query) => {
      if (origin.type === this.type) {
        return { ...migrate(query as HubscopeQuery), datasource: this.getRef() };
      }
      return {
        refId: query.refId,
        datasource: this.getRef(),
        schemaVersion: SCHEMA_VERSION,
        editorMode: 'code',
        format: 'table',
        query: foreignKql(query),
      };
    });
  }

  // Ad hoc filters: a fixed list of columns, and their values within the dashboard's range.

  async getTagKeys(_options?: DataSourceGetTagKeysOptions<HubscopeQuery>): Promise<MetricFindValue[]> {
    const keys = await this.resource<MetricFindValue[]>('tag-keys');
    return keys.map(({ text, value }) => ({ text, value }));
  }

  async getTagValues(options: DataSourceGetTagValuesOptions<HubscopeQuery>): Promise<MetricFindValue[]> {
    return this.resource('tag-values', {
      key: options.key,
      ...bounds(options.timeRange),
      // Values that occur together with what is chosen already.
      ...(options.filters?.length > 0 && { filters: JSON.stringify(options.filters.map(asFilter)) }),
    });
  }

  // Resources.

  /** The tables and their columns. */
  schema(): Promise<Schema> {
    return this.kept('schema', async () => {
      this.loaded = await this.resource<Schema>('schema');
      return this.loaded;
    });
  }

  /** The schema as Microsoft's KQL language service takes it, macros as functions. */
  kustoSchema(): Promise<KustoSchema> {
    return this.kept('kusto-schema', async () => {
      const schema = await this.resource<KustoSchema>('kusto-schema');
      // An editor of code asks for this one alone; filters and log volumes go by the columns.
      this.loaded ??= tablesOf(schema);
      return schema;
    });
  }

  /** What is asked for once and, after a while or a failure, again. */
  private kept<T>(name: string, ask: () => Promise<T>): Promise<T> {
    const known = this.answers.get(name);
    if (known && Date.now() - known.since < SCHEMA_AGE_MS) {
      return known.answer as Promise<T>;
    }
    const answer = ask();
    this.answers.set(name, { answer, since: Date.now() });
    answer.catch(() => this.answers.delete(name));
    return answer;
  }

  async columns(table: string): Promise<Array<{ name: string; type: string; doc?: string }>> {
    const { tables } = await this.schema();
    return tables.find(({ name }) => name === table)?.columns ?? [];
  }

  /** The values of a column within a range, most frequent first. */
  values(table: string, column: string, range?: TimeRange): Promise<MetricFindValue[]> {
    return this.resource('values', { table, column, ...bounds(range) });
  }

  /** What the service says of a query, in places of the text as it was written. */
  validate(query: HubscopeQuery, range?: TimeRange): Promise<Validation> {
    return failing(
      this.postResource<Validation>(
        'validate',
        { ...this.applyTemplateVariables(query, {}), range: bounds(range) },
        { showErrorAlert: false }
      )
    );
  }

  private resource<T>(path: string, params?: Record<string, unknown>): Promise<T> {
    return failing(this.getResource<T>(path, params, { showErrorAlert: false }));
  }

  // Logs: volume, samples, context.

  getSupportedSupplementaryQueryTypes(): SupplementaryQueryType[] {
    return [SupplementaryQueryType.LogsVolume, SupplementaryQueryType.LogsSample];
  }

  getSupplementaryQuery(options: SupplementaryQueryOptions, original: HubscopeQuery): HubscopeQuery | undefined {
    const query = migrate(original);
    const text = query.query ?? '';
    if (!this.filterQuery(query) || this.hasColumn(text, TIME) === false) {
      return undefined;
    }
    const { builder: _builder, ...rest } = query;
    const derived = { ...rest, editorMode: 'code' as const };
    switch (options.type) {
      case SupplementaryQueryType.LogsVolume:
        return query.format === 'logs'
          ? {
              ...derived,
              refId: `log-volume-${query.refId}`,
              query: volumeQuery(text, this.hasColumn(text, 'Level')),
              format: 'time_series',
              purpose: 'logs-volume',
              rowLimit: undefined,
            }
          : undefined;
      case SupplementaryQueryType.LogsSample:
        return query.format === 'logs'
          ? undefined
          : {
              ...derived,
              refId: `log-sample-${query.refId}`,
              query: sampleQuery(text, options.limit ?? 100),
              format: 'logs',
              purpose: 'logs-sample',
              rowLimit: undefined,
            };
      default:
        return undefined;
    }
  }

  getSupplementaryRequest(
    type: SupplementaryQueryType,
    request: DataQueryRequest<HubscopeQuery>,
    options?: SupplementaryQueryOptions
  ): DataQueryRequest<HubscopeQuery> | undefined {
    const targets = request.targets
      .map((target) => this.getSupplementaryQuery(options ?? { type }, target))
      .filter((target) => target !== undefined);
    return targets.length > 0 ? { ...request, targets } : undefined;
  }

  async getLogRowContext(
    row: LogRowModel,
    options?: LogRowContextOptions,
    query?: HubscopeQuery
  ): Promise<DataQueryResponse> {
    const target = this.contextOf(row, options, query);
    if (!target) {
      return { data: [] };
    }
    const before = options?.direction !== LogRowContextQueryDirection.Forward;
    const reach = options?.timeWindowMs ?? CONTEXT_WINDOW_MS;
    const from = dateTime(before ? row.timeEpochMs - reach : row.timeEpochMs);
    // The line itself is within, whatever its fraction of a millisecond.
    const to = dateTime(before ? row.timeEpochMs + 1 : row.timeEpochMs + reach);
    return lastValueFrom(
      this.query({
        requestId: `hubscope-context-${row.uid}-${before ? 'before' : 'after'}`,
        app: CoreApp.Explore,
        interval: '1s',
        intervalMs: 1000,
        range: { from, to, raw: { from, to } },
        scopedVars: options?.scopedVars ?? {},
        startTime: Date.now(),
        targets: [target],
        timezone: 'utc',
        hideFromInspector: true,
      })
    );
  }

  async getLogRowContextQuery(
    row: LogRowModel,
    options?: LogRowContextOptions,
    query?: HubscopeQuery
  ): Promise<HubscopeQuery | null> {
    return this.contextOf(row, options, query) ?? null;
  }

  private contextOf(
    row: LogRowModel,
    options?: LogRowContextOptions,
    query?: HubscopeQuery
  ): HubscopeQuery | undefined {
    const table = sourceTable(query?.query ?? '');
    if (!table) {
      return undefined;
    }
    const field = (name: string) => {
      const value = row.labels?.[name] ?? row.dataFrame.fields.find((f) => f.name === name)?.values[row.rowIndex];
      return value === null || value === undefined ? undefined : String(value);
    };
    return {
      refId: `context-${query?.refId ?? 'A'}`,
      datasource: this.getRef(),
      schemaVersion: SCHEMA_VERSION,
      editorMode: 'code',
      format: 'logs',
      purpose: 'logs-context',
      query: contextQuery({
        table,
        time: timeOf(row),
        equal: { DeviceId: field('DeviceId'), Hub: field('Hub') },
        before: options?.direction !== LogRowContextQueryDirection.Forward,
        limit: options?.limit ?? 50,
      }),
    };
  }

  // Filters from the details of log lines and from tables.

  getSupportedQueryModifications(): QueryFixType[] {
    return ['ADD_FILTER', 'ADD_FILTER_OUT', 'ADD_STRING_FILTER', 'ADD_STRING_FILTER_OUT'];
  }

  modifyQuery(query: HubscopeQuery, action: QueryFixAction): HubscopeQuery {
    const { key = '', value = '' } = action.options ?? {};
    const text = query.query ?? '';
    switch (action.type) {
      case 'ADD_FILTER':
      case 'ADD_FILTER_OUT': {
        const wanted = this.filter(text, key, value, action.type === 'ADD_FILTER');
        const opposite = this.filter(text, key, value, action.type !== 'ADD_FILTER');
        const without = removeStage(text, opposite);
        return withText(query, key && !hasStage(without, wanted) ? addStage(without, wanted) : without);
      }
      case 'ADD_STRING_FILTER':
      case 'ADD_STRING_FILTER_OUT': {
        const found = `* contains ${quote(value)}`;
        const stage = action.type === 'ADD_STRING_FILTER' ? `where ${found}` : `where not(${found})`;
        return withText(query, value && !hasStage(text, stage) ? addStage(text, stage) : text);
      }
      default:
        return query;
    }
  }

  toggleQueryFilter(query: HubscopeQuery, filter: ToggleFilterAction): HubscopeQuery {
    const { key = '', value = '' } = filter.options;
    const text = query.query ?? '';
    const wanted = this.filter(text, key, value, filter.type === 'FILTER_FOR');
    if (hasStage(text, wanted)) {
      return withText(query, removeStage(text, wanted));
    }
    const opposite = this.filter(text, key, value, filter.type !== 'FILTER_FOR');
    return withText(query, addStage(removeStage(text, opposite), wanted));
  }

  queryHasFilter(query: HubscopeQuery, filter: QueryFilterOptions): boolean {
    const text = query.query ?? '';
    return hasStage(text, this.filter(text, filter.key, filter.value, true));
  }

  private filter(text: string, column: string, value: string, equal: boolean): string {
    return `where ${predicate(column, value, equal, this.columnType(text, column))}`;
  }

  private columnType(text: string, column: string): string | undefined {
    const table = sourceTable(text);
    return this.loaded?.tables.find(({ name }) => name === table)?.columns.find(({ name }) => name === column)?.type;
  }

  /** Whether the table of a query has a column; undefined of a table that is not known. */
  private hasColumn(text: string, column: string): boolean | undefined {
    const table = sourceTable(text);
    const known = this.loaded?.tables.find(({ name }) => name === table);
    return table === undefined ? false : known?.columns.some(({ name }) => name === column);
  }

  // Live tail.

  private tail(request: DataQueryRequest<HubscopeQuery>): Observable<DataQueryResponse> {
    const streams = request.targets
      .filter((target) => this.filterQuery(target))
      .map((target) => this.follow(target, request));
    return streams.length > 0 ? merge(...streams) : of({ data: [], state: LoadingState.Done });
  }

  /** The address of a channel, by Grafana itself: 12 calls the uid a namespace and 13 a stream. */
  private channel(path: string): LiveChannelAddress {
    const address = parseLiveChannelAddress(`${LiveChannelScope.DataSource}/${this.uid}/${path}`);
    if (!address) {
      throw new Error(`no channel ${path}`);
    }
    return address;
  }

  /** Follows one query, once the service says that it can be: a subscription that is refused has no message. */
  private follow(target: HubscopeQuery, request: DataQueryRequest<HubscopeQuery>): Observable<DataQueryResponse> {
    const query = this.applyTemplateVariables(target, request.scopedVars, request.filters);
    const { datasource: _datasource, hide: _hide, key: _key, builder: _builder, ...model } = query;
    const data = { ...model, query: tailQuery(query.query ?? ''), format: 'logs' as const };
    const refuse = (message: string): Observable<DataQueryResponse> =>
      of({ data: [], errors: [{ message, refId: target.refId }], state: LoadingState.Error });
    const asked = failing(
      this.postResource<Validation>(
        'validate',
        { ...data, live: true, range: bounds(request.range) },
        { showErrorAlert: false }
      )
    );
    return from(asked).pipe(
      switchMap(({ errors }) =>
        errors?.length
          ? refuse(errors.map(sentence).join(' '))
          : getGrafanaLiveSrv().getDataStream({
              key: `${request.requestId}-${target.refId}`,
              addr: { ...this.channel(`tail/${hash(JSON.stringify(data))}`), data },
              buffer: { maxLength: Math.min(request.maxDataPoints || 1000, 5000) },
            })
      ),
      catchError((failure: unknown) => refuse(failure instanceof Error ? failure.message : String(failure)))
    );
  }
}

/** tablesOf reads tables and columns from the schema of the editor. */
function tablesOf(schema: KustoSchema): Schema {
  const [[database, { Tables = {} }]] = Object.entries(schema.Databases);
  const tables = Object.values(Tables).map(({ Name, OrderedColumns }) => ({
    name: Name,
    columns: OrderedColumns.map((column) => ({ name: column.Name, type: column.CslType })),
  }));
  return { database, tables };
}

/** migrate brings a stored query to the present version. One of a newer version is left for the backend to refuse. */
export function migrate(query: HubscopeQuery): HubscopeQuery {
  if (query.schemaVersion !== undefined && query.schemaVersion >= SCHEMA_VERSION) {
    return query;
  }
  // Version 0 is a query without a version: the same fields.
  return { ...query, schemaVersion: SCHEMA_VERSION };
}

/** withText replaces a query's text. The builder reads the new text by itself. */
function withText(query: HubscopeQuery, text: string): HubscopeQuery {
  return { ...migrate(query), query: text };
}

/** foreignKql is the KQL of a query of Azure Data Explorer, Azure Monitor or the like. */
function foreignKql(query: DataQuery): string {
  const { query: text, azureLogAnalytics } = query as { query?: unknown; azureLogAnalytics?: { query?: unknown } };
  const kql = azureLogAnalytics?.query ?? text;
  const known = query.datasource?.type ?? '';
  return typeof kql === 'string' && /azure|kusto/.test(known) ? kql : '';
}

function asFilter({ key, operator, value, values }: AdHocVariableFilter): AdHocFilter {
  return { key, operator, value, ...(values && { values }) };
}

function bounds(range?: TimeRange): { from?: number; to?: number } {
  return range ? { from: range.from.valueOf(), to: range.to.valueOf() } : {};
}

/** timeOf is a line's time with all its digits, up to Kusto's seven. */
function timeOf(row: LogRowModel): string {
  const nanoseconds = /^\d+$/.test(row.timeEpochNs) ? row.timeEpochNs.padStart(10, '0') : `${row.timeEpochMs}000000`;
  const seconds = new Date(Number(nanoseconds.slice(0, -9)) * 1000).toISOString().slice(0, -5);
  return `${seconds}.${nanoseconds.slice(-9, -2)}Z`;
}

/** failing says what the backend says of a resource that failed, with its hint. */
async function failing<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (failure) {
    if (isFetchError(failure) && failure.data?.error?.message) {
      throw new Error(sentence(failure.data.error));
    }
    throw failure;
  }
}

function sentence({ message, hint }: { message: string; hint?: string }): string {
  return hint ? `${message}: ${hint}` : message;
}

/** hash names a stream: the same query has the same one (FNV-1a, twice 32 bits). */
function hash(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b ^ text.charCodeAt(i), 0x85ebca6b);
  }
  return [a, b].map((n) => (n >>> 0).toString(16).padStart(8, '0')).join('');
}
