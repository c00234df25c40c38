import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { InvalidCursorError, NoSuchLogGroupError, type FunctionLogs, type StoredLogEvent } from '../../platform/function-logs/function-logs.ts';

const GROUP = '/aws/lambda/thing';

/** What every driver of the FunctionLogs port promises. `open` gives an empty one that goes with the test. */
export function functionLogsContract(name: string, open: (context: TestContext) => Promise<FunctionLogs>): void {
  const events = (...messages: string[]): { timestampMs: number; message: string }[] => messages.map((message, i) => ({ timestampMs: 1_000 + i, message }));
  const messages = (page: { readonly events: readonly StoredLogEvent[] }): string[] => page.events.map(({ message }) => message);

  test(`${name}: what was appended can be read, with its stream, time and an id that grows`, async (context) => {
    const logs = await open(context);
    logs.append(GROUP, 'a', events('one', 'zwei\nZeilen', 'trois é "\\ \u2028'));
    const { events: stored, cursor } = await logs.filter({ group: GROUP, limit: 100 });
    assert.deepEqual(stored.map(({ message, stream, timestampMs }) => ({ message, stream, timestampMs })), [
      { message: 'one', stream: 'a', timestampMs: 1_000 },
      { message: 'zwei\nZeilen', stream: 'a', timestampMs: 1_001 },
      { message: 'trois é "\\ \u2028', stream: 'a', timestampMs: 1_002 },
    ]);
    assert.equal(cursor, undefined);
    const ids = stored.map(({ id }) => id);
    assert.deepEqual([...new Set(ids)].sort(), ids);
    assert.ok(stored.every(({ ingestedMs }) => ingestedMs > 0));
  });

  test(`${name}: events of several streams come in order of time`, async (context) => {
    const logs = await open(context);
    logs.append(GROUP, 'a', [{ timestampMs: 5, message: 'third' }]);
    logs.append(GROUP, 'b', [{ timestampMs: 3, message: 'first' }, { timestampMs: 4, message: 'second' }]);
    assert.deepEqual(messages(await logs.filter({ group: GROUP, limit: 10 })), ['first', 'second', 'third']);
    assert.deepEqual(messages(await logs.filter({ group: GROUP, limit: 10, order: 'newestFirst' })), ['third', 'second', 'first']);
  });

  test(`${name}: a query narrows by time (end exclusive), text, stream prefix and streams`, async (context) => {
    const logs = await open(context);
    logs.append(GROUP, 'one/a', events('alpha', 'beta'));
    logs.append(GROUP, 'two/b', events('gamma'));
    const ask = async (query: object): Promise<string[]> => messages(await logs.filter({ group: GROUP, limit: 10, ...query })).sort();
    assert.deepEqual(await ask({ startMs: 1_001 }), ['beta']);
    assert.deepEqual(await ask({ endMs: 1_001 }), ['alpha', 'gamma']);
    assert.deepEqual(await ask({ contains: 'et' }), ['beta']);
    assert.deepEqual(await ask({ streamPrefix: 'two' }), ['gamma']);
    assert.deepEqual(await ask({ streams: ['one/a'] }), ['alpha', 'beta']);
    assert.deepEqual(await ask({ streams: ['one'] }), []);
  });

  for (const order of ['oldestFirst', 'newestFirst'] as const) {
    test(`${name}: pages, ${order}, give every event once and a cursor exactly while there is more`, async (context) => {
      const logs = await open(context);
      const all = Array.from({ length: 25 }, (_, i) => `event ${String(i).padStart(2, '0')}`);
      for (const message of all) logs.append(GROUP, `stream ${Number(message.slice(-2)) % 3}`, [{ timestampMs: 1, message }]);
      const expected = messages(await logs.filter({ group: GROUP, limit: 1_000, order }));
      assert.deepEqual([...expected].sort(), all);
      const seen: string[] = [];
      let cursor: string | undefined;
      let pages = 0;
      do {
        const page = await logs.filter({ group: GROUP, limit: 5, order, ...(cursor === undefined ? {} : { cursor }) });
        seen.push(...messages(page));
        cursor = page.cursor;
        pages++;
      } while (cursor !== undefined);
      assert.deepEqual(seen, expected);
      assert.equal(pages, 5);
    });
  }

  test(`${name}: the id of the last event read is a cursor that follows the log`, async (context) => {
    const logs = await open(context);
    logs.append(GROUP, 'a', events('one', 'two'));
    const last = (await logs.filter({ group: GROUP, limit: 10 })).events.at(-1) as StoredLogEvent;
    assert.deepEqual(messages(await logs.filter({ group: GROUP, limit: 10, cursor: last.id })), []);
    logs.append(GROUP, 'b', events('three'));
    assert.deepEqual(messages(await logs.filter({ group: GROUP, limit: 10, cursor: last.id })), ['three']);
  });

  test(`${name}: a cursor that nobody gave is refused`, async (context) => {
    const logs = await open(context);
    logs.append(GROUP, 'a', events('one'));
    await assert.rejects(logs.filter({ group: GROUP, limit: 10, cursor: '../../etc/passwd' }), InvalidCursorError);
  });

  test(`${name}: groups and streams are listed by prefix and in order; those never written to do not exist`, async (context) => {
    const logs = await open(context);
    const long = `/long/${'x'.repeat(500)}`;
    for (const group of ['/b', '/a/2', '/a/1', long]) logs.append(group, 's2', events('x'));
    logs.append('/b', 's1', events('x', 'y'));
    assert.deepEqual(await logs.listGroups(''), ['/a/1', '/a/2', '/b', long]);
    assert.deepEqual(await logs.listGroups('/a'), ['/a/1', '/a/2']);
    assert.deepEqual(await logs.listStreams('/b', ''), [
      { name: 's1', firstEventMs: 1_000, lastEventMs: 1_001 },
      { name: 's2', firstEventMs: 1_000, lastEventMs: 1_000 },
    ]);
    assert.deepEqual((await logs.listStreams('/b', 's2')).map((stream) => stream.name), ['s2']);
    await assert.rejects(logs.filter({ group: '/c', limit: 1 }), NoSuchLogGroupError);
    await assert.rejects(logs.listStreams('/c', ''), NoSuchLogGroupError);
  });

  test(`${name}: a deleted group is gone with what still waited to be written, and can begin anew`, async (context) => {
    const logs = await open(context);
    logs.append(GROUP, 'a', events('old'));
    await logs.flush();
    logs.append(GROUP, 'a', events('waiting'));
    await logs.deleteGroup(GROUP);
    await logs.deleteGroup(GROUP);
    await assert.rejects(logs.filter({ group: GROUP, limit: 1 }), NoSuchLogGroupError);
    logs.append(GROUP, 'a', events('new'));
    assert.deepEqual(messages(await logs.filter({ group: GROUP, limit: 10 })), ['new']);
  });

  test(`${name}: group names are names, never paths`, async (context) => {
    const logs = await open(context);
    logs.append('../../outside', 'a', events('one'));
    logs.append('..', 'a', events('two'));
    assert.deepEqual(await logs.listGroups(''), ['..', '../../outside']);
    assert.deepEqual(messages(await logs.filter({ group: '..', limit: 10 })), ['two']);
  });
}
