import { type DataSourceJsonData } from '@grafana/data';
import { type DataQuery } from '@grafana/schema';
import { type BuilderQuery } from './builder/model';

/** The version of the query model that this code writes. */
export const SCHEMA_VERSION = 1;

export type QueryFormat = 'table' | 'time_series' | 'logs';
export type EditorMode = 'code' | 'builder';

/** What a query is run for, where that is not a panel. */
export type Purpose = '' | 'variable' | 'annotation' | 'logs-volume' | 'logs-sample' | 'logs-context';

/** The values a dashboard variable had when the query was sent. */
export interface VariableValue {
  values: string[];
  all: boolean;
  multi: boolean;
  /** The type that the values have in KQL, where they are no strings. */
  type?: 'timespan';
}

export interface AdHocFilter {
  key: string;
  operator: string;
  value: string;
  values?: string[];
}

/**
 * A target's JSON, as it is stored in dashboards and sent to the backend
 * (plugin/pkg/ds, Model). The text is always sent as it was written: macros and
 * variables are replaced by the backend, on tokens.
 */
export interface HubscopeQuery extends DataQuery {
  schemaVersion?: number;
  query?: string;
  format?: QueryFormat;
  editorMode?: EditorMode;
  builder?: BuilderQuery;
  rowLimit?: number;
  variables?: Record<string, VariableValue>;
  adHocFilters?: AdHocFilter[];
  purpose?: Purpose;
}

/** Where the choices of a dashboard variable come from. */
export type VariableSource = 'query' | 'values' | 'columns';

/** The query of a dashboard variable. Without a source it is a KQL query. */
export interface HubscopeVariableQuery extends HubscopeQuery {
  source?: VariableSource;
  table?: string;
  column?: string;
  /** Columns of the result; without them a single column is both. */
  valueColumn?: string;
  textColumn?: string;
}

export interface HubscopeOptions extends DataSourceJsonData {
  timeoutSeconds?: number;
  defaultRowLimit?: number;
  maxRowLimit?: number;
  /** 0: the bins of a query decide; -1: no cache. */
  cacheSeconds?: number;
  timeInterval?: string;
  tlsDeviceDashboardUid?: string;
  oauthPassThru?: boolean;
  oauthPassThruAllowFallback?: boolean;
  tlsAuth?: boolean;
  tlsAuthWithCACert?: boolean;
  tlsSkipVerify?: boolean;
  serverName?: string;
  keepCookies?: string[];
}

export interface HubscopeSecureOptions {
  token?: string;
  basicAuthPassword?: string;
  tlsCACert?: string;
  tlsClientCert?: string;
  tlsClientKey?: string;
}

/** GET /schema. */
export interface Schema {
  database: string;
  tables: Array<{ name: string; doc?: string; columns: Array<{ name: string; type: string; doc?: string }> }>;
}

/** One thing wrong with a query; the place is in the text as it was written. */
export interface Problem {
  code: string;
  message: string;
  hint?: string;
  line?: number;
  column?: number;
  length?: number;
}

/** POST /validate. */
export interface Validation {
  valid: boolean;
  errors?: Problem[];
  columns?: Array<{ name: string; type: string }>;
}

/** POST /explain. */
export interface Explanation {
  kql: string;
  sql: string;
  tables?: string[];
  rollup?: string;
  rollupWhyNot?: string;
  notices?: string[];
  estimatedRows?: number;
}
