// A device on the official SDK: connects, sends messages, reads its twin, closes.
//
//   node device.cjs CONNECTION_STRING CA.pem MQTT_PORT [CERT.pem KEY.pem] < /dev/null
//
// The SDK connects to port 8883 and nothing else, so tls.connect is led to the
// port of the hub under test. Prints one JSON line with what happened.
'use strict';
const fs = require('fs');
const tls = require('tls');
const [connectionString, ca, port, cert, key] = process.argv.slice(2);

const connect = tls.connect;
tls.connect = function (...args) {
  for (const a of args) {
    if (a && typeof a === 'object' && Number(a.port) === 8883) {
      a.port = Number(port);
      a.host = '127.0.0.1';
    }
  }
  return connect.apply(this, args);
};

const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

async function main() {
  const client = Client.fromConnectionString(connectionString, Mqtt);
  client.setRetryPolicy(new NoRetry());
  const options = { ca: fs.readFileSync(ca, 'utf8') };
  if (cert) {
    options.cert = fs.readFileSync(cert, 'utf8');
    options.key = fs.readFileSync(key, 'utf8');
  }
  await client.setOptions(options);
  await client.open();
  const result = { sent: 0, twin: null };
  for (let i = 0; i < 3; i++) {
    const message = new Message(JSON.stringify({ temperature: 20 + i, humidity: 60 }));
    message.properties.add('temperatureAlert', 'false');
    message.messageId = `m${i}`;
    await client.sendEvent(message);
    result.sent++;
  }
  const twin = await client.getTwin();
  result.twin = twin.properties;
  await client.close();
  console.log(JSON.stringify(result));
}

main().then(
  () => process.exit(0),
  (err) => {
    console.log(JSON.stringify({ error: `${err.name}: ${err.message}` }));
    process.exit(1);
  },
);
