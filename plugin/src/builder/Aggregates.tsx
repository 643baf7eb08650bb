import { t } from '@grafana/i18n';
import { AccessoryButton } from '@grafana/plugin-ui';
import { Button, Stack } from '@grafana/ui';
import { ConditionFields, Lookup, columnOptions } from './Conditions';
import { Choice, Choices, Text } from './fields';
import { aggregateText } from './messages';
import { AGGREGATES, AUTO_STEP, Aggregate, Column, Group, columnType, isStep, outputName } from './model';

interface AggregatesProps {
  id: string;
  columns: Column[];
  variables: string[];
  lookup?: Lookup;
  value: Aggregate[];
  onChange: (value: Aggregate[]) => void;
}

/** Aggregates edits what summarize computes. */
export function Aggregates({ id, columns, variables, lookup, value, onChange }: AggregatesProps) {
  const set = (at: number, next: Aggregate) => onChange(value.map((a, i) => (i === at ? next : a)));
  return (
    <Stack direction="column" gap={1} alignItems="flex-start">
      {value.map((a, i) => {
        const info = AGGREGATES[a.function];
        return (
          <Stack key={i} wrap="wrap" gap={1}>
            <Stack gap={0.5} wrap="wrap">
              <Choice
                id={`${id}-${i}-function`}
                label={t('builder.aggregate.function', 'Aggregate function')}
                value={a.function}
                minWidth={12}
                options={Object.keys(AGGREGATES).map((name) => ({ value: name, description: aggregateText(name) }))}
                onChange={(name) => set(i, withFunction(a, name, columns))}
              />
              {info && info.needs !== 'nothing' && info.needs !== 'condition' && (
                <Choice
                  id={`${id}-${i}-column`}
                  label={t('builder.aggregate.column', 'Column to aggregate')}
                  value={a.column}
                  options={columnOptions(columns, info.types)}
                  placeholder={t('builder.aggregate.column-placeholder', 'Column')}
                  onChange={(column) => set(i, { ...a, column })}
                />
              )}
              {info?.needs === 'percentile' && (
                <Text
                  id={`${id}-${i}-parameter`}
                  label={t('builder.aggregate.percent', 'Percent')}
                  type="number"
                  width={10}
                  value={a.parameter === undefined ? '' : String(a.parameter)}
                  invalid={a.parameter === undefined || a.parameter < 0 || a.parameter > 100}
                  onCommit={(text) => set(i, { ...a, parameter: text.trim() === '' ? undefined : Number(text) })}
                />
              )}
              {info?.needs === 'returning' && (
                <Choices
                  id={`${id}-${i}-returning`}
                  label={t('builder.aggregate.returning', 'Columns to return')}
                  value={a.returning ?? []}
                  options={columnOptions(columns)}
                  placeholder={t('builder.aggregate.all-columns', 'All columns')}
                  onChange={(returning) => set(i, { ...a, returning })}
                />
              )}
              {info?.needs === 'condition' && (
                <ConditionFields
                  id={`${id}-${i}-condition`}
                  columns={columns}
                  variables={variables}
                  lookup={lookup}
                  value={a.condition ?? { column: '', operator: '==', values: [] }}
                  onChange={(condition) => set(i, { ...a, condition })}
                />
              )}
              {info?.needs !== 'returning' && (
                <Text
                  id={`${id}-${i}-alias`}
                  label={t('builder.aggregate.alias', 'Name of the result')}
                  width={16}
                  value={a.alias ?? ''}
                  placeholder={outputName({ ...a, alias: undefined }).replace(/undefined/g, '…')}
                  onCommit={(alias) => set(i, { ...a, alias: alias.trim() || undefined })}
                />
              )}
              <AccessoryButton
                variant="secondary"
                icon="times"
                aria-label={t('builder.aggregate.remove', 'Remove aggregate')}
                onClick={() => onChange(value.filter((_, k) => k !== i))}
              />
            </Stack>
          </Stack>
        );
      })}
      <Button
        variant="secondary"
        icon="plus"
        aria-label={t('builder.aggregate.add', 'Add aggregate')}
        onClick={() => onChange([...value, { function: 'count' }])}
      />
    </Stack>
  );
}

/** withFunction keeps of an aggregate what another function has a use for. */
function withFunction(a: Aggregate, name: string, columns: Column[]): Aggregate {
  const info = AGGREGATES[name];
  const type = columnType(columns.find((c) => c.name === a.column)?.type);
  return {
    function: name,
    column: !info.types || info.types.includes(type) ? a.column : undefined,
    parameter: info.needs === 'percentile' ? (a.parameter ?? 95) : undefined,
    condition: info.needs === 'condition' ? a.condition : undefined,
    returning: info.needs === 'returning' ? (a.returning ?? []) : undefined,
    alias: info.needs === 'returning' ? undefined : a.alias,
  };
}

interface GroupsProps {
  id: string;
  columns: Column[];
  value: Group[];
  onChange: (value: Group[]) => void;
}

/** Groups edits what summarize groups by. */
export function Groups({ id, columns, value, onChange }: GroupsProps) {
  const set = (at: number, next: Group) => onChange(value.map((g, i) => (i === at ? next : g)));
  const typeOf = (name: string) => columnType(columns.find((c) => c.name === name)?.type);
  return (
    <Stack wrap="wrap" gap={1} alignItems="center">
      {value.map((g, i) => {
        const type = typeOf(g.column);
        return (
          <Stack gap={0.5} wrap="wrap" key={i}>
            <Choice
              id={`${id}-${i}-column`}
              label={t('builder.group.column', 'Column to group by')}
              value={g.column || undefined}
              options={columnOptions(columns)}
              placeholder={t('builder.group.column-placeholder', 'Column')}
              onChange={(column) => set(i, { column, ...(typeOf(column) === 'datetime' && { step: AUTO_STEP }) })}
            />
            {(g.step || type === 'datetime' || type === 'timespan' || type === 'number') && (
              <Choice
                id={`${id}-${i}-step`}
                label={t('builder.group.step', 'Width of the bins')}
                value={g.step ?? ''}
                minWidth={12}
                custom
                invalid={!!g.step && !isStep(g.step)}
                options={steps(type)}
                onChange={(step) => set(i, { column: g.column, ...(step && { step }) })}
              />
            )}
            <AccessoryButton
              variant="secondary"
              icon="times"
              aria-label={t('builder.group.remove', 'Remove group')}
              onClick={() => onChange(value.filter((_, k) => k !== i))}
            />
          </Stack>
        );
      })}
      <Button
        variant="secondary"
        icon="plus"
        aria-label={t('builder.group.add', 'Add group')}
        onClick={() => onChange([...value, { column: '' }])}
      />
    </Stack>
  );
}

function steps(type: string) {
  const none = { value: '', label: t('builder.group.each', 'each value') };
  if (type === 'number') {
    return [none, ...['10', '100', '1000'].map((value) => ({ value }))];
  }
  const auto = {
    value: AUTO_STEP,
    label: t('builder.group.auto', 'automatic'),
    description: t('builder.group.auto-description', 'follows the dashboard’s range and width'),
  };
  return [auto, none, ...['1m', '5m', '15m', '1h', '6h', '1d', '7d'].map((value) => ({ value }))];
}
