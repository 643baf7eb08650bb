// The official Azure Monitor Logs client for Node.js against the service at
// argv[2], which must have TLS: the client sends its token nowhere else.
import assert from 'node:assert/strict';
import { LogsQueryClient } from '@azure/monitor-query-logs';

const credential = { getToken: async () => ({ token: 'none', expiresOnTimestamp: Date.now() + 3600e3 }) };
const client = new LogsQueryClient(credential, { endpoint: process.argv[2] + '/v1' });

let r = await client.queryWorkspace('workspace', `print b=true, l=5, r=1.5, d=datetime(2026-11-22T10:00:00.1230000Z), ts=1d+5s, s='x', y=dynamic({"k":[1,null]})
  | render piechart`, { duration: 'P1D' }, { includeQueryStatistics: true, includeVisualization: true, serverTimeoutInSeconds: 30 });
assert.equal(r.status, 'Success');
assert.deepEqual(JSON.parse(JSON.stringify(r.tables[0].rows)), [[true, 5, 1.5, '2026-11-22T10:00:00.123Z', '1.00:00:05', 'x', { k: [1, null] }]]);
assert.equal(r.visualization.visualization, 'piechart');
assert.ok(r.statistics.query.executionTime >= 0);

r = await client.queryWorkspace('workspace', 'print x=1', { startTime: new Date(Date.now() - 3600e3), endTime: new Date() });
assert.equal(r.tables[0].columnDescriptors[0].name, 'x');

r = await client.queryResource('/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h', 'print 2', { duration: 'PT1H' });
assert.equal(r.tables[0].rows[0][0], 2);

const timespan = { duration: 'P1D' };
r = await client.queryBatch([{ workspaceId: 'w', query: 'print 1', timespan }, { workspaceId: 'w', query: 'nowhere', timespan }]);
assert.equal(r[0].status, 'Success');
assert.notEqual(r[1].status, 'Success');

await assert.rejects(client.queryWorkspace('workspace', 'Connections | wher x', { duration: 'P1D' }), e => e.statusCode === 400 && e.code === 'BadArgumentError');
console.log('ok');
