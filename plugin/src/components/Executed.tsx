import { css } from '@emotion/css';
import { useState } from 'react';
import {
  type DataFrame,
  formattedValueToString,
  getValueFormat,
  type GrafanaTheme2,
  type PanelData,
} from '@grafana/data';
import { t, Trans } from '@grafana/i18n';
import { ClipboardButton, Collapse, Stack, useStyles2 } from '@grafana/ui';

interface Custom {
  sql?: string;
  tables?: string[];
  rollup?: string;
  cached?: boolean;
}

interface Props {
  data?: PanelData;
  refId: string;
}

/** Executed shows what was really run: the expanded KQL, the SQL, and what answering took. */
export function Executed({ data, refId }: Props) {
  const styles = useStyles2(getStyles);
  const [open, setOpen] = useState(false);
  const frame = data?.series.find((series) => series.refId === refId && series.meta?.executedQueryString);
  const executed = frame?.meta?.executedQueryString;
  if (!frame || !executed) {
    return null;
  }
  return (
    <Collapse label={t('executed.label', 'What was run')} isOpen={open} onToggle={setOpen}>
      <Stack direction="column" gap={1}>
        <div>{summary(frame)}</div>
        <pre className={styles.text}>{executed}</pre>
        <div>
          <ClipboardButton size="sm" variant="secondary" icon="copy" getText={() => executed}>
            <Trans i18nKey="executed.copy">Copy</Trans>
          </ClipboardButton>
        </div>
      </Stack>
    </Collapse>
  );
}

function summary(frame: DataFrame): string {
  const custom: Custom = frame.meta?.custom ?? {};
  const parts = (frame.meta?.stats ?? []).map(
    ({ displayName, value, unit }) =>
      `${displayName}: ${unit ? formattedValueToString(getValueFormat(unit)(value)) : value.toLocaleString()}`
  );
  if (custom.rollup) {
    parts.push(
      t('executed.rollup', 'answered from {{rollup}}', {
        rollup: custom.rollup,
        interpolation: { escapeValue: false },
      })
    );
  }
  if (custom.cached) {
    parts.push(t('executed.cached', 'from the cache'));
  }
  return parts.join(' · ');
}

const getStyles = (theme: GrafanaTheme2) => ({
  text: css({
    margin: 0,
    maxHeight: 320,
    overflow: 'auto',
    fontSize: theme.typography.bodySmall.fontSize,
  }),
});
