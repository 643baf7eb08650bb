// The official Kusto client for Node.js against the service at argv[2].
import assert from 'node:assert/strict';
import { Client, ClientRequestProperties, KustoConnectionStringBuilder } from 'azure-kusto-data';

const client = new Client(new KustoConnectionStringBuilder(process.argv[2]));
const rows = r => r.primaryResults[0].toJSON().data;

let r = await client.execute('hubscope', `print b=true, i=int(5), l=41, r=1.5, d=datetime(2026-11-22T10:00:00.1230000Z), ts=1d+5s,
  g=guid(74be27de-1e4e-49d9-b579-fe0b331d3642), s='x"y', y=dynamic({"k":[1,null]}), nl=long(null), dec=decimal(1.5), e=''`);
assert.deepEqual(JSON.parse(JSON.stringify(rows(r))), [{
  b: true, i: 5, l: 41, r: 1.5, d: '2026-11-22T10:00:00.123Z', ts: 86405000, g: '74be27de-1e4e-49d9-b579-fe0b331d3642',
  s: 'x"y', y: { k: [1, null] }, nl: null, dec: '1.5', e: '',
}]);
assert.equal(r.primaryResults[0].columns.map(c => c.type).join(), 'bool,int,long,real,datetime,timespan,guid,string,dynamic,long,decimal,string');

const props = new ClientRequestProperties();
props.setParameter('s', "it's");
props.setParameter('n', 5);
props.setTimeout(60000);
r = await client.execute('hubscope', 'declare query_parameters(s:string, n:long); print a=s, b=n+1', props);
assert.deepEqual(rows(r), [{ a: "it's", b: 6 }]);

r = await client.executeQueryV1('hubscope', 'range x from 1 to 3 step 1');
assert.deepEqual(rows(r), [{ x: 1 }, { x: 2 }, { x: 3 }]);

r = await client.execute('hubscope', 'range x from 1 to 50000 step 1');
assert.equal(rows(r).length, 50000);

r = await client.execute('hubscope', '.show tables');
assert.equal(rows(r)[0].TableName, 'Connections');

await assert.rejects(client.execute('hubscope', 'Connections | wher x'),
  e => e.response.status === 400 && e.response.data.error['@message'].includes('SYN0001'));

const cut = new ClientRequestProperties();
cut.setOption('truncationmaxrecords', 2);
await assert.rejects(client.execute('hubscope', 'range x from 1 to 3 step 1', cut), /exceeded the allowed limits/);
// Of v1 this client reads the tables only: the last row is the error.
r = await client.executeQueryV1('hubscope', 'range x from 1 to 3 step 1', cut);
assert.match([...r.primaryResults[0].rows()].at(-1).raw.Exceptions[0], /exceeded the allowed limits/);
console.log('ok');
