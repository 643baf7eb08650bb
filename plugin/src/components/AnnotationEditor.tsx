import { type AnnotationQuery, type QueryEditorProps } from '@grafana/data';
import { Trans } from '@grafana/i18n';
import { Stack, Text } from '@grafana/ui';
import { type HubscopeDataSource, migrate } from '../datasource';
import { type HubscopeOptions, type HubscopeQuery } from '../types';
import { Executed } from './Executed';
import { KqlEditor } from './KqlEditor';

type Props = QueryEditorProps<HubscopeDataSource, HubscopeQuery, HubscopeOptions> & {
  annotation?: AnnotationQuery<HubscopeQuery>;
  onAnnotationChange?: (annotation: AnnotationQuery<HubscopeQuery>) => void;
};

/** The editor of an annotation's query: every row is an event. Grafana's own fields map the columns. */
export function AnnotationEditor({ query: stored, onChange, onRunQuery, datasource, data, range }: Props) {
  const query = migrate(stored);
  const changed = (text: string) => onChange({ ...query, format: 'table', query: text });
  return (
    <Stack direction="column" gap={1}>
      <Text variant="bodySmall" color="secondary">
        <Trans i18nKey="annotation-editor.columns">
          Each row is an event. Columns named time, timeEnd, title, text, tags and id are taken as such; otherwise the
          first column with times and the first with text are.
        </Trans>
      </Text>
      <KqlEditor
        query={query}
        datasource={datasource}
        range={range}
        onChange={changed}
        onRunQuery={(text) => {
          changed(text);
          onRunQuery();
        }}
      />
      <Executed data={data} refId={query.refId} />
    </Stack>
  );
}
