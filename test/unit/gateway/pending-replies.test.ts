import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PendingReplies } from '../../../gateway/invoke/pending-replies.ts';
import type { IncomingReply } from '../../../gateway/replies/incoming-reply.ts';
import { ResponseStream } from '../../../platform/protocol/response-stream.ts';
import { invocation } from '../../support/log-consumer.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const success: IncomingReply = { kind: 'success', body: Buffer.from('1') };

test('a caller gets the first reply, once', () => {
  const pending = new PendingReplies({ clock: new VirtualClock() });
  const answers: IncomingReply[] = [];
  pending.expect(invocation({ id: 'a' }), 10_000, (reply) => answers.push(reply));
  pending.reply({ id: 'a' }, success);
  pending.reply({ id: 'a' }, { kind: 'rejected', rejection: { code: 'expired' } });
  assert.deepEqual(answers, [success]);
  assert.equal(pending.size, 0);
});

test('a reply to nobody is dropped', () => {
  new PendingReplies({ clock: new VirtualClock() }).reply({ id: 'nobody' }, success);
});

test('a caller whose reply never comes is answered at its deadline (invariant 4)', () => {
  const clock = new VirtualClock();
  const pending = new PendingReplies({ clock });
  const answers: IncomingReply[] = [];
  pending.expect(invocation({ id: 'a' }), clock.now() + 5_000, (reply) => answers.push(reply));
  clock.advance(4_000);
  assert.equal(answers.length, 0);
  clock.advance(2_000);
  assert.deepEqual(answers, [{ kind: 'rejected', rejection: { code: 'workerLost' } }]);
});

test('idle resolves with the last answer, and close answers everybody', async () => {
  const pending = new PendingReplies({ clock: new VirtualClock() });
  const answers: string[] = [];
  pending.expect(invocation({ id: 'a' }), 10_000, (reply) => answers.push(reply.kind));
  pending.expect(invocation({ id: 'b' }), 10_000, (reply) => answers.push(reply.kind));
  const idle = pending.idle();
  pending.close();
  await idle;
  assert.deepEqual(answers, ['rejected', 'rejected']);
});

test('a stream begins once, for a caller that takes one', () => {
  const pending = new PendingReplies({ clock: new VirtualClock() });
  const [begun, second, unwanted, strange] = Array.from({ length: 4 }, () => new ResponseStream());
  const beginnings: ResponseStream[] = [];
  pending.expect(invocation({ id: 'a' }), 10_000, () => assert.fail('Nothing cuts it short.'), ({ body }) => beginnings.push(body));
  pending.expect(invocation({ id: 'b' }), 10_000, () => assert.fail('Nothing has come.'));
  pending.stream({ id: 'a' }, { body: begun as ResponseStream });
  pending.stream({ id: 'a' }, { body: second as ResponseStream });
  pending.stream({ id: 'b' }, { body: unwanted as ResponseStream });
  pending.stream({ id: 'nobody' }, { body: strange as ResponseStream });
  assert.deepEqual(beginnings, [begun]);
  assert.deepEqual([begun, second, unwanted, strange].map((stream) => stream?.destroyed), [false, true, true, true]);
});

test('while its response is streamed a caller waits for no other, and a rejection still reaches it', async () => {
  const pending = new PendingReplies({ clock: new VirtualClock() });
  const answers: IncomingReply[] = [];
  pending.expect(invocation({ id: 'a' }), 10_000, (reply) => answers.push(reply), () => undefined);
  assert.deepEqual([await pending.awaited({ id: 'a' }), pending.reachable('a')], [true, true]);
  pending.stream({ id: 'a' }, { body: new ResponseStream() });
  assert.deepEqual([await pending.awaited({ id: 'a' }), pending.reachable('a'), pending.size], [false, true, 1]);
  pending.reply({ id: 'a' }, success);
  assert.deepEqual(answers, []);
  pending.reply({ id: 'a' }, { kind: 'rejected', rejection: { code: 'workerLost' } });
  assert.deepEqual(answers, [{ kind: 'rejected', rejection: { code: 'workerLost' } }]);
  assert.deepEqual([pending.reachable('a'), pending.size], [false, 0]);
});

test('a response that is streamed beyond its deadline is cut short (invariant 4)', () => {
  const clock = new VirtualClock();
  const pending = new PendingReplies({ clock });
  const answers: IncomingReply[] = [];
  pending.expect(invocation({ id: 'a' }), clock.now() + 5_000, (reply) => answers.push(reply), () => undefined);
  pending.stream({ id: 'a' }, { body: new ResponseStream() });
  clock.advance(6_000);
  assert.deepEqual(answers, [{ kind: 'rejected', rejection: { code: 'workerLost' } }]);
});
