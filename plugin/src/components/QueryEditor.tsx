import { useId, useState } from 'react';
import { CoreApp, type QueryEditorProps } from '@grafana/data';
import { t, Trans } from '@grafana/i18n';
import { EditorField, EditorHeader, FlexItem } from '@grafana/plugin-ui';
import { Alert, Button, ConfirmModal, RadioButtonGroup, Stack } from '@grafana/ui';
import { emptyBuilder, parseKql, QueryBuilder, refusalText } from '../builder';
import { Text } from '../builder/fields';
import { type HubscopeDataSource, migrate } from '../datasource';
import { sourceTable } from '../kql';
import { type EditorMode, type HubscopeOptions, type HubscopeQuery, type QueryFormat, SCHEMA_VERSION } from '../types';
import { references } from '../variables';
import { Executed } from './Executed';
import { KqlEditor } from './KqlEditor';

/** What the settings of a data source are when nothing is set; plugin/pkg/ds has the same. */
const DEFAULT_ROWS = 10_000;
const DEFAULT_LINES = 1000;
const MAX_ROWS = 100_000;

type Props = QueryEditorProps<HubscopeDataSource, HubscopeQuery, HubscopeOptions>;

/** The editor of a query in panels, Explore and alert rules. */
export function QueryEditor({ query: stored, onChange, onRunQuery, datasource, data, range, app }: Props) {
  const id = useId();
  const query = migrate(stored);
  const mode: EditorMode = query.editorMode ?? 'code';
  const [refused, setRefused] = useState<string>();
  const defaultRows = datasource.options.defaultRowLimit || DEFAULT_ROWS;

  const changeAndRun = (changed: HubscopeQuery) => {
    onChange(changed);
    onRunQuery();
  };

  const toBuilder = () =>
    onChange({ ...query, editorMode: 'builder', query: '', builder: emptyBuilder(sourceTable(query.query ?? '')) });

  const onMode = (wanted: EditorMode) => {
    if (wanted === 'code' || !query.query?.trim()) {
      onChange({ ...query, editorMode: wanted });
      return;
    }
    const { builder, refusal } = parseKql(query.query);
    if (refusal) {
      setRefused(refusalText(refusal));
    } else {
      onChange({ ...query, editorMode: 'builder', builder });
    }
  };

  return (
    <Stack direction="column" gap={1}>
      <EditorHeader>
        <EditorField label={t('query-editor.format', 'Format')} htmlFor={`${id}-format`} width="auto">
          <RadioButtonGroup<QueryFormat>
            id={`${id}-format`}
            size="sm"
            aria-label={t('query-editor.format', 'Format')}
            options={[
              { value: 'table', label: t('query-editor.table', 'Table') },
              { value: 'time_series', label: t('query-editor.time-series', 'Time series') },
              { value: 'logs', label: t('query-editor.logs', 'Logs') },
            ]}
            value={query.format ?? 'table'}
            onChange={(format) => changeAndRun({ ...query, format })}
          />
        </EditorField>
        <EditorField
          label={t('query-editor.rows', 'Rows at most')}
          htmlFor={`${id}-rows`}
          tooltip={t('query-editor.rows-hint', 'Rows beyond these are cut, and a notice says so.')}
          width="auto"
        >
          <Text
            id={`${id}-rows`}
            type="number"
            width={14}
            value={query.rowLimit ? String(query.rowLimit) : ''}
            placeholder={String(query.format === 'logs' ? Math.min(defaultRows, DEFAULT_LINES) : defaultRows)}
            onCommit={(text) =>
              changeAndRun({ ...query, rowLimit: rows(text, datasource.options.maxRowLimit || MAX_ROWS) })
            }
          />
        </EditorField>
        <FlexItem grow={1} />
        <Button size="sm" icon="play" onClick={onRunQuery}>
          <Trans i18nKey="query-editor.run">Run query</Trans>
        </Button>
        <RadioButtonGroup<EditorMode>
          id={`${id}-mode`}
          size="sm"
          aria-label={t('query-editor.mode', 'Editor')}
          options={[
            { value: 'builder', label: t('query-editor.builder', 'Builder') },
            { value: 'code', label: t('query-editor.code', 'Code') },
          ]}
          value={mode}
          onChange={onMode}
        />
      </EditorHeader>
      <Notes query={query} app={app} onChange={onChange} />
      {mode === 'builder' ? (
        <QueryBuilder
          query={{ ...query, query: query.query ?? '' }}
          onChange={onChange}
          onRunQuery={onRunQuery}
          datasource={datasource}
          range={range}
        />
      ) : (
        <KqlEditor
          query={query}
          datasource={datasource}
          range={range}
          onChange={(text) => onChange({ ...query, query: text })}
          onRunQuery={(text) => changeAndRun({ ...query, query: text })}
        />
      )}
      <Executed data={data} refId={query.refId} />
      <ConfirmModal
        isOpen={refused !== undefined}
        title={t('query-editor.refused-title', 'The builder cannot show this query')}
        body={refused ?? ''}
        description={t('query-editor.refused-body', 'The builder can begin anew; what is written is then lost.')}
        confirmText={t('query-editor.refused-confirm', 'Begin anew')}
        onConfirm={() => {
          setRefused(undefined);
          toBuilder();
        }}
        onDismiss={() => setRefused(undefined)}
      />
    </Stack>
  );
}

interface NotesProps {
  query: HubscopeQuery;
  app?: string;
  onChange: (query: HubscopeQuery) => void;
}

/** Notes say what one should know of a query before running it. */
function Notes({ query, app, onChange }: NotesProps) {
  // A rule made of a panel comes with the values that the panel had.
  const missing = references(query.query ?? '').some(
    // $table is the column that search adds.
    (name) => name !== 'table' && !query.variables?.[name]
  );
  const carried = [
    ...Object.entries(query.variables ?? {}).map(
      ([name, { all, values }]) => `$${name} = ${all ? t('query-editor.all', 'All') : values.join(', ')}`
    ),
    ...(query.adHocFilters ?? []).map(({ key, operator, value, values }) =>
      [key, operator, (values ?? [value]).join(', ')].join(' ')
    ),
  ];
  return (
    <>
      {(query.schemaVersion ?? 0) > SCHEMA_VERSION && (
        <Alert
          severity="warning"
          title={t(
            'query-editor.newer',
            'A newer version of the hubscope data source wrote this query. Update the plugin before you change it.'
          )}
        />
      )}
      {app === CoreApp.UnifiedAlerting && missing && (
        <Alert
          severity="warning"
          title={t(
            'query-editor.alert-variables',
            'Alert rules have no dashboard variables: write the values into the query.'
          )}
        />
      )}
      {carried.length > 0 && (
        <Alert
          severity="info"
          title={t('query-editor.carried', 'With the values and filters of the dashboard that the query came from')}
          buttonContent={t('query-editor.carried-drop', 'Forget them')}
          onRemove={() => onChange({ ...query, variables: undefined, adHocFilters: undefined })}
        >
          {carried.join(' · ')}
        </Alert>
      )}
    </>
  );
}

/** rows reads a row limit; nothing readable is the default. */
function rows(text: string, max: number): number | undefined {
  const count = Math.floor(Number(text));
  return count >= 1 ? Math.min(count, max) : undefined;
}
