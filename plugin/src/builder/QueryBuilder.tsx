import { css } from '@emotion/css';
import { useEffect, useId, useMemo, useState } from 'react';
import { GrafanaTheme2, TimeRange } from '@grafana/data';
import { t } from '@grafana/i18n';
import { AccessoryButton, EditorField, EditorFieldGroup, EditorRow, EditorRows } from '@grafana/plugin-ui';
import { getTemplateSrv } from '@grafana/runtime';
import { Alert, Button, ClipboardButton, RadioButtonGroup, Stack, useStyles2 } from '@grafana/ui';
import { Aggregates, Groups } from './Aggregates';
import { Conditions, Lookup, columnOptions } from './Conditions';
import { Choice, Choices, Text } from './fields';
import { refusalText } from './messages';
import { AUTO_STEP, BuilderQuery, Column, Order, TIME, columnType, emptyBuilder, outputColumns } from './model';
import { Parsed, parseKql } from './parse';
import { toKql } from './write';

/** BuilderTarget is the part of a query that the builder reads and writes. */
export interface BuilderTarget {
  query?: string;
  builder?: BuilderQuery;
}

/** Resources is the part of the data source that the builder needs. */
export interface Resources {
  getResource: <T>(path: string, params?: Record<string, unknown>) => Promise<T>;
}

interface Table {
  name: string;
  doc?: string;
  columns: Column[];
}

interface Props<Q extends BuilderTarget> {
  query: Q;
  onChange: (query: Q) => void;
  onRunQuery: () => void;
  datasource: Resources;
  range?: TimeRange;
}

/**
 * QueryBuilder edits a query without writing KQL, and shows the KQL that it
 * writes. A query that it cannot show it leaves alone, and says why.
 */
export function QueryBuilder<Q extends BuilderTarget>({ query, onChange, onRunQuery, datasource, range }: Props<Q>) {
  const id = useId();
  const styles = useStyles2(getStyles);
  const [tables, setTables] = useState<Table[]>();
  const [problem, setProblem] = useState<string>();

  useEffect(() => {
    let current = true;
    datasource
      .getResource<{ tables: Table[] }>('schema')
      .then((schema) => current && setTables(schema.tables))
      .catch((error: unknown) => current && setProblem(errorText(error)));
    return () => {
      current = false;
    };
  }, [datasource]);

  const parsed = useMemo(() => current(query), [query]);
  const b = parsed.builder ?? emptyBuilder();
  const columns = useMemo(() => tables?.find((table) => table.name === b.table)?.columns ?? [], [tables, b.table]);
  const output = useMemo(() => outputColumns(b, columns), [b, columns]);
  const variables = getTemplateSrv()
    .getVariables()
    .map((v) => '$' + v.name);

  const from = range?.from.valueOf();
  const to = range?.to.valueOf();
  const lookup = useMemo(() => lookupIn(datasource, b.table, from, to), [datasource, b.table, from, to]);

  if (parsed.refusal) {
    return (
      <Alert
        severity="info"
        title={t('builder.refusal.title', 'This query cannot be shown in the builder')}
        buttonContent={t('builder.refusal.start-over', 'Start over')}
        onRemove={() => onChange({ ...query, builder: emptyBuilder(), query: '' })}
      >
        {refusalText(parsed.refusal)}
        <pre className={styles.kql}>{query.query}</pre>
      </Alert>
    );
  }

  const set = (change: Partial<BuilderQuery>) => {
    const builder = { ...b, ...change };
    const kql = toKql(builder);
    onChange({ ...query, builder, query: kql });
    if (kql && kql !== query.query) {
      onRunQuery();
    }
  };
  const setTable = (name: string) => {
    const next = tables?.find((table) => table.name === name)?.columns ?? [];
    const has = (column?: string) => next.some((c) => c.name === column);
    set({
      ...emptyBuilder(name),
      mode: b.mode,
      limit: b.limit,
      // What the other table has too is kept.
      timeColumn: has(TIME) ? TIME : undefined,
      // Rows begin with the newest.
      orderBy: b.mode === 'rows' && has(TIME) ? [{ column: TIME, desc: true }] : [],
      filters: b.filters.map((any) => any.filter((c) => has(c.column))).filter((any) => any.length > 0),
      columns: b.columns.filter(has),
      aggregates: b.aggregates.filter((a) => !a.column || has(a.column)),
      groupBy: b.groupBy.filter((g) => has(g.column)),
    });
  };
  const setMode = (mode: BuilderQuery['mode']) => {
    const first = mode === 'aggregate' && b.aggregates.length + b.groupBy.length === 0;
    set({
      mode,
      orderBy: [],
      ...(first && {
        aggregates: [{ function: 'count' }],
        groupBy: b.timeColumn ? [{ column: b.timeColumn, step: AUTO_STEP }] : [],
      }),
    });
  };
  const kql = toKql(b);

  return (
    <EditorRows>
      {problem && (
        <Alert severity="warning" title={t('builder.schema-failed', 'The tables are not known')}>
          {problem}
        </Alert>
      )}
      <EditorRow>
        <EditorFieldGroup>
          <EditorField label={t('builder.table.label', 'Table')} width={25}>
            <Choice
              id={`${id}-table`}
              value={b.table || undefined}
              loading={!tables && !problem}
              options={(tables ?? []).map((table) => ({ value: table.name, description: table.doc }))}
              placeholder={t('builder.table.placeholder', 'Choose a table')}
              onChange={setTable}
            />
          </EditorField>
          <EditorField label={t('builder.mode.label', 'Show')}>
            <RadioButtonGroup
              id={`${id}-mode`}
              aria-label={t('builder.mode.label', 'Show')}
              value={b.mode}
              options={[
                { value: 'rows', label: t('builder.mode.rows', 'Rows') },
                { value: 'aggregate', label: t('builder.mode.aggregate', 'Aggregates') },
              ]}
              onChange={setMode}
            />
          </EditorField>
          <EditorField
            label={t('builder.time.label', 'Within the dashboard’s range')}
            tooltip={t('builder.time.tooltip', 'The time column that is limited to the dashboard’s time range.')}
          >
            <Choice
              id={`${id}-time`}
              value={b.timeColumn ?? ''}
              options={[
                ...columnOptions(columns, ['datetime']),
                { value: '', label: t('builder.time.none', 'no filter') },
              ]}
              onChange={(column) => set({ timeColumn: column || undefined })}
            />
          </EditorField>
        </EditorFieldGroup>
      </EditorRow>

      <EditorRow>
        <EditorField label={t('builder.filter.label', 'Filters')} optional>
          <Conditions
            id={`${id}-filter`}
            addLabel={t('builder.filter.add', 'Add filter')}
            columns={columns}
            variables={variables}
            lookup={lookup}
            value={b.filters}
            onChange={(filters) => set({ filters })}
          />
        </EditorField>
      </EditorRow>

      {b.mode === 'rows' && (
        <EditorRow>
          <EditorField label={t('builder.columns.label', 'Columns')} optional>
            <Choices
              id={`${id}-columns`}
              value={b.columns}
              options={columnOptions(columns)}
              placeholder={t('builder.columns.placeholder', 'All columns')}
              minWidth={40}
              onChange={(list) => set({ columns: list })}
            />
          </EditorField>
        </EditorRow>
      )}

      {b.mode === 'aggregate' && (
        <>
          <EditorRow>
            <EditorField label={t('builder.aggregate.label', 'Aggregates')}>
              <Aggregates
                id={`${id}-aggregate`}
                columns={columns}
                variables={variables}
                lookup={lookup}
                value={b.aggregates}
                onChange={(aggregates) => set({ aggregates })}
              />
            </EditorField>
          </EditorRow>
          <EditorRow>
            <EditorField label={t('builder.group.label', 'Group by')} optional>
              <Groups id={`${id}-group`} columns={columns} value={b.groupBy} onChange={(groupBy) => set({ groupBy })} />
            </EditorField>
          </EditorRow>
          <EditorRow>
            <EditorField label={t('builder.having.label', 'Filter the result')} optional>
              <Conditions
                id={`${id}-having`}
                addLabel={t('builder.having.add', 'Add filter of the result')}
                columns={output}
                variables={variables}
                value={b.having}
                onChange={(having) => set({ having })}
              />
            </EditorField>
          </EditorRow>
        </>
      )}

      <EditorRow>
        <EditorFieldGroup>
          <EditorField label={t('builder.order.label', 'Order by')} optional>
            <Orders
              id={`${id}-order`}
              columns={b.mode === 'rows' ? columns : output}
              value={b.orderBy}
              onChange={(orderBy) => set({ orderBy })}
            />
          </EditorField>
          <EditorField label={t('builder.limit.label', 'Limit')} optional>
            <Text
              id={`${id}-limit`}
              type="number"
              width={16}
              placeholder={t('builder.limit.placeholder', 'none')}
              value={b.limit === undefined ? '' : String(b.limit)}
              onCommit={(text) => set({ limit: /^\d+$/.test(text.trim()) ? Number(text) : undefined })}
            />
          </EditorField>
        </EditorFieldGroup>
      </EditorRow>

      <EditorRow>
        <Stack direction="column" gap={0.5} grow={1}>
          <Stack justifyContent="space-between" alignItems="center">
            <span className={styles.caption}>{t('builder.kql.label', 'KQL')}</span>
            <ClipboardButton size="sm" variant="secondary" fill="text" icon="copy" getText={() => kql} disabled={!kql}>
              {t('builder.kql.copy', 'Copy')}
            </ClipboardButton>
          </Stack>
          <pre
            className={styles.kql}
            aria-label={t('builder.kql.aria-label', 'KQL of the builder')}
            data-testid="builder-kql"
          >
            {kql}
          </pre>
        </Stack>
      </EditorRow>
    </EditorRows>
  );
}

/** lookupIn asks once for the values of each column of a table. */
function lookupIn(datasource: Resources, table: string, from?: number, to?: number): Lookup {
  const known = new Map<string, Promise<string[]>>();
  return (column) => {
    let values = known.get(column);
    if (!values) {
      values = datasource
        .getResource<Array<{ text: string }>>('values', { table, column, from, to })
        .then((list) => list.map((v) => v.text));
      values.catch(() => known.delete(column)); // asked again next time
      known.set(column, values);
    }
    return values;
  };
}

/** current is the state of a query: what is kept, if it is still what the text says. */
function current({ query, builder }: BuilderTarget): Parsed {
  const kept: BuilderQuery = { ...emptyBuilder(), ...builder };
  if (toKql(kept) === (query ?? '')) {
    return { builder: kept };
  }
  return query?.trim() ? parseKql(query) : { builder: emptyBuilder() };
}

interface OrdersProps {
  id: string;
  columns: Column[];
  value: Order[];
  onChange: (value: Order[]) => void;
}

/** Orders edits the order of the rows. */
function Orders({ id, columns, value, onChange }: OrdersProps) {
  const set = (at: number, next: Order) => onChange(value.map((o, i) => (i === at ? next : o)));
  const options = columnOptions(columns).filter(
    (o) => columnType(columns.find((c) => c.name === o.value)?.type) !== 'dynamic'
  );
  return (
    <Stack wrap="wrap" gap={1} alignItems="center">
      {value.map((o, i) => (
        <Stack gap={0.5} wrap="wrap" key={i}>
          <Choice
            id={`${id}-${i}-column`}
            label={t('builder.order.column', 'Column to order by')}
            value={o.column || undefined}
            options={options}
            placeholder={t('builder.order.column-placeholder', 'Column')}
            onChange={(column) => set(i, { ...o, column })}
          />
          <Choice
            id={`${id}-${i}-direction`}
            label={t('builder.order.direction', 'Direction')}
            minWidth={8}
            value={o.desc ? 'desc' : 'asc'}
            options={[
              { value: 'desc', description: t('builder.order.desc', 'greatest first') },
              { value: 'asc', description: t('builder.order.asc', 'least first') },
            ]}
            onChange={(direction) => set(i, { ...o, desc: direction === 'desc' })}
          />
          <AccessoryButton
            variant="secondary"
            icon="times"
            aria-label={t('builder.order.remove', 'Remove order')}
            onClick={() => onChange(value.filter((_, k) => k !== i))}
          />
        </Stack>
      ))}
      <Button
        variant="secondary"
        icon="plus"
        aria-label={t('builder.order.add', 'Add order')}
        onClick={() => onChange([...value, { column: '', desc: true }])}
      />
    </Stack>
  );
}

function errorText(error: unknown): string {
  if (typeof error === 'object' && error !== null) {
    const { data, message } = error as { data?: { error?: { message?: string }; message?: string }; message?: string };
    return data?.error?.message ?? data?.message ?? message ?? String(error);
  }
  return String(error);
}

const getStyles = (theme: GrafanaTheme2) => ({
  kql: css({
    margin: 0,
    padding: theme.spacing(1),
    minHeight: theme.spacing(4),
    overflow: 'auto',
    whiteSpace: 'pre-wrap',
    border: `1px solid ${theme.colors.border.weak}`,
    background: theme.colors.background.primary,
    fontFamily: theme.typography.fontFamilyMonospace,
    fontSize: theme.typography.bodySmall.fontSize,
  }),
  caption: css({ fontSize: theme.typography.bodySmall.fontSize, fontWeight: theme.typography.fontWeightMedium }),
});
