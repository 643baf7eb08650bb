import { DataSourcePlugin } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import pluginJson from './plugin.json';
import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { QueryEditorHelp } from './components/QueryEditorHelp';
import { HubscopeDataSource } from './datasource';
import { type HubscopeOptions, type HubscopeQuery, type HubscopeSecureOptions } from './types';

void initPluginTranslations(pluginJson.id);

export const plugin = new DataSourcePlugin<HubscopeDataSource, HubscopeQuery, HubscopeOptions, HubscopeSecureOptions>(
  HubscopeDataSource
)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor)
  .setQueryEditorHelp(QueryEditorHelp);
