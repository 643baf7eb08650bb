// Arrow's own reader for JavaScript against the service at argv[2].
import assert from 'node:assert/strict';
import { RecordBatchReader, tableFromIPC, Type } from 'apache-arrow';

const ask = (query, more = {}, headers = {}) => fetch(process.argv[2] + '/api/v1/query', {
  method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify({ query, ...more }),
});

let res = await ask(`datatable(b:bool, i:int, l:long, r:real, d:datetime, ts:timespan, g:guid, s:string, y:dynamic, dec:decimal) [
  true, 5, 9223372036854775807, 1.5, datetime(2026-11-22T10:00:00.1234567Z), 1d, guid(74be27de-1e4e-49d9-b579-fe0b331d3642), 'x"é', dynamic({"k":[1,null]}), decimal(1.5),
  bool(null), int(null), long(null), real(null), datetime(null), timespan(null), guid(null), '', dynamic(null), decimal(null)]`, {}, { Accept: 'application/vnd.apache.arrow.stream' });
assert.equal(res.status, 200);
assert.equal(res.headers.get('content-type'), 'application/vnd.apache.arrow.stream');
let table = tableFromIPC(new Uint8Array(await res.arrayBuffer()));
assert.deepEqual(table.schema.fields.map(f => `${f.name}:${f.metadata.get('kusto.type')}`).join(),
  'b:bool,i:int,l:long,r:real,d:datetime,ts:timespan,g:guid,s:string,y:dynamic,dec:decimal');
const field = name => table.schema.fields.find(f => f.name === name);
assert.equal(String(field('d').type), 'Timestamp<NANOSECOND, UTC>');
assert.equal(field('ts').type.typeId, Type.Duration);
assert.equal(field('g').metadata.get('ARROW:extension:name'), 'arrow.uuid');
assert.equal(field('y').metadata.get('ARROW:extension:name'), 'arrow.json');
assert.equal(field('s').nullable, false);
const cell = (name, row) => table.getChild(name).data[0].values;
assert.equal(table.getChild('b').get(0), true);
assert.equal(table.getChild('i').get(0), 5);
assert.equal(table.getChild('l').get(0), 9223372036854775807n);
assert.equal(table.getChild('r').get(0), 1.5);
assert.equal(cell('d')[0], 1795341600123456700n);
assert.equal(cell('ts')[0], 86400n * 1000000000n);
assert.equal(Buffer.from(table.getChild('g').get(0)).toString('hex'), '74be27de1e4e49d9b579fe0b331d3642');
assert.equal(table.getChild('s').get(0), 'x"é');
assert.deepEqual(JSON.parse(table.getChild('y').get(0)), { k: [1, null] });
assert.equal(table.getChild('dec').get(0), '1.5');
for (const name of ['b', 'i', 'l', 'r', 'd', 'ts', 'g', 'y', 'dec']) assert.equal(table.getChild(name).get(1), null, name);
assert.equal(table.getChild('s').get(1), '');

// In batches as they come, packed.
res = await ask('range x from 1 to 300000 step 1', { format: 'arrow' }, { 'Accept-Encoding': 'gzip' });
assert.equal(res.headers.get('content-encoding'), 'gzip');
let rows = 0, sum = 0n, batches = 0;
for await (const batch of await RecordBatchReader.from(res.body)) {
  batches++;
  rows += batch.numRows;
  for (const x of batch.getChild('x')) sum += x;
}
assert.equal(rows, 300000);
assert.equal(sum, 45000150000n);
assert.ok(batches > 2, `${batches} batches`);

// No rows, and no columns of any kind, are a table too.
table = tableFromIPC(new Uint8Array(await (await ask('print x = 1 | where x > 1', { format: 'arrow' })).arrayBuffer()));
assert.equal(table.numRows, 0);
assert.equal(table.schema.fields.length, 1);

// A value without a place in Arrow is an error that says so.
res = await ask('print d = datetime(0001-01-01)', { format: 'arrow' });
assert.equal(res.status, 400);
assert.match((await res.json()).error.message, /column d has the datetime 0001-01-01.* beyond the nanoseconds of Arrow/);

console.log('ok');
