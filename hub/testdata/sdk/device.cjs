// A device on the official SDK, over one of its transports: it connects, sends
// two messages, reads its twin where the transport can, and closes. With
// BACKEND=1 it does what the back end wants instead: it answers the direct method
// "reboot", reports what it is desired to be, and closes when desired to stop.
//
//   CONNECTION_STRING=... TRANSPORT=mqtt|mqttws|http PORTS='{"8883":1,"443":2}'
//   [CERT=file KEY=file] node device.cjs
//
// The SDK's ports are fixed, so tls.connect is led to those of the hub under
// test. Prints one JSON line with what happened.
'use strict';
const fs = require('fs');
const tls = require('tls');
const env = process.env;
const ports = JSON.parse(env.PORTS);

const connect = tls.connect;
tls.connect = function (...args) {
  for (const a of args) {
    if (a && typeof a === 'object' && ports[a.port]) {
      a.servername = a.servername || a.host;
      a.port = ports[a.port];
      a.host = '127.0.0.1';
    }
  }
  return connect.apply(this, args);
};

const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');

async function main() {
  const http = env.TRANSPORT === 'http';
  const client = Client.fromConnectionString(env.CONNECTION_STRING, { mqtt: Mqtt, mqttws: MqttWs, http: Http }[env.TRANSPORT]);
  client.setRetryPolicy(new NoRetry());
  const options = { ca: fs.readFileSync(env.NODE_EXTRA_CA_CERTS, 'utf8') };
  if (env.CERT) {
    options.cert = fs.readFileSync(env.CERT, 'utf8');
    options.key = fs.readFileSync(env.KEY, 'utf8');
  }
  const set = client.setOptions(options);
  if (!http) {
    await set; // over HTTP the SDK never completes it
  }
  await client.open();
  if (env.BACKEND) {
    return backend(client);
  }
  const result = { sent: 0, twin: null };
  for (let i = 0; i < 2; i++) {
    const message = new Message(JSON.stringify({ temperature: 20 + i }));
    message.properties.add('temperatureAlert', 'false');
    message.messageId = `m${i}`;
    await client.sendEvent(message);
    result.sent++;
  }
  if (http) {
    await client.sendEventBatch([new Message('first'), new Message('second')]);
    result.sent += 2;
  } else {
    result.twin = (await client.getTwin()).properties.reported.$version;
  }
  await client.close();
  console.log(JSON.stringify(result));
}

async function backend(client) {
  client.onDeviceMethod('reboot', (request, response) => {
    response.send(202, { was: request.payload }, () => {});
  });
  const twin = await client.getTwin();
  const seen = [];
  await new Promise((resolve, reject) => {
    twin.on('properties.desired', (desired) => {
      seen.push(desired.$version);
      twin.properties.reported.update({ interval: desired.interval, stop: null }, (err) => {
        if (err) reject(err);
        if (desired.stop) resolve();
      });
    });
  });
  await client.close();
  console.log(JSON.stringify({ seen }));
}

main().then(
  () => process.exit(0),
  (err) => {
    console.log(JSON.stringify({ error: err.name, message: err.message }));
    process.exit(1);
  },
);
