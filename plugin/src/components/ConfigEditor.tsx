import { type DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { t } from '@grafana/i18n';
import { ConnectionSettings } from '@grafana/plugin-ui';
import { type HubscopeOptions, type HubscopeSecureOptions } from '../types';

type Props = DataSourcePluginOptionsEditorProps<HubscopeOptions, HubscopeSecureOptions>;

export function ConfigEditor({ options, onOptionsChange }: Props) {
  return (
    <ConnectionSettings
      config={options}
      onChange={onOptionsChange}
      urlLabel={t('config.url', 'URL of the query service')}
      urlPlaceholder="http://localhost:7070"
    />
  );
}
