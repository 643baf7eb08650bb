import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { type DataSourceSettings } from '@grafana/data';
import { type HubscopeOptions, type HubscopeSecureOptions } from '../types';
import { ConfigEditor } from './ConfigEditor';

type Settings = DataSourceSettings<HubscopeOptions, HubscopeSecureOptions>;

function setUp(given: Partial<Settings> = {}) {
  let current = {
    id: 1,
    uid: 'hubscope',
    type: 'hubscope-connections-datasource',
    name: 'hubscope',
    access: 'proxy',
    url: '',
    basicAuth: false,
    basicAuthUser: '',
    jsonData: {},
    secureJsonFields: {},
    readOnly: false,
    withCredentials: false,
    ...given,
  } as Settings;
  function Host() {
    const [options, setOptions] = useState(current);
    return (
      <ConfigEditor
        options={options}
        onOptionsChange={(changed) => {
          current = changed;
          setOptions(changed);
        }}
      />
    );
  }
  render(<Host />);
  return { user: userEvent.setup({ delay: null, pointerEventsCheck: 0 }), settings: () => current };
}

const choose = async (user: ReturnType<typeof userEvent.setup>, method: string) => {
  await user.click(screen.getByRole('combobox', { name: 'Authentication method' }));
  await user.click(await screen.findByText(method));
};

describe('ConfigEditor', () => {
  it('sets address and limits', async () => {
    const { user, settings } = setUp();
    await user.type(screen.getByLabelText('Data source connection URL'), 'http://localhost:7070');
    await user.type(screen.getByLabelText('Timeout'), '45');
    await user.type(screen.getByLabelText('Rows by default'), '500');
    await user.type(screen.getByLabelText('Rows at most'), '2000');
    await user.type(screen.getByLabelText('Cache'), '60');
    await user.type(screen.getByLabelText('Min interval'), '1m');
    expect(settings().url).toBe('http://localhost:7070');
    expect(settings().jsonData).toEqual({
      timeoutSeconds: 45,
      defaultRowLimit: 500,
      maxRowLimit: 2000,
      cacheSeconds: 60,
      timeInterval: '1m',
    });
    await user.clear(screen.getByLabelText('Timeout'));
    expect(settings().jsonData.timeoutSeconds).toBeUndefined();
  });

  it('takes a token, shows none, and forgets it with the method', async () => {
    const { user, settings } = setUp();
    await choose(user, 'Bearer token');
    await user.type(screen.getByLabelText('Token'), 'secret');
    expect(settings().secureJsonData).toEqual({ token: 'secret' });
    expect(settings().basicAuth).toBe(false);
    await choose(user, 'Basic authentication');
    expect(settings().basicAuth).toBe(true);
    expect(settings().secureJsonData).toEqual({});
  });

  it('resets a token that is stored', async () => {
    const { user, settings } = setUp({ secureJsonFields: { token: true } });
    expect(screen.getByLabelText('Token')).toHaveValue('configured');
    await choose(user, 'No Authentication');
    expect(settings()).toMatchObject({ secureJsonFields: { token: false }, secureJsonData: { token: '' } });
  });

  it('forwards identities, with a token for requests that have none', async () => {
    const { user, settings } = setUp();
    await choose(user, 'Forward OAuth Identity');
    expect(settings().jsonData.oauthPassThru).toBe(true);
    expect(screen.queryByLabelText('Token')).not.toBeInTheDocument();
    await user.click(screen.getByLabelText('Use a token for them'));
    await user.type(screen.getByLabelText('Token'), 'x');
    expect(settings().jsonData.oauthPassThruAllowFallback).toBe(true);
    expect(settings().secureJsonData).toEqual({ token: 'x' });
    await choose(user, 'No Authentication');
    expect(settings().jsonData.oauthPassThruAllowFallback).toBeUndefined();
  });

  it('has client certificates and a CA', async () => {
    const { user, settings } = setUp();
    await user.click(screen.getByLabelText('TLS Client Authentication'));
    await user.click(screen.getByLabelText('Add self-signed certificate'));
    expect(settings().jsonData).toMatchObject({ tlsAuth: true, tlsAuthWithCACert: true });
  });
});
