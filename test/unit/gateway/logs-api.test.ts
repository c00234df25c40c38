import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLogsApi, type LogsApi } from '../../../gateway/logs-api/handle.ts';
import { parseFilterPattern } from '../../../gateway/logs-api/filter-pattern.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { MemoryFunctionLogs } from '../../support/memory-function-logs.ts';

const GROUP = '/aws/lambda/hello';

interface Outcome {
  readonly status: number;
  readonly output: {
    readonly __type?: string;
    readonly message?: string;
    readonly events?: readonly { readonly message: string; readonly logStreamName?: string; readonly timestamp: number }[];
    readonly nextToken?: string;
    readonly nextForwardToken?: string;
    readonly nextBackwardToken?: string;
    readonly logStreams?: readonly { readonly logStreamName: string }[];
    readonly logGroups?: readonly { readonly logGroupName: string; readonly arn: string }[];
  };
}

describe('CloudWatch Logs API', () => {
  const setUp = (): { logs: MemoryFunctionLogs; api: LogsApi; call: (operation: string, input?: object | string) => Promise<Outcome> } => {
    const logs = new MemoryFunctionLogs();
    const api = createLogsApi({ functionLogs: logs, account: '000000000000', region: 'eu-west-1', logger: createLogger('silent') });
    const call = async (operation: string, input: object | string = {}): Promise<Outcome> => {
      const { status, headers, body } = await api.handle(operation.includes('.') ? operation : `Logs_20140328.${operation}`, Buffer.from(typeof input === 'string' ? input : JSON.stringify(input)), 'request-1');
      assert.deepEqual(headers, { 'Content-Type': 'application/x-amz-json-1.1', 'x-amzn-RequestId': 'request-1' });
      return { status, output: (body.length === 0 ? {} : JSON.parse(body.toString())) as Outcome['output'] };
    };
    return { logs, api, call };
  };
  const fill = (logs: MemoryFunctionLogs, count: number): void => {
    for (let n = 0; n < count; n += 1) logs.append(GROUP, `stream-${n % 2}`, [{ timestampMs: 1_000 + n, message: `event ${n}${n % 3 === 0 ? ' third thing' : ''}` }]);
  };
  const messages = ({ output }: Outcome): readonly string[] => output.events?.map(({ message }) => message) ?? [];

  it('filters events by time, stream and terms', async () => {
    const { logs, call } = setUp();
    fill(logs, 10);
    const filter = async (input: object): Promise<readonly string[]> => messages(await call('FilterLogEvents', { logGroupName: GROUP, ...input }));
    assert.equal((await filter({})).length, 10);
    assert.deepEqual(await filter({ startTime: 1_003, endTime: 1_004 }), ['event 3 third thing', 'event 4'], 'both ends belong to it');
    assert.deepEqual(await filter({ filterPattern: 'third' }), [0, 3, 6, 9].map((n) => `event ${n} third thing`));
    assert.deepEqual(await filter({ filterPattern: '"third thing" "event 6"' }), ['event 6 third thing']);
    assert.deepEqual(await filter({ filterPattern: 'Third' }), []);
    assert.deepEqual(await filter({ logStreamNamePrefix: 'stream-1', startTime: 1_006 }), ['event 7', 'event 9 third thing']);
    assert.deepEqual(await filter({ logStreamNames: ['stream-0'], startTime: 1_006 }), ['event 6 third thing', 'event 8']);
    assert.deepEqual(await filter({ logGroupName: undefined, logGroupIdentifier: `arn:aws:logs:eu-west-1:000000000000:log-group:${GROUP}`, startTime: 1_009 }), ['event 9 third thing']);
  });

  it('pages through a filter until nothing is left, whatever the page size', async () => {
    const { logs, call } = setUp();
    fill(logs, 250);
    const expected = Array.from({ length: 84 }, (_, n) => `event ${n * 3} third thing`);
    for (const limit of [1, 7, 84, 100, 10_000]) {
      const found: string[] = [];
      let nextToken: string | undefined;
      do {
        const page = await call('FilterLogEvents', { logGroupName: GROUP, filterPattern: 'event thing', limit, ...(nextToken === undefined ? {} : { nextToken }) });
        assert.ok(messages(page).length <= limit);
        found.push(...messages(page));
        nextToken = page.output.nextToken;
      } while (nextToken !== undefined);
      assert.deepEqual(found, expected, `limit ${limit}`);
    }
  });

  it('ends an answer when it grows large', async () => {
    const { logs, call } = setUp();
    for (let n = 0; n < 300; n += 1) logs.append(GROUP, 's', [{ timestampMs: n, message: 'x'.repeat(10_000) }]);
    const page = await call('FilterLogEvents', { logGroupName: GROUP });
    assert.equal(messages(page).length, 200);
    assert.equal(messages(await call('FilterLogEvents', { logGroupName: GROUP, nextToken: page.output.nextToken })).length, 100);
  });

  it('turns the pages of a stream in both directions and stays at its ends', async () => {
    const { logs, call } = setUp();
    fill(logs, 10);
    const get = (input: object): Promise<Outcome> => call('GetLogEvents', { logGroupName: GROUP, logStreamName: 'stream-0', limit: 2, ...input });
    const texts = (outcome: Outcome): readonly string[] => messages(outcome).map((text) => text.slice(0, 7));
    const newest = await get({});
    assert.deepEqual(texts(newest), ['event 6', 'event 8']);
    const older = await get({ nextToken: newest.output.nextBackwardToken });
    assert.deepEqual(texts(older), ['event 2', 'event 4']);
    assert.deepEqual(texts(await get({ nextToken: older.output.nextForwardToken })), ['event 6', 'event 8']);
    const end = await get({ nextToken: newest.output.nextForwardToken });
    assert.deepEqual([texts(end), end.output.nextForwardToken], [[], newest.output.nextForwardToken]);
    logs.append(GROUP, 'stream-0', [{ timestampMs: 2_000, message: 'event after' }]);
    assert.deepEqual(messages(await get({ nextToken: end.output.nextForwardToken })), ['event after']);
    const head = await get({ startFromHead: true, endTime: 1_002 });
    assert.deepEqual(texts(head), ['event 0'], 'the end does not belong to it');
    const before = await get({ nextToken: head.output.nextBackwardToken });
    assert.deepEqual([texts(before), before.output.nextBackwardToken], [[], head.output.nextBackwardToken]);
    const nothing = await get({ startTime: 9_000 });
    assert.deepEqual([texts(nothing), texts(await get({ startTime: 2_000, nextToken: nothing.output.nextForwardToken }))], [[], ['event a']]);
  });

  it('describes groups and streams in pages', async () => {
    const { logs, call } = setUp();
    for (let n = 0; n < 60; n += 1) logs.append(`/aws/lambda/f-${String(n).padStart(2, '0')}`, 's', [{ timestampMs: 1, message: 'x' }]);
    const first = await call('DescribeLogGroups');
    assert.deepEqual([first.output.logGroups?.length, first.output.logGroups?.[0]], [50, { logGroupName: '/aws/lambda/f-00', arn: 'arn:aws:logs:eu-west-1:000000000000:log-group:/aws/lambda/f-00:*', logGroupArn: 'arn:aws:logs:eu-west-1:000000000000:log-group:/aws/lambda/f-00', logGroupClass: 'STANDARD', metricFilterCount: 0 }]);
    const second = await call('DescribeLogGroups', { nextToken: first.output.nextToken });
    assert.deepEqual([second.output.logGroups?.length, second.output.nextToken], [10, undefined]);
    const names = async (input: object): Promise<readonly string[] | undefined> => (await call('DescribeLogGroups', input)).output.logGroups?.map(({ logGroupName }) => logGroupName);
    assert.deepEqual(await names({ logGroupNamePrefix: '/aws/lambda/f-5', limit: 2 }), ['/aws/lambda/f-50', '/aws/lambda/f-51']);
    assert.deepEqual(await names({ logGroupNamePattern: 'LAMBDA/f-59' }), ['/aws/lambda/f-59']);
    fill(logs, 5);
    logs.append(GROUP, 'stream-0', [{ timestampMs: 1, message: 'late comer' }]);
    const streams = async (input: object): Promise<readonly string[] | undefined> => (await call('DescribeLogStreams', { logGroupName: GROUP, ...input })).output.logStreams?.map(({ logStreamName }) => logStreamName);
    assert.deepEqual(await streams({}), ['stream-0', 'stream-1']);
    assert.deepEqual(await streams({ orderBy: 'LastEventTime' }), ['stream-1', 'stream-0']);
    assert.deepEqual(await streams({ orderBy: 'LastEventTime', descending: true, limit: 1 }), ['stream-0']);
    assert.deepEqual(await streams({ logStreamNamePrefix: 'stream-1' }), ['stream-1']);
  });

  it('deletes a group', async () => {
    const { logs, call } = setUp();
    fill(logs, 1);
    assert.equal((await call('DeleteLogGroup', { logGroupName: GROUP })).status, 200);
    assert.deepEqual((await call('DeleteLogGroup', { logGroupName: GROUP })).output.__type, 'ResourceNotFoundException');
  });

  it('says what is wrong with a request as CloudWatch Logs does', async () => {
    const { logs, call } = setUp();
    fill(logs, 2);
    const cases: readonly [string, object | string, string, RegExp][] = [
      ['FilterLogEvents', { logGroupName: '/aws/lambda/none' }, 'ResourceNotFoundException', /^The specified log group does not exist\.$/],
      ['GetLogEvents', { logGroupName: '/aws/lambda/none', logStreamName: 's' }, 'ResourceNotFoundException', /^The specified log group does not exist\.$/],
      ['DescribeLogStreams', { logGroupName: '/aws/lambda/none' }, 'ResourceNotFoundException', /^The specified log group does not exist\.$/],
      ['GetLogEvents', { logGroupName: GROUP, logStreamName: 'stream' }, 'ResourceNotFoundException', /^The specified log stream does not exist\.$/],
      ['FilterLogEvents', { logGroupName: GROUP, logStreamNames: ['none'] }, 'ResourceNotFoundException', /log stream/],
      ['FilterLogEvents', {}, 'InvalidParameterException', /Value null at 'logGroupName' failed to satisfy constraint: Member must not be null/],
      ['FilterLogEvents', { logGroupName: 'no spaces' }, 'InvalidParameterException', /Value 'no spaces' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern/],
      ['FilterLogEvents', { logGroupName: GROUP, logGroupIdentifier: GROUP }, 'InvalidParameterException', /mutually exclusive/],
      ['FilterLogEvents', { logGroupName: GROUP, limit: 10_001 }, 'InvalidParameterException', /Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000/],
      ['FilterLogEvents', { logGroupName: GROUP, startTime: -1 }, 'InvalidParameterException', /greater than or equal to 0/],
      ['FilterLogEvents', { logGroupName: GROUP, nextToken: 'made up' }, 'InvalidParameterException', /nextToken is invalid/],
      ['GetLogEvents', { logGroupName: GROUP, logStreamName: 'stream-0', nextToken: 'made up' }, 'InvalidParameterException', /nextToken is invalid/],
      ['GetLogEvents', { logGroupName: GROUP, logStreamName: 'stream-0', nextToken: 'f/made up' }, 'InvalidParameterException', /nextToken is invalid/],
      ['DescribeLogGroups', { nextToken: '-5' }, 'InvalidParameterException', /nextToken is invalid/],
      ['DescribeLogStreams', { logGroupName: GROUP, orderBy: 'Size' }, 'InvalidParameterException', /enum value set: \[LogStreamName, LastEventTime\]/],
      ['FilterLogEvents', { logGroupName: GROUP, logStreamNames: [] }, 'InvalidParameterException', /length greater than or equal to 1/],
      ['FilterLogEvents', { logGroupName: 5 }, 'SerializationException', /logGroupName/],
      ['FilterLogEvents', { logGroupName: GROUP, limit: '5' }, 'SerializationException', /limit/],
      ['FilterLogEvents', '{"logGroupName":', 'SerializationException', /not JSON/],
      ['FilterLogEvents', '[]', 'SerializationException', /./],
      ['FilterLogEvents', { logGroupName: GROUP, filterPattern: '{ $.a = 1 }' }, 'InvalidParameterException', /JSON patterns/],
      ['constructor', {}, 'UnknownOperationException', /constructor/],
      ['DynamoDB_20120810.GetItem', {}, 'UnknownOperationException', /DynamoDB_20120810\.GetItem/],
    ];
    for (const [operation, input, type, message] of cases) {
      const { status, output } = await call(operation, input);
      assert.deepEqual([status, output.__type], [400, type], `${operation} ${JSON.stringify(input)}: ${output.message}`);
      assert.match(output.message ?? '', message);
    }
    const missing = await call('PutMetricFilter');
    assert.deepEqual([missing.status, missing.output], [501, { __type: 'NotImplementedException', message: 'Sluice does not implement the CloudWatch Logs operation PutMetricFilter.' }]);
  });

  it('never fails on any JSON', async () => {
    const { logs, call } = setUp();
    fill(logs, 3);
    const members = fc.record(
      { logGroupName: fc.oneof(fc.constant(GROUP), fc.jsonValue()), logStreamName: fc.oneof(fc.constant('stream-0'), fc.jsonValue()), nextToken: fc.jsonValue(), limit: fc.jsonValue(), filterPattern: fc.oneof(fc.string(), fc.jsonValue()), startTime: fc.jsonValue(), orderBy: fc.jsonValue() },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('FilterLogEvents', 'GetLogEvents', 'DescribeLogGroups', 'DescribeLogStreams', 'DeleteLogGroup'), fc.oneof(members, fc.jsonValue()), async (operation, input) => {
        const { status } = await call(operation, JSON.stringify(input));
        assert.ok(status === 200 || status === 400, String(status));
      }),
    );
  });
});

describe('filter pattern', () => {
  it('is terms, quoted where they have other characters', () => {
    assert.deepEqual(['', '  ', 'ERROR', ' a  b_1 ', '"two words" x', '"say \\"hi\\""', '""', 'größe'].map(parseFilterPattern), [[], [], ['ERROR'], ['a', 'b_1'], ['two words', 'x'], ['say "hi"'], [], ['größe']]);
  });

  it('refuses by name what it does not read', () => {
    for (const [pattern, message] of [
      ['{ $.level = "error" }', /JSON patterns/],
      ['[a, b]', /space-delimited patterns/],
      ['?ERROR ?WARN', /optional terms/],
      ['ERROR -x', /excluded terms/],
      ['%a.b%', /regular expressions/],
      ['RequestId:', /Invalid character\(s\) in term 'RequestId:'/],
      ['"open', /not closed/],
    ] as const) assert.throws(() => parseFilterPattern(pattern), message);
  });
});
