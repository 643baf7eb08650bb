import { useEffect, useId, useState } from 'react';
import { type QueryEditorProps } from '@grafana/data';
import { t, Trans } from '@grafana/i18n';
import { Alert, Field, RadioButtonGroup, Stack, Text as Note } from '@grafana/ui';
import { Choice, Text } from '../builder/fields';
import { type HubscopeDataSource } from '../datasource';
import {
  type HubscopeOptions,
  type HubscopeQuery,
  type HubscopeVariableQuery,
  type Schema,
  type VariableSource,
} from '../types';
import { migrateVariable } from '../variables';
import { KqlEditor } from './KqlEditor';

type Props = QueryEditorProps<HubscopeDataSource, HubscopeQuery, HubscopeOptions, HubscopeVariableQuery>;

/** The editor of a dashboard variable's query. */
export function VariableEditor({ query: stored, onChange, onRunQuery, datasource, range }: Props) {
  const id = useId();
  const query = migrateVariable(stored);
  const { tables, problem } = useTables(datasource);
  const columns = tables.find(({ name }) => name === query.table)?.columns ?? [];

  const change = (changed: Partial<HubscopeVariableQuery>) => {
    onChange({ ...query, ...changed });
    onRunQuery();
  };

  return (
    <Stack direction="column" gap={1}>
      <div>
        <RadioButtonGroup<VariableSource>
          id={`${id}-source`}
          aria-label={t('variable-editor.source', 'Where the choices come from')}
          options={[
            { value: 'query', label: t('variable-editor.query', 'Query') },
            { value: 'values', label: t('variable-editor.values', 'Values of a column') },
            { value: 'columns', label: t('variable-editor.columns', 'Columns of a table') },
          ]}
          value={query.source}
          onChange={(source) => change({ source })}
        />
      </div>
      {problem && (
        <Alert severity="error" title={t('variable-editor.schema', 'The tables could not be asked for')}>
          {problem}
        </Alert>
      )}
      {query.source === 'query' ? (
        <>
          <KqlEditor
            query={query}
            datasource={datasource}
            range={range}
            onChange={(text) => change({ query: text })}
            onRunQuery={(text) => change({ query: text })}
          />
          <Note variant="bodySmall" color="secondary">
            <Trans i18nKey="variable-editor.columns-of-result">
              The first column has the values and the second, if there is one, their texts, unless columns are named
              here.
            </Trans>
          </Note>
          <Stack gap={2} wrap="wrap">
            <Field label={t('variable-editor.value-column', 'Column of the values')} htmlFor={`${id}-value`} noMargin>
              <Text
                id={`${id}-value`}
                width={24}
                value={query.valueColumn ?? ''}
                onCommit={(text) => change({ valueColumn: text.trim() || undefined })}
              />
            </Field>
            <Field label={t('variable-editor.text-column', 'Column of the texts')} htmlFor={`${id}-text`} noMargin>
              <Text
                id={`${id}-text`}
                width={24}
                value={query.textColumn ?? ''}
                onCommit={(text) => change({ textColumn: text.trim() || undefined })}
              />
            </Field>
          </Stack>
        </>
      ) : (
        <Stack gap={2} wrap="wrap" alignItems="flex-end">
          <Field label={t('variable-editor.table', 'Table')} htmlFor={`${id}-table`} noMargin>
            <Choice
              id={`${id}-table`}
              value={query.table}
              custom
              options={tables.map(({ name, doc }) => ({ value: name, label: name, description: doc }))}
              onChange={(table) => change({ table, column: table === query.table ? query.column : undefined })}
            />
          </Field>
          {query.source === 'values' && (
            <Field
              label={t('variable-editor.column', 'Column')}
              description={t('variable-editor.bounded', 'The most frequent values within the time range.')}
              htmlFor={`${id}-column`}
              noMargin
            >
              <Choice
                id={`${id}-column`}
                value={query.column}
                custom
                options={columns.map(({ name, type, doc }) => ({
                  value: name,
                  label: name,
                  description: doc ? `${type}: ${doc}` : type,
                }))}
                onChange={(column) => change({ column })}
              />
            </Field>
          )}
        </Stack>
      )}
    </Stack>
  );
}

function useTables(datasource: HubscopeDataSource): { tables: Schema['tables']; problem?: string } {
  const [found, setFound] = useState<{ tables: Schema['tables']; problem?: string }>({ tables: [] });
  useEffect(() => {
    let current = true;
    datasource.schema().then(
      ({ tables }) => current && setFound({ tables }),
      (failure: unknown) =>
        current && setFound({ tables: [], problem: failure instanceof Error ? failure.message : String(failure) })
    );
    return () => {
      current = false;
    };
  }, [datasource]);
  return found;
}
