import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import type { Completion, EnvironmentDeparture, EnvironmentPoll } from '../../../platform/protocol/controller-link.ts';
import { decodeFrame, encodeFrame } from '../../../platform/protocol/wire/frame.ts';
import { decodeAnswer, decodePoll, departureOf, encodeAnswer, encodePoll, wireDeparture, type Answer } from '../../../platform/protocol/wire/messages.ts';
import { members } from '../../support/fleet-arbitraries.ts';
import { invocation } from '../../support/log-consumer.ts';

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const id = fc.string({ unit: 'binary', maxLength: 40 });
const count = fc.nat();

const completion: fc.Arbitrary<Completion> = fc.oneof(
  members({ invocationId: id, epoch: count, deliveryId: count, outcome: fc.constantFrom('success', 'notRun'), durationMs: count }),
  members({ invocationId: id, epoch: count, deliveryId: count, outcome: fc.constant('functionError'), durationMs: count, errorBody: bytes }),
);
const poll: fc.Arbitrary<EnvironmentPoll> = fc.oneof(
  members({ kind: fc.constant('initialized'), environmentId: id, initDurationMs: count }),
  members({ kind: fc.constant('initFailed'), environmentId: id, errorBody: bytes }),
  members({ kind: fc.constant('completed'), environmentId: id, completion }),
);
const cause: fc.Arbitrary<EnvironmentDeparture['cause']> = fc.oneof(
  members({ kind: fc.constantFrom('stopped', 'failed', 'workerLost') }),
  members({ kind: fc.constant('cannotStart'), message: id }),
);
const departure: fc.Arbitrary<EnvironmentDeparture> = fc.oneof(members({ environmentId: id, cause }), members({ environmentId: id, cause, completion }));
const record: fc.Arbitrary<InvocationRecord> = members({ id, functionName: id, traceId: id, logTail: fc.boolean(), attempt: count, payload: bytes, clientContext: id, replyTo: id, responseStream: fc.constant(true), claim: members({ kind: fc.constant('gateway'), bytes: count }) }, ['id', 'payload']).map((change) => invocation(change));
const answer: fc.Arbitrary<Answer> = fc.oneof(
  members({ kind: fc.constantFrom('stop', 'again', 'moved') }),
  members({ kind: fc.constant('invoke'), invocation: record, epoch: count, deliveryId: count }),
);

test('a frame brings its head and its bytes, whatever they are', () => {
  fc.assert(
    fc.property(fc.jsonValue().filter((value) => typeof value === 'object' && value !== null), bytes, (head, body) => {
      const frame = decodeFrame(encodeFrame(head, body));
      // JSON has no negative zero.
      assert.deepEqual(frame?.head, JSON.parse(JSON.stringify(head)));
      assert.deepEqual(frame?.body, body);
    }),
  );
});

test('a frame whose head is not whole is none', () => {
  fc.assert(
    fc.property(members({ text: id }), bytes, (head, body) => {
      const frame = encodeFrame(head, body);
      const headEnd = 4 + frame.readUInt32BE(0);
      for (let length = 0; length < headEnd; length++) assert.equal(decodeFrame(frame.subarray(0, length)), undefined, `${length} of ${headEnd} bytes`);
      assert.notEqual(decodeFrame(frame.subarray(0, headEnd)), undefined, 'its twin: with the whole head it is one');
    }),
    { numRuns: 30 },
  );
});

test('bytes of anything else are no frame, and throw nothing', () => {
  fc.assert(fc.property(bytes, (foreign) => void decodeFrame(foreign)));
  assert.equal(decodeFrame(Buffer.from('HTTP/1.1 502 Bad Gateway\r\n\r\n')), undefined);
  assert.equal(decodeFrame(Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from('{a}')])), undefined);
});

test('a poll says the same on the other side', () => {
  fc.assert(fc.property(poll, (said) => assert.deepEqual(decodePoll(encodePoll(said)), said)));
});

test('what is no poll throws', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      assert.throws(() => decodePoll(text), (error) => error instanceof TypeError || error instanceof SyntaxError);
    }),
  );
  assert.throws(() => decodePoll('{"kind":"paused","environmentId":"e"}'), /paused is no kind of poll; this controller speaks version 1/);
});

test('members of a later release are no hindrance', () => {
  const later = { ...JSON.parse(encodePoll({ kind: 'initialized', environmentId: 'e', initDurationMs: 1 })), mood: 'good' } as unknown;
  const heard = decodePoll(JSON.stringify(later));
  assert.deepEqual([heard.kind, heard.environmentId], ['initialized', 'e']);
});

test('a departure says the same on the other side', () => {
  fc.assert(fc.property(departure, (told) => assert.deepEqual(departureOf(JSON.parse(JSON.stringify(wireDeparture(told))) as ReturnType<typeof wireDeparture>), told)));
});

test('an answer says the same on the other side, with its payload byte for byte', () => {
  fc.assert(fc.property(answer, (given) => assert.deepEqual(decodeAnswer(encodeAnswer(given)), given)));
});

test('what is no answer is undefined, and throws nothing', () => {
  fc.assert(fc.property(bytes, (foreign) => void decodeAnswer(foreign)));
  fc.assert(fc.property(fc.jsonValue(), bytes, (head, body) => assert.equal(decodeAnswer(encodeFrame(head as object, body)), undefined)));
  const whole = encodeAnswer({ kind: 'invoke', invocation: invocation({ payload: Buffer.alloc(0) }), epoch: 1, deliveryId: 1 });
  for (let length = 0; length < whole.length; length++) assert.equal(decodeAnswer(whole.subarray(0, length)), undefined);
});
