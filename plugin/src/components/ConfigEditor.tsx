import { type ReactElement, useId } from 'react';
import { type DataSourcePluginOptionsEditorProps, type DataSourceSettings } from '@grafana/data';
import { t } from '@grafana/i18n';
import {
  Auth,
  AuthMethod,
  ConfigSection,
  ConfigSubSection,
  ConnectionSettings,
  convertLegacyAuthProps,
  SecureSocksProxyToggle,
} from '@grafana/plugin-ui';
import { config } from '@grafana/runtime';
import { Divider, InlineField, InlineSwitch, Input, SecretInput, Stack, TagsInput } from '@grafana/ui';
import { type HubscopeOptions, type HubscopeSecureOptions } from '../types';

type Props = DataSourcePluginOptionsEditorProps<HubscopeOptions, HubscopeSecureOptions>;
type Settings = DataSourceSettings<HubscopeOptions, HubscopeSecureOptions>;

/** The service's own way of asking who one is: hubscope token. */
const TOKEN = 'custom-token';
const LABEL_WIDTH = 24;

/** The settings of a data source. */
export function ConfigEditor({ options: given, onOptionsChange }: Props) {
  // A data source without secrets has none of them configured.
  const options = { ...given, secureJsonFields: given.secureJsonFields ?? {} };
  const { jsonData } = options;
  const set = (changed: Partial<HubscopeOptions>) =>
    onOptionsChange({ ...options, jsonData: { ...jsonData, ...changed } });
  const fields = { options, set };

  return (
    <Stack direction="column" gap={2}>
      <ConnectionSettings
        config={options}
        onChange={onOptionsChange}
        urlLabel={t('config.url', 'URL')}
        urlPlaceholder="http://localhost:7070"
        urlTooltip={t(
          'config.url-hint',
          'Where the query service of hubscope listens, as Grafana reaches it: http://localhost:7070'
        )}
      />
      <Divider spacing={1} />
      <Authentication options={options} onOptionsChange={onOptionsChange} />
      <Divider spacing={1} />
      <ConfigSection
        title={t('config.queries', 'Queries')}
        description={t('config.queries-hint', 'Limits of what one query may take, and what is kept of results.')}
        isCollapsible
        isInitiallyOpen
      >
        <NumberField
          {...fields}
          name="timeoutSeconds"
          label={t('config.timeout', 'Timeout')}
          hint={t('config.timeout-hint', 'Seconds after which a query is stopped, in the engine too.')}
          placeholder="30"
          min={1}
        />
        <NumberField
          {...fields}
          name="defaultRowLimit"
          label={t('config.default-rows', 'Rows by default')}
          hint={t('config.default-rows-hint', 'Of queries that set no limit themselves.')}
          placeholder="10000"
          min={1}
        />
        <NumberField
          {...fields}
          name="maxRowLimit"
          label={t('config.max-rows', 'Rows at most')}
          hint={t('config.max-rows-hint', 'No query gets more, whatever it sets. What is cut is said in a notice.')}
          placeholder="100000"
          min={1}
        />
        <NumberField
          {...fields}
          name="cacheSeconds"
          label={t('config.cache', 'Cache')}
          hint={t(
            'config.cache-hint',
            'Seconds for which results are kept. 0: as long as the bins of a query allow. -1: not at all.'
          )}
          placeholder="0"
          min={-1}
        />
        <Row
          id="time-interval"
          label={t('config.interval', 'Min interval')}
          readOnly={options.readOnly}
          hint={t(
            'config.interval-hint',
            'The narrowest bin of $__timeInterval, such as 1m: not below how often events come.'
          )}
        >
          {(id) => (
            <Input
              id={id}
              width={20}
              placeholder="1s"
              value={jsonData.timeInterval ?? ''}
              onChange={(event) => set({ timeInterval: event.currentTarget.value || undefined })}
            />
          )}
        </Row>
      </ConfigSection>
      <Divider spacing={1} />
      <ConfigSection title={t('config.more', 'More')} isCollapsible isInitiallyOpen={false}>
        <ConfigSubSection title={t('config.links', 'Links')}>
          <Row
            id="tls-device"
            label={t('config.device-dashboard', 'Device dashboard')}
            readOnly={options.readOnly}
            hint={t('config.device-dashboard-hint', 'UID of the dashboard that device names link to.')}
          >
            {(id) => (
              <Input
                id={id}
                width={40}
                placeholder="tls-device"
                value={jsonData.tlsDeviceDashboardUid ?? ''}
                onChange={(event) => set({ tlsDeviceDashboardUid: event.currentTarget.value || undefined })}
              />
            )}
          </Row>
        </ConfigSubSection>
        <ConfigSubSection title={t('config.http', 'HTTP')}>
          <Row
            id="cookies"
            label={t('config.cookies', 'Allowed cookies')}
            readOnly={options.readOnly}
            hint={t(
              'config.cookies-hint',
              'Names of cookies that are passed on to the query service. All others are dropped.'
            )}
          >
            {(id) => (
              <TagsInput
                id={id}
                width={40}
                disabled={options.readOnly}
                placeholder={t('config.cookies-placeholder', 'New cookie (hit enter to add)')}
                tags={jsonData.keepCookies}
                onChange={(keepCookies) => set({ keepCookies })}
              />
            )}
          </Row>
          {config.secureSocksDSProxyEnabled && (
            <SecureSocksProxyToggle labelWidth={LABEL_WIDTH} dataSourceConfig={options} onChange={onOptionsChange} />
          )}
        </ConfigSubSection>
      </ConfigSection>
    </Stack>
  );
}

/** Authentication has Grafana's methods and the service's tokens. */
function Authentication({ options, onOptionsChange }: Props) {
  const props = convertLegacyAuthProps({ config: options, onChange: onOptionsChange });
  const { jsonData } = options;
  const hasToken = Boolean(options.secureJsonFields?.token) || options.secureJsonData?.token !== undefined;
  // Settings that were never made are no: an input is controlled or it is not.
  const TLS = props.TLS && {
    ...props.TLS,
    TLSClientAuth: {
      ...props.TLS.TLSClientAuth,
      enabled: Boolean(jsonData.tlsAuth),
      serverName: jsonData.serverName ?? '',
    },
    skipTLSVerification: { ...props.TLS.skipTLSVerification, enabled: Boolean(jsonData.tlsSkipVerify) },
  };
  const forwards = props.selectedMethod === AuthMethod.OAuthForward;
  const selected = props.selectedMethod === AuthMethod.NoAuth && hasToken ? TOKEN : props.selectedMethod;

  const select = (method: AuthMethod | `custom-${string}`) => {
    // A token that is not asked for any more is forgotten, but a forwarded identity may fall back to it.
    const keeps = method === TOKEN || method === AuthMethod.OAuthForward;
    const { token: _token, ...others } = options.secureJsonData ?? {};
    onOptionsChange({
      ...options,
      basicAuth: method === AuthMethod.BasicAuth,
      withCredentials: false,
      jsonData: {
        ...jsonData,
        oauthPassThru: method === AuthMethod.OAuthForward,
        ...(method !== AuthMethod.OAuthForward && { oauthPassThruAllowFallback: undefined }),
      },
      secureJsonData: keeps
        ? { ...options.secureJsonData, ...(method === TOKEN && !hasToken && { token: '' }) }
        : { ...others, ...(hasToken && options.secureJsonFields?.token && { token: '' }) },
      ...(!keeps && { secureJsonFields: { ...options.secureJsonFields, token: false } }),
    });
  };

  const token = <TokenField options={options} onOptionsChange={onOptionsChange} />;
  return (
    <Stack direction="column" gap={2}>
      <Auth
        {...props}
        TLS={TLS}
        selectedMethod={selected}
        visibleMethods={[AuthMethod.NoAuth, TOKEN, AuthMethod.BasicAuth, AuthMethod.OAuthForward]}
        customMethods={[
          {
            id: TOKEN,
            label: t('config.token', 'Bearer token'),
            description: t('config.token-description', 'A token that the query service knows: made by hubscope token'),
            component: token,
          },
        ]}
        onAuthMethodSelect={select}
      />
      {forwards && (
        <ConfigSubSection
          title={t('config.fallback', 'Requests without a user')}
          description={t(
            'config.fallback-hint',
            'Alert rules and live tails have no user whose identity could be forwarded. They are refused, unless they may use a token.'
          )}
        >
          <Row id="fallback" label={t('config.fallback-allow', 'Use a token for them')} readOnly={options.readOnly}>
            {(id) => (
              <InlineSwitch
                id={id}
                value={Boolean(jsonData.oauthPassThruAllowFallback)}
                disabled={options.readOnly}
                onChange={(event) =>
                  onOptionsChange({
                    ...options,
                    jsonData: { ...jsonData, oauthPassThruAllowFallback: event.currentTarget.checked },
                  })
                }
              />
            )}
          </Row>
          {jsonData.oauthPassThruAllowFallback && token}
        </ConfigSubSection>
      )}
    </Stack>
  );
}

function TokenField({ options, onOptionsChange }: Props) {
  const setToken = (token: string, configured = options.secureJsonFields?.token ?? false) =>
    onOptionsChange({
      ...options,
      secureJsonData: { ...options.secureJsonData, token },
      secureJsonFields: { ...options.secureJsonFields, token: configured },
    });
  return (
    <Row
      id="token"
      label={t('config.token-label', 'Token')}
      readOnly={options.readOnly}
      hint={t('config.token-hint', 'Kept encrypted by Grafana, and never sent to browsers.')}
    >
      {(id) => (
        <SecretInput
          id={id}
          width={28}
          isConfigured={Boolean(options.secureJsonFields?.token)}
          value={options.secureJsonData?.token ?? ''}
          onChange={(event) => setToken(event.currentTarget.value)}
          onReset={() => setToken('', false)}
        />
      )}
    </Row>
  );
}

interface RowProps {
  id: string;
  label: string;
  hint?: string;
  readOnly?: boolean;
  children: (id: string) => ReactElement;
}

function Row({ id: name, label, hint, readOnly, children }: RowProps) {
  const id = `${useId()}-${name}`;
  return (
    <InlineField label={label} labelWidth={LABEL_WIDTH} tooltip={hint} htmlFor={id} disabled={readOnly} interactive>
      {children(id)}
    </InlineField>
  );
}

type NumberName = 'timeoutSeconds' | 'defaultRowLimit' | 'maxRowLimit' | 'cacheSeconds';

interface NumberFieldProps {
  options: Settings;
  set: (changed: Partial<HubscopeOptions>) => void;
  name: NumberName;
  label: string;
  hint: string;
  placeholder: string;
  min: number;
}

function NumberField({ options, set, name, label, hint, placeholder, min }: NumberFieldProps) {
  return (
    <Row id={name} label={label} hint={hint} readOnly={options.readOnly}>
      {(id) => (
        <Input
          id={id}
          type="number"
          step={1}
          min={min}
          width={20}
          placeholder={placeholder}
          value={options.jsonData[name] ?? ''}
          onChange={(event) => {
            const number = event.currentTarget.valueAsNumber;
            set({ [name]: Number.isFinite(number) ? Math.trunc(number) : undefined });
          }}
        />
      )}
    </Row>
  );
}
