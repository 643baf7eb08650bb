import { css } from '@emotion/css';
import { type GrafanaTheme2, type QueryEditorHelpProps } from '@grafana/data';
import { t, Trans } from '@grafana/i18n';
import { useStyles2 } from '@grafana/ui';
import { type HubscopeQuery, type QueryFormat, SCHEMA_VERSION } from '../types';

interface Example {
  title: string;
  query: string;
  format: QueryFormat;
}

/** Examples answer what one first asks of connections; dashboards/ has more. */
const examples = (): Example[] => [
  {
    title: t('help.example-versions', 'Devices by TLS version over time'),
    format: 'time_series',
    query: `Connections
| where $__timeFilter() and OperationName == "deviceConnect"
| summarize Devices = dcount(DeviceId) by bin(TimeGenerated, $__timeInterval), TlsVersion`,
  },
  {
    title: t('help.example-enforce', 'Who would be refused with TLS 1.2 and the recommended suites enforced, and why'),
    format: 'table',
    query: `Devices
| where WouldFailStrict
| summarize Devices = count(), LastSeen = max(LastSeen), Examples = make_list(DeviceId, 3) by StrictReason
| order by Devices desc`,
  },
  {
    title: t('help.example-refused', 'Refused connections, as logs'),
    format: 'logs',
    query: `Connections
| where $__timeFilter() and OperationName == "connectionRefused"`,
  },
  {
    title: t('help.example-suites', 'Cipher suites in use, with the dashboard’s filters'),
    format: 'table',
    query: `Connections
| where $__timeFilter() and $__adhocFilters
| summarize Devices = dcount(DeviceId), Connections = count() by TlsCipher
| order by Devices desc`,
  },
  {
    title: t('help.example-share', 'Legacy devices of each hub, as an alert rule asks'),
    format: 'table',
    query: `Connections
| where $__timeFilter() and TlsVersion in ("1.0", "1.1")
| summarize Devices = dcount(DeviceId) by Hub`,
  },
  {
    title: t('help.example-certificates', 'Client certificates that end within 30 days'),
    format: 'table',
    query: `Devices
| where isnotnull(CertNotAfter) and CertNotAfter < now() + 30d
| project DeviceId, Hub, CertNotAfter, CaName, CertIssuer
| order by CertNotAfter asc`,
  },
];

/** Macros in the order in which one meets them; the backend (plugin/pkg/ds/macros.go) expands them. */
const macros = (): Array<[string, string]> => [
  [
    '$__timeFilter(), $__timeFilter(Column)',
    t('help.time-filter', 'The column, else TimeGenerated, is within the dashboard’s range.'),
  ],
  ['$__timeFrom, $__timeTo', t('help.time-from', 'The ends of the range, as datetime.')],
  [
    '$__timeInterval, $__interval',
    t('help.time-interval', 'A bin that suits the range and the width of the panel, as timespan.'),
  ],
  ['$__interval_ms', t('help.interval-ms', 'The same in milliseconds.')],
  [
    '$__range, $__range_s, $__range_ms',
    t('help.range', 'The length of the range, as timespan, in seconds, in milliseconds.'),
  ],
  ['$__from, $__to', t('help.from', 'The ends of the range in milliseconds since 1970.')],
  ['$__contains(Column, $variable)', t('help.contains', 'The column is one of the chosen values; true with All.')],
  [
    '$__escapeMulti($variable)',
    t('help.escape-multi', 'The chosen values as literals with commas between, for in (...).'),
  ],
  ['$__adhocFilters', t('help.adhoc', 'The dashboard’s filters. Without it they apply to the first table’s rows.')],
];

const variables = (): Array<[string, string]> => [
  [
    '$name, ${name}, [[name]]',
    t('help.variable', 'The value as a string literal; several with commas between. Within a string literal its text.'),
  ],
  [
    '${name:long}',
    t('help.variable-typed', 'A literal of that type: long, int, real, bool, datetime, timespan, guid.'),
  ],
  ['${name:column}', t('help.variable-column', 'The name of a column.')],
  ['matches regex "${name:regex}"', t('help.variable-regex', 'Within a string literal: any of the values, escaped.')],
];

/** The cheat sheet beside the editor. Examples can be clicked. */
export function QueryEditorHelp({ query, onClickExample }: QueryEditorHelpProps<HubscopeQuery>) {
  const styles = useStyles2(getStyles);
  const choose = (example: Example) =>
    onClickExample({
      ...query,
      refId: query?.refId ?? 'A',
      schemaVersion: SCHEMA_VERSION,
      editorMode: 'code',
      format: example.format,
      query: example.query,
    });
  return (
    <div>
      <h2>
        <Trans i18nKey="help.title">KQL over connections</Trans>
      </h2>
      <p>
        <Trans i18nKey="help.intro">
          Queries are in KQL, the language of Azure Data Explorer and Azure Monitor. The tables and their columns are
          offered while you type. A query is limited to the dashboard’s time range even where it does not say so.
        </Trans>
      </p>
      <h3>
        <Trans i18nKey="help.examples">Examples</Trans>
      </h3>
      {examples().map((example) => (
        <button key={example.title} type="button" className={styles.example} onClick={() => choose(example)}>
          <span>{example.title}</span>
          <pre className={styles.text}>{example.query}</pre>
        </button>
      ))}
      <h3>
        <Trans i18nKey="help.macros">Macros</Trans>
      </h3>
      <Definitions rows={macros()} />
      <h3>
        <Trans i18nKey="help.variables">Dashboard variables</Trans>
      </h3>
      <Definitions rows={variables()} />
    </div>
  );
}

function Definitions({ rows }: { rows: Array<[string, string]> }) {
  const styles = useStyles2(getStyles);
  return (
    <dl className={styles.definitions}>
      {rows.map(([word, meaning]) => (
        <div key={word}>
          <dt>
            <code>{word}</code>
          </dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  example: css({
    display: 'block',
    width: '100%',
    marginBottom: theme.spacing(1),
    padding: theme.spacing(1),
    textAlign: 'left',
    color: theme.colors.text.primary,
    background: theme.colors.background.secondary,
    border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default,
    '&:hover': { background: theme.colors.action.hover },
    '&:focus-visible': { outline: `2px solid ${theme.colors.primary.main}`, outlineOffset: 2 },
  }),
  text: css({ margin: theme.spacing(0.5, 0, 0), padding: 0, border: 'none', background: 'none' }),
  definitions: css({ '& > div': { marginBottom: theme.spacing(1) }, '& dd': { marginLeft: theme.spacing(2) } }),
});
