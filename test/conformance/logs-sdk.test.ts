import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import {
  CloudWatchLogsClient,
  CloudWatchLogsServiceException,
  DescribeLogStreamsCommand,
  FilterLogEventsCommand,
  GetLogEventsCommand,
  InvalidParameterException,
  PutLogEventsCommand,
  ResourceNotFoundException,
  paginateDescribeLogGroups,
  paginateFilterLogEvents,
} from '@aws-sdk/client-cloudwatch-logs';
import { createLogsApi } from '../../gateway/logs-api/handle.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { MemoryFunctionLogs } from '../support/memory-function-logs.ts';

const logGroupName = '/aws/lambda/hello';
const logStreamName = '2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef';

/** The real SDK against the API alone. */
describe('CloudWatch Logs by the AWS SDK for JavaScript', () => {
  let server: Server;
  let client: CloudWatchLogsClient;
  const logs = new MemoryFunctionLogs();

  before(async () => {
    const api = createLogsApi({ functionLogs: logs, account: '000000000000', region: 'us-east-1', logger: createLogger('silent') });
    server = createServer((request, response) => {
      void buffer(request)
        .then((body) => api.handle(String(request.headers['x-amz-target']), body, 'request-1'))
        .then(({ status, headers, body }) => response.writeHead(status, headers).end(body));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = new CloudWatchLogsClient({ endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' }, maxAttempts: 1 });
    for (let n = 0; n < 5; n += 1) logs.append(logGroupName, logStreamName, [{ timestampMs: 1_000 + n, message: `line ${n} "ä"` }]);
  });
  after(async () => {
    client.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  it('reads events by filter, page by page', async () => {
    const found: string[] = [];
    for await (const page of paginateFilterLogEvents({ client, pageSize: 2 }, { logGroupName, startTime: 1_001, filterPattern: '"ä"' })) {
      for (const { message, eventId, timestamp, ingestionTime } of page.events ?? []) {
        assert.ok(eventId !== undefined && timestamp !== undefined && ingestionTime !== undefined);
        found.push(message ?? '');
      }
    }
    assert.deepEqual(found, [1, 2, 3, 4].map((n) => `line ${n} "ä"`));
  });

  it('reads a stream', async () => {
    const newest = await client.send(new GetLogEventsCommand({ logGroupName, logStreamName, limit: 2 }));
    assert.deepEqual(newest.events?.map(({ timestamp }) => timestamp), [1_003, 1_004]);
    const older = await client.send(new GetLogEventsCommand({ logGroupName, logStreamName, limit: 2, nextToken: newest.nextBackwardToken }));
    assert.deepEqual(older.events?.map(({ timestamp }) => timestamp), [1_001, 1_002]);
  });

  it('describes groups and streams', async () => {
    const groups = [];
    for await (const page of paginateDescribeLogGroups({ client }, { logGroupNamePrefix: '/aws/lambda/' })) groups.push(...(page.logGroups ?? []));
    assert.deepEqual(groups.map((group) => [group.logGroupName, group.arn]), [[logGroupName, `arn:aws:logs:us-east-1:000000000000:log-group:${logGroupName}:*`]]);
    const { logStreams } = await client.send(new DescribeLogStreamsCommand({ logGroupName, orderBy: 'LastEventTime', descending: true }));
    assert.deepEqual(logStreams?.map((stream) => [stream.logStreamName, stream.lastEventTimestamp]), [[logStreamName, 1_004]]);
  });

  it("raises CloudWatch Logs' own errors", async () => {
    await assert.rejects(client.send(new FilterLogEventsCommand({ logGroupName: '/aws/lambda/none' })), (error) => error instanceof ResourceNotFoundException && error.message === 'The specified log group does not exist.');
    await assert.rejects(client.send(new FilterLogEventsCommand({ logGroupName, filterPattern: '[a, b]' })), InvalidParameterException);
    await assert.rejects(client.send(new PutLogEventsCommand({ logGroupName, logStreamName, logEvents: [] })), (error) => error instanceof CloudWatchLogsServiceException && error.name === 'NotImplementedException' && error.$metadata.httpStatusCode === 501);
  });
});
