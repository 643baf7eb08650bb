import { Fragment } from 'react';
import { t } from '@grafana/i18n';
import { AccessoryButton } from '@grafana/plugin-ui';
import { Button, ComboboxOption, InlineLabel, Stack } from '@grafana/ui';
import { Choice, Choices, Options } from './fields';
import { operatorText } from './messages';
import { AUTO_STEP, Column, ColumnType, Condition, OPERATORS, Value, columnType, isValue, toValue } from './model';

/** Lookup finds the commonest values of a column. */
export type Lookup = (column: string) => Promise<string[]>;

interface SharedProps {
  id: string;
  columns: Column[];
  /** variables are the names of the dashboard's variables, with their dollar. */
  variables: string[];
  lookup?: Lookup;
}

interface ConditionsProps extends SharedProps {
  value: Condition[][];
  onChange: (value: Condition[][]) => void;
  addLabel: string;
}

const blank: Condition = { column: '', operator: '==', values: [] };

/** Conditions edits filters: each must hold, of its alternatives any. */
export function Conditions({ id, value, onChange, addLabel, ...shared }: ConditionsProps) {
  const setGroup = (at: number, any: Condition[]) =>
    onChange(any.length ? value.map((g, i) => (i === at ? any : g)) : value.filter((_, i) => i !== at));
  return (
    <Stack direction="column" gap={1} alignItems="flex-start">
      {value.map((any, i) => (
        <Stack key={i} wrap="wrap" gap={1} alignItems="center">
          {i > 0 && <InlineLabel width="auto">{t('builder.filter.and', 'and')}</InlineLabel>}
          {any.map((c, j) => (
            <Fragment key={j}>
              {j > 0 && <InlineLabel width="auto">{t('builder.filter.or', 'or')}</InlineLabel>}
              <ConditionFields
                {...shared}
                id={`${id}-${i}-${j}`}
                value={c}
                onChange={(next) =>
                  setGroup(
                    i,
                    any.map((old, k) => (k === j ? next : old))
                  )
                }
                onRemove={() =>
                  setGroup(
                    i,
                    any.filter((_, k) => k !== j)
                  )
                }
              />
            </Fragment>
          ))}
          <Button
            variant="secondary"
            fill="text"
            tooltip={t('builder.filter.add-or-tooltip', 'Add an alternative')}
            onClick={() => setGroup(i, [...any, { ...blank, column: any[any.length - 1].column }])}
          >
            {t('builder.filter.add-or', 'or…')}
          </Button>
        </Stack>
      ))}
      <Button variant="secondary" icon="plus" aria-label={addLabel} onClick={() => onChange([...value, [blank]])} />
    </Stack>
  );
}

interface ConditionFieldsProps extends SharedProps {
  value: Condition;
  onChange: (value: Condition) => void;
  onRemove?: () => void;
}

/** ConditionFields edits one comparison. */
export function ConditionFields({ id, columns, variables, lookup, value, onChange, onRemove }: ConditionFieldsProps) {
  const type = columnType(columns.find((c) => c.name === value.column)?.type);
  const arity = OPERATORS[value.operator]?.arity;
  const operators = Object.keys(OPERATORS).filter((o) => o === value.operator || OPERATORS[o].types.includes(type));

  const setColumn = (column: string) => {
    const next = columnType(columns.find((c) => c.name === column)?.type);
    const operator = OPERATORS[value.operator]?.types.includes(next)
      ? value.operator
      : next === 'dynamic'
        ? 'has'
        : '==';
    onChange({ column, operator, values: next === type ? fit(operator, value.values) : [] });
  };
  const setValue = (at: number, v: Value) => {
    const values = [...value.values];
    values[at] = v;
    onChange({ ...value, values });
  };
  const options = valueOptions(value.column, type, variables, lookup);
  const field = (at: number, label: string) => {
    const v = value.values[at];
    return (
      <Choice
        key={`value-${at}`}
        id={`${id}-value-${at}`}
        label={label}
        value={v?.text}
        options={options}
        custom
        invalid={v && !isValue(v)}
        placeholder={v?.text === '' ? '""' : placeholder(type)}
        onChange={(text) => setValue(at, toValue(text, type, variables))}
      />
    );
  };

  return (
    <Stack gap={0.5} wrap="wrap">
      <Choice
        id={`${id}-column`}
        label={t('builder.filter.column', 'Column to filter by')}
        value={value.column || undefined}
        options={columnOptions(columns)}
        placeholder={t('builder.filter.column-placeholder', 'Column')}
        onChange={setColumn}
      />
      <Choice
        id={`${id}-operator`}
        label={t('builder.filter.operator', 'Comparison')}
        value={value.operator}
        minWidth={8}
        options={operators.map((o) => ({
          value: o,
          label: o === '$__contains' ? t('builder.operator.variable-label', 'in variable') : o,
          description: operatorText(o),
        }))}
        onChange={(operator) => onChange({ ...value, operator, values: fit(operator, value.values) })}
      />
      {arity === 'one' && field(0, t('builder.filter.value', 'Value'))}
      {arity === 'two' && field(0, t('builder.filter.from', 'From'))}
      {arity === 'two' && field(1, t('builder.filter.to', 'To'))}
      {arity === 'many' && (
        <Choices
          id={`${id}-values`}
          label={t('builder.filter.values', 'Values')}
          value={value.values.map((v) => v.text)}
          options={options}
          custom
          invalid={!value.values.every(isValue)}
          placeholder={placeholder(type)}
          onChange={(list) => onChange({ ...value, values: list.map((text) => toValue(text, type, variables)) })}
        />
      )}
      {arity === 'variable' && (
        <Choice
          id={`${id}-variable`}
          label={t('builder.filter.variable', 'Dashboard variable')}
          value={value.values[0]?.text}
          options={variables.map((name) => ({ value: name }))}
          custom
          invalid={value.values.length > 0 && value.values[0].type !== 'variable'}
          placeholder="$name"
          onChange={(text) => setValue(0, toValue(text, type, variables))}
        />
      )}
      {onRemove && (
        <AccessoryButton
          variant="secondary"
          icon="times"
          aria-label={t('builder.filter.remove', 'Remove filter')}
          onClick={onRemove}
        />
      )}
    </Stack>
  );
}

/** fit keeps those values that another operator has a use for. */
function fit(operator: string, values: Value[]): Value[] {
  switch (OPERATORS[operator]?.arity) {
    case 'one':
      return values.slice(0, 1);
    case 'two':
      return values.slice(0, 2);
    case 'many':
      return values;
    case 'variable':
      return values.filter((v) => v.type === 'variable').slice(0, 1);
    default:
      return [];
  }
}

/** columnOptions offers columns with their type and documentation. */
export function columnOptions(columns: Column[], types?: ColumnType[]): Array<ComboboxOption<string>> {
  return columns
    .filter((c) => !types || types.includes(columnType(c.type)))
    .map((c) => ({ value: c.name, description: [c.type, c.doc].filter(Boolean).join(' – ') }));
}

function placeholder(type: ColumnType): string {
  switch (type) {
    case 'number':
      return '0';
    case 'datetime':
      return 'ago(1h)';
    case 'timespan':
      return '5m';
    case 'guid':
      return '00000000-…';
    default:
      return t('builder.filter.value-placeholder', 'Value');
  }
}

/** valueOptions offers what a column may be compared with. */
function valueOptions(column: string, type: ColumnType, variables: string[], lookup?: Lookup): Options {
  const fixed: Record<string, string[]> = {
    bool: ['true', 'false'],
    datetime: ['ago(1h)', 'ago(1d)', 'ago(7d)', 'now()', '$__timeFrom', '$__timeTo'],
    timespan: ['1s', '1m', '1h', '1d', AUTO_STEP],
  };
  const extra = [...(fixed[type] ?? []), ...variables].map((value) => ({ value }));
  if (!column || !lookup || type !== 'string') {
    return extra;
  }
  return async (input) => {
    const needle = input.toLowerCase();
    const found = await lookup(column).catch(() => []);
    return [...found.filter(Boolean).map((value) => ({ value })), ...extra].filter((o) =>
      o.value.toLowerCase().includes(needle)
    );
  };
}
