import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import type { WireLog } from '../../../../platform/protocol/wire/messages.ts';
import { GIVE_UP_MS, SEND_BYTES_MAX, SessionLogs, WAITING_BYTES_MAX } from '../../../../worker/controllers/session-logs.ts';
import { specOf } from '../../../support/fleet-listener.ts';
import { fakeController, fakeWorker, joined } from '../../../support/fleet-world.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

interface Sent {
  readonly logs: SessionLogs;
  readonly clock: VirtualClock;
  /** What was sent, a list of messages per request. */
  readonly requests: string[][];
}

/** `takes`: whether a request is taken, by its number. */
function sender(takes: (request: number) => boolean = () => true): Sent {
  const clock = new VirtualClock();
  const requests: string[][] = [];
  const send = (logs: readonly WireLog[]): Promise<readonly WireLog[]> => {
    requests.push(logs.flatMap(({ stream, events }) => events.map(({ message }) => `${stream}:${message.slice(0, 60)}`)));
    return Promise.resolve(takes(requests.length - 1) ? [] : logs);
  };
  return { logs: new SessionLogs({ send, clock }), clock, requests };
}

const line = (message: string): { readonly timestampMs: number; readonly message: string } => ({ timestampMs: 1, message });

test('events that come together go together, in their order', async () => {
  const { logs, clock, requests } = sender();
  logs.append('g', 'a', [line('1'), line('2')]);
  logs.append('g', 'b', [line('3')]);
  logs.append('g', 'a', [line('4')]);
  assert.deepEqual(requests, []);
  clock.advance(1_000);
  await turn();
  assert.deepEqual(requests, [['a:1', 'a:2', 'a:4', 'b:3']]);
  assert.equal(clock.pending, 0);
});

test('what nobody takes is sent again before what came later', async () => {
  const { logs, clock, requests } = sender((request) => request > 0);
  logs.append('g', 'a', [line('1')]);
  clock.advance(100);
  logs.append('g', 'a', [line('2')]);
  await turn();
  clock.advance(1_000);
  await turn();
  assert.deepEqual(requests, [['a:1'], ['a:1', 'a:2']]);
});

test('much is sent in several requests, each of which is bounded', async () => {
  const { logs, clock, requests } = sender();
  const large = 'x'.repeat(SEND_BYTES_MAX / 4);
  logs.append('g', 'a', Array.from({ length: 10 }, (_, index) => line(`${index}${large}`)));
  for (let step = 0; step < 10; step++) {
    await turn();
    clock.advance(1_000);
  }
  assert.deepEqual(requests.map((request) => request.length), [4, 4, 2]);
  assert.deepEqual(requests.flat().map((message) => message[2]), [...'0123456789']);
});

test('what does not fit the bound is dropped, and a line in its place says how much', async () => {
  const { logs, clock, requests } = sender();
  const large = 'x'.repeat(1024 * 1024);
  const count = WAITING_BYTES_MAX / large.length + 3;
  logs.append('g', 'a', Array.from({ length: count }, () => line(large)));
  for (let step = 0; step < 2 * count; step++) {
    await turn();
    clock.advance(1_000);
  }
  const messages = requests.flat();
  assert.equal(messages.filter((message) => message.startsWith('a:xxx')).length, count - 4);
  assert.match(messages.at(-1) ?? '', /^a:\[4 lines were dropped here/);
});

test('what nobody takes for long is given up', async () => {
  const { logs, clock, requests } = sender(() => false);
  logs.append('g', 'a', [line('1')]);
  for (let passedMs = 0; passedMs < GIVE_UP_MS; passedMs += 1_000) {
    clock.advance(1_000);
    await turn();
  }
  clock.advance(1_000);
  await turn();
  const before = requests.length;
  clock.advance(10_000);
  await turn();
  assert.deepEqual([requests.length, clock.pending], [before, 0]);
});

test('a worker\'s lines reach the controller of the function that printed them, and no other takes them', async (t) => {
  const [a, b] = [await fakeController(t), await fakeController(t)];
  const { controllers, clock } = fakeWorker(t);
  controllers.known(new Set([a.url, b.url]));
  await Promise.all([joined(a), joined(b)]);
  const spec = specOf('f');
  const printing = { ...spec, configuration: { ...spec.configuration, logGroup: '/aws/lambda/f' } };
  a.fleet.start('e', printing);
  await a.listener.waiting('e');
  controllers.logs.append('/aws/lambda/f', 's', [line('hello')]);
  clock.advance(100);
  await a.listener.until(() => a.logged.length > 0);
  controllers.logs.append('/aws/lambda/another', 's', [line('not mine')]);
  clock.advance(100);
  controllers.logs.append('/aws/lambda/f', 's', [line('again')]);
  a.fleet.stop('e');
  await a.listener.until(() => a.listener.departures.length > 0);
  assert.deepEqual([a.logged[0], b.logged], ['/aws/lambda/f s hello', []]);
});
