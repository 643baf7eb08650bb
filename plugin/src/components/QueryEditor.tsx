import { type QueryEditorProps } from '@grafana/data';
import { CodeEditor } from '@grafana/ui';
import { type HubscopeDataSource } from '../datasource';
import { type HubscopeOptions, type HubscopeQuery } from '../types';

type Props = QueryEditorProps<HubscopeDataSource, HubscopeQuery, HubscopeOptions>;

export function QueryEditor({ query, onChange, onRunQuery }: Props) {
  return (
    <CodeEditor
      language="kusto"
      height={160}
      value={query.query ?? ''}
      onBlur={(text) => onChange({ ...query, query: text })}
      onSave={onRunQuery}
    />
  );
}
