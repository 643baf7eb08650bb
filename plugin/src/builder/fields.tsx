import { css } from '@emotion/css';
import { ReactNode, useState } from 'react';
import { Combobox, ComboboxOption, Input, MultiCombobox, useStyles2 } from '@grafana/ui';

/** Options are the choices of a field; a function is asked when the list opens and with each letter. */
export type Options = Array<ComboboxOption<string>> | ((input: string) => Promise<Array<ComboboxOption<string>>>);

interface HiddenLabelProps {
  htmlFor: string;
  text: string;
  children: ReactNode;
}

/** HiddenLabel names a field for those who do not see where it stands. */
function HiddenLabel({ htmlFor, text, children }: HiddenLabelProps) {
  const styles = useStyles2(getStyles);
  return (
    <div>
      <label htmlFor={htmlFor} className={styles.hidden}>
        {text}
      </label>
      {children}
    </div>
  );
}

interface ChoiceProps {
  id: string;
  /** label is read out; a visible one is the caller's. */
  label?: string;
  value: string | undefined;
  options: Options;
  onChange: (value: string) => void;
  /** custom values may be typed. */
  custom?: boolean;
  invalid?: boolean;
  loading?: boolean;
  placeholder?: string;
  minWidth?: number;
}

/** Choice is a list of which one is chosen. */
export function Choice({ label, value, options, onChange, custom, minWidth = 16, ...props }: ChoiceProps) {
  // A value that is not offered any more is still shown.
  let all =
    Array.isArray(options) && value && !options.some((o) => o.value === value) ? [...options, { value }] : options;
  if (custom && Array.isArray(all)) {
    // Of a list that it knows, Combobox keeps the chosen place highlighted while
    // one types, and Enter does not take what was typed.
    const known = all;
    all = async (input) => known.filter((o) => (o.label ?? o.value).toLowerCase().includes(input.toLowerCase()));
  }
  const field = (
    <Combobox
      {...props}
      width="auto"
      minWidth={minWidth}
      maxWidth={48}
      value={value === undefined ? null : { value, label: labelOf(options, value) }}
      options={all}
      createCustomValue={custom}
      onChange={(option) => onChange(option.value)}
    />
  );
  return label ? (
    <HiddenLabel htmlFor={props.id} text={label}>
      {field}
    </HiddenLabel>
  ) : (
    field
  );
}

interface ChoicesProps extends Omit<ChoiceProps, 'value' | 'onChange'> {
  value: string[];
  onChange: (value: string[]) => void;
}

/** Choices is a list of which any number are chosen. */
export function Choices({ label, value, options, onChange, custom, minWidth = 24, ...props }: ChoicesProps) {
  const field = (
    <MultiCombobox
      {...props}
      width="auto"
      minWidth={minWidth}
      maxWidth={96}
      value={value.map((v) => ({ value: v, label: labelOf(options, v) }))}
      options={options}
      createCustomValue={custom}
      onChange={(list) => onChange(list.map((o) => o.value))}
    />
  );
  return label ? (
    <HiddenLabel htmlFor={props.id} text={label}>
      {field}
    </HiddenLabel>
  ) : (
    field
  );
}

const labelOf = (options: Options, value: string) =>
  (Array.isArray(options) ? options.find((o) => o.value === value)?.label : undefined) ?? value;

interface TextProps {
  id: string;
  label?: string;
  value: string;
  onCommit: (value: string) => void;
  type?: 'text' | 'number';
  placeholder?: string;
  invalid?: boolean;
  width?: number;
}

/** Text is an input whose text counts when it is left or Enter is pressed. */
export function Text({ label, value, onCommit, ...props }: TextProps) {
  const [draft, setDraft] = useState<string>();
  const commit = () => {
    setDraft(undefined);
    if (draft !== undefined && draft !== value) {
      onCommit(draft);
    }
  };
  const field = (
    <Input
      {...props}
      value={draft ?? value}
      onChange={(e) => setDraft(e.currentTarget.value)}
      onBlur={commit}
      onKeyDown={(e) => e.key === 'Enter' && commit()}
    />
  );
  return label ? (
    <HiddenLabel htmlFor={props.id} text={label}>
      {field}
    </HiddenLabel>
  ) : (
    field
  );
}

const getStyles = () => ({
  hidden: css({
    position: 'absolute',
    width: 1,
    height: 1,
    overflow: 'hidden',
    clipPath: 'inset(50%)',
    whiteSpace: 'nowrap',
  }),
});
