import { type CoreApp, type DataSourceInstanceSettings } from '@grafana/data';
import { DataSourceWithBackend } from '@grafana/runtime';
import { type HubscopeOptions, type HubscopeQuery, SCHEMA_VERSION } from './types';

export class HubscopeDataSource extends DataSourceWithBackend<HubscopeQuery, HubscopeOptions> {
  constructor(settings: DataSourceInstanceSettings<HubscopeOptions>) {
    super(settings);
  }

  getDefaultQuery(_app: CoreApp): Partial<HubscopeQuery> {
    return { schemaVersion: SCHEMA_VERSION, format: 'table' };
  }

  filterQuery(query: HubscopeQuery): boolean {
    return !query.hide && Boolean(query.query?.trim());
  }
}
