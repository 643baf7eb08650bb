// The official Azure SDKs as clients: run by TestSDK, which serves both APIs at
// PORT with a certificate for "localhost", and signs proofs of possession at
// PROOF_URL.
'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const http = require('node:http');
const https = require('node:https');
const { Client, Registry } = require('azure-iothub');
const { IotHubClient } = require('@azure/arm-iothub');

const port = Number(process.env.PORT);

// The registry SDK has no option for the port: send it to ours.
const createConnection = https.Agent.prototype.createConnection;
https.Agent.prototype.createConnection = function (options, callback) {
  return createConnection.call(this, { ...options, port: options.port === 443 ? port : options.port }, callback);
};

const registry = () => Registry.fromConnectionString(process.env.CONNECTION_STRING);

test('registry: life of a SAS device', async () => {
  const r = registry();
  const created = (await r.create({ deviceId: 'sdk-sas' })).responseBody;
  assert.equal(created.status, 'enabled');
  assert.equal(created.authentication.type, 'sas');
  assert.equal(Buffer.from(created.authentication.symmetricKey.primaryKey, 'base64').length, 32);
  assert.notEqual(created.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.secondaryKey);
  await assert.rejects(r.create({ deviceId: 'sdk-sas' }), (e) => e.name === 'DeviceAlreadyExistsError' && e.response.statusCode === 409);

  const disabled = (await r.update({ deviceId: 'sdk-sas', status: 'disabled', statusReason: 'stolen' })).responseBody;
  assert.equal(disabled.status, 'disabled');
  assert.equal(disabled.statusReason, 'stolen');
  assert.equal(disabled.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.primaryKey);
  assert.notEqual(disabled.etag, created.etag);
  const got = (await r.get('sdk-sas')).responseBody;
  assert.deepEqual({ ...got }, { ...disabled });

  const twin = (await r.getTwin('sdk-sas')).responseBody;
  assert.equal(twin.deviceId, 'sdk-sas');
  assert.equal(twin.status, 'disabled');
  assert.equal(twin.properties.desired.$version, 1);

  await r.delete('sdk-sas');
  await assert.rejects(r.get('sdk-sas'), (e) => e.name === 'DeviceNotFoundError' && e.response.statusCode === 404);
  await assert.rejects(r.delete('sdk-sas'), (e) => e.name === 'DeviceNotFoundError');
});

test('registry: X.509 devices and an odd id', async () => {
  const r = registry();
  const thumbprint = 'a'.repeat(40);
  const self = (await r.create({ deviceId: 'sdk-self', authentication: { x509Thumbprint: { primaryThumbprint: thumbprint } } })).responseBody;
  assert.equal(self.authentication.type, 'selfSigned');
  assert.equal(self.authentication.x509Thumbprint.primaryThumbprint, thumbprint.toUpperCase());
  const signed = (await r.create({ deviceId: 'sdk-ca', authentication: { type: 'certificateAuthority' } })).responseBody;
  assert.equal(signed.authentication.type, 'certificateAuthority');
  const id = "odd-.%_*?!(),:=@$'";
  assert.equal((await r.create({ deviceId: id })).responseBody.deviceId, id);
  assert.equal((await r.get(id)).responseBody.deviceId, id);
  for (const d of ['sdk-self', 'sdk-ca', id]) await r.delete(d);
  await assert.rejects(r.create({ deviceId: 'a b' }), (e) => e.name === 'ArgumentError' && e.response.statusCode === 400);
});

test('registry: bulk, list, query, statistics', async () => {
  const r = registry();
  const ids = Array.from({ length: 25 }, (_, i) => `bulk-${String(i).padStart(2, '0')}`);
  const added = (await r.addDevices(ids.map((deviceId, i) => ({ deviceId, status: i % 5 ? 'enabled' : 'disabled' })))).responseBody;
  assert.equal(added.isSuccessful, true);
  assert.equal((await r.list()).responseBody.length, 25);
  assert.deepEqual((await r.getRegistryStatistics()).responseBody, { totalDeviceCount: 25, enabledDeviceCount: 20, disabledDeviceCount: 5 });

  const query = r.createQuery("SELECT * FROM devices WHERE status = 'enabled'", 7);
  const seen = [];
  let pages = 0;
  while (query.hasMoreResults) {
    const page = await query.nextAsTwin();
    pages++;
    for (const twin of page.result) seen.push(twin.deviceId);
  }
  assert.equal(pages, 3);
  assert.deepEqual(seen, ids.filter((_, i) => i % 5));
  const count = await r.createQuery('SELECT COUNT() AS n FROM devices').next();
  assert.deepEqual(count.result, [{ n: 25 }]);

  const removed = (await r.removeDevices(ids.map((deviceId) => ({ deviceId })), true)).responseBody;
  assert.equal(removed.isSuccessful, true);
  assert.equal((await r.list()).responseBody.length, 0);
});

test('registry: modules', async () => {
  const r = registry();
  await r.create({ deviceId: 'edge' });
  const made = (await r.addModule({ deviceId: 'edge', moduleId: 'valve', managedBy: 'plant' })).responseBody;
  assert.equal(made.moduleId, 'valve');
  assert.equal(made.managedBy, 'plant');
  assert.equal(made.authentication.type, 'sas');
  await assert.rejects(r.addModule({ deviceId: 'edge', moduleId: 'valve' }), (e) => e.response.statusCode === 409);
  await assert.rejects(r.addModule({ deviceId: 'nobody', moduleId: 'valve' }), (e) => e.name === 'DeviceNotFoundError');
  const updated = (await r.updateModule({ ...made, managedBy: 'edge' })).responseBody;
  assert.equal(updated.managedBy, 'edge');
  assert.equal(updated.authentication.symmetricKey.primaryKey, made.authentication.symmetricKey.primaryKey);
  assert.deepEqual({ ...(await r.getModule('edge', 'valve')).responseBody }, { ...updated });
  assert.deepEqual((await r.getModulesOnDevice('edge')).responseBody.map((m) => m.moduleId), ['valve']);
  const twin = (await r.updateModuleTwin('edge', 'valve', { tags: { line: 2 } }, '*')).responseBody;
  assert.equal(twin.moduleId, 'valve');
  assert.deepEqual(twin.tags, { line: 2 });
  await r.removeModule('edge', 'valve');
  await assert.rejects(r.getModule('edge', 'valve'), (e) => e.response.statusCode === 404 && e.response.headers['iothub-errorcode'] === 'ModuleNotFound');
  await r.delete('edge');
});

test('registry: twins', async () => {
  const r = registry();
  await r.create({ deviceId: 'twin-1' });
  const twin = (await r.getTwin('twin-1')).responseBody;
  assert.equal(twin.properties.desired.$version, 1);
  await twin.update({ tags: { site: '7', floor: 2 }, properties: { desired: { interval: 5, mode: { fan: 'on' } } } });
  assert.equal(twin.properties.desired.$version, 2);
  const merged = (await r.updateTwin('twin-1', { tags: { floor: null }, properties: { desired: { mode: { fan: null, heat: 1.5 } } } }, twin.etag)).responseBody;
  assert.deepEqual(merged.tags, { site: '7' });
  assert.deepEqual(merged.properties.desired.mode, { heat: 1.5 });
  assert.match(merged.properties.desired.$metadata.mode.heat.$lastUpdated, /^\d{4}-\d\d-\d\dT/);
  await assert.rejects(r.updateTwin('twin-1', { tags: {} }, twin.etag), (e) => e.response.statusCode === 412);
  const found = await r.createQuery("SELECT * FROM devices WHERE tags.site = '7' AND properties.desired.interval > 4").nextAsTwin();
  assert.deepEqual(found.result.map((t) => t.deviceId), ['twin-1']);
  await assert.rejects(r.updateTwin('nobody', { tags: {} }, '*'), (e) => e.name === 'DeviceNotFoundError');
  await r.delete('twin-1');
});

test('service: direct methods', async () => {
  const r = registry();
  const c = Client.fromConnectionString(process.env.CONNECTION_STRING);
  for (const deviceId of ['online', 'away']) await r.create({ deviceId });
  const { result } = await c.invokeDeviceMethod('online', { methodName: 'reboot', payload: { in: 5 }, responseTimeoutInSeconds: 20 });
  assert.deepEqual(result, { status: 202, payload: { was: { in: 5 } } });
  await assert.rejects(c.invokeDeviceMethod('away', { methodName: 'reboot' }), (e) => e.response.statusCode === 404 && e.response.headers['iothub-errorcode'] === 'DeviceNotOnline');
  await assert.rejects(c.invokeDeviceMethod('nobody', { methodName: 'reboot' }), (e) => e.name === 'DeviceNotFoundError' && e.response.headers['iothub-errorcode'] === 'DeviceNotFound');
  await assert.rejects(c.invokeDeviceMethod('online', { methodName: 'reboot', responseTimeoutInSeconds: 1 }), (e) => e.response.statusCode === 400);
  for (const d of ['online', 'away']) await r.delete(d);
});

test('registry: wrong key', async () => {
  const r = Registry.fromConnectionString(process.env.CONNECTION_STRING.replace(/SharedAccessKey=.*/, `SharedAccessKey=${Buffer.alloc(32).toString('base64')}`));
  await assert.rejects(r.list(), (e) => e.name === 'UnauthorizedError' && e.response.statusCode === 401);
});

const arm = (token = process.env.BEARER) =>
  new IotHubClient({ getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3600e3 }) }, 'subscription', { endpoint: `https://localhost:${port}`, $host: `https://localhost:${port}` });

test('resource manager: hub and minTlsVersion', async () => {
  const c = arm();
  const hub = await c.iotHubResource.beginCreateOrUpdateAndWait('rg', 'plant-7', {
    location: 'westeurope', sku: { name: 'S1', capacity: 1 }, properties: { minTlsVersion: '1.2' },
  });
  assert.equal(hub.properties.minTlsVersion, '1.2');
  assert.equal(hub.properties.provisioningState, 'Succeeded');
  const legacy = await c.iotHubResource.beginCreateOrUpdateAndWait('rg', 'plant-7', { ...hub, properties: { ...hub.properties, minTlsVersion: '1.0' } }, { ifMatch: hub.etag });
  assert.equal(legacy.properties.minTlsVersion, '1.0');
  await assert.rejects(c.iotHubResource.beginCreateOrUpdateAndWait('rg', 'plant-7', hub, { ifMatch: hub.etag }), (e) => e.statusCode === 412);
  const tagged = await c.iotHubResource.beginUpdateAndWait('rg', 'plant-7', { tags: { site: '7' } });
  assert.deepEqual(tagged.tags, { site: '7' });
  assert.equal((await c.iotHubResource.get('rg', 'plant-7')).properties.minTlsVersion, '1.0');
  const names = [];
  for await (const h of c.iotHubResource.listByResourceGroup('rg')) names.push(h.name);
  assert.deepEqual(names, ['demo', 'plant-7']);
  const keys = [];
  for await (const k of c.iotHubResource.listKeys('rg', 'plant-7')) keys.push(k.keyName);
  assert.deepEqual(keys, ['iothubowner', 'service', 'device', 'registryRead', 'registryReadWrite']);
  assert.equal((await c.iotHubResource.getStats('rg', 'plant-7')).totalDeviceCount, 0);
  assert.equal((await c.iotHubResource.checkNameAvailability({ name: 'plant-7' })).nameAvailable, false);
  await assert.rejects(c.iotHubResource.beginCreateOrUpdateAndWait('rg', 'plant-8', { location: 'x', sku: { name: 'S1' }, properties: { minTlsVersion: '1.1' } }),
    (e) => e.statusCode === 400 && e.code === 'ArgumentInvalid' && /minTlsVersion/.test(e.message));
  await c.iotHubResource.beginDeleteAndWait('rg', 'plant-7');
  await assert.rejects(c.iotHubResource.get('rg', 'plant-7'), (e) => e.statusCode === 404 && e.code === 'ResourceNotFound');
  await assert.rejects(arm('wrong').iotHubResource.get('rg', 'demo'), (e) => e.statusCode === 401);
});

const proof = (code) => new Promise((resolve, reject) => {
  http.get(`${process.env.PROOF_URL}?code=${code}`, (response) => {
    let text = '';
    response.on('data', (d) => { text += d; }).on('end', () => resolve(text));
  }).on('error', reject);
});

test('resource manager: certificate with proof of possession', async () => {
  const c = arm();
  const certificate = Buffer.from(process.env.CA_PEM).toString('base64');
  const created = await c.certificates.createOrUpdate('rg', 'demo', 'plant', { properties: { certificate, isVerified: false } });
  assert.equal(created.properties.isVerified, false);
  assert.equal(created.properties.subject, 'Plant root');
  assert.ok(created.properties.expiry instanceof Date && created.properties.expiry > new Date());
  const coded = await c.certificates.generateVerificationCode('rg', 'demo', 'plant', created.etag);
  assert.match(coded.properties.verificationCode, /^[0-9A-F]{48}$/);
  await assert.rejects(c.certificates.verify('rg', 'demo', 'plant', coded.etag, { certificate: await proof('OTHER') }), (e) => e.statusCode === 400);
  await assert.rejects(c.certificates.verify('rg', 'demo', 'plant', created.etag, { certificate: await proof(coded.properties.verificationCode) }), (e) => e.statusCode === 412);
  const verified = await c.certificates.verify('rg', 'demo', 'plant', coded.etag, { certificate: await proof(coded.properties.verificationCode) });
  assert.equal(verified.properties.isVerified, true);
  assert.equal((await c.certificates.listByIotHub('rg', 'demo')).value.length, 1);
  await c.certificates.delete('rg', 'demo', 'plant', verified.etag);
  await assert.rejects(c.certificates.get('rg', 'demo', 'plant'), (e) => e.statusCode === 404);
});
