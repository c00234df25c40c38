import assert from 'node:assert/strict';
import { validateHeaderValue } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { LOG_TAIL_BYTES_MAX } from '../../../platform/model/limits.ts';
import { parseAnnouncement } from '../../../platform/protocol/announcement.ts';
import { decodeReplyHead, encodeReplyHead, REPLY_HEADER } from '../../../platform/protocol/http-replies.ts';
import type { Rejection, Reply } from '../../../platform/protocol/reply.ts';
import { members } from '../../support/fleet-arbitraries.ts';

const text = fc.string({ unit: 'binary' });
const body = fc.constant(Buffer.from('not in the head'));
const logTail = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));
const rejection: fc.Arbitrary<Rejection> = fc.oneof(
  members({ code: fc.constantFrom('expired', 'functionGone', 'workerLost', 'shuttingDown') }),
  members({ code: fc.constant('cannotStart'), message: text }),
  members({ code: fc.constant('throttled'), reason: fc.constantFrom('ConcurrentInvocationLimitExceeded', 'ReservedFunctionConcurrentInvocationLimitExceeded', 'CallerRateLimitExceeded') }),
);
const reply: fc.Arbitrary<Reply> = fc.oneof(
  members({ kind: fc.constant('success'), body, contentType: text, logTail }, ['kind', 'body']),
  members({ kind: fc.constant('functionError'), functionError: fc.constantFrom('Handled', 'Unhandled'), body, logTail }, ['kind', 'functionError', 'body']),
  members({ kind: fc.constant('rejected'), rejection }),
);

test('the head of a reply travels in a header, whatever characters are in it', () => {
  fc.assert(
    fc.property(reply, (sent) => {
      const header = encodeReplyHead(sent);
      validateHeaderValue(REPLY_HEADER, header);
      assert.match(header, /^[\x20-\x7e]*$/);
      const head = decodeReplyHead(header);
      if (sent.kind === 'rejected') {
        assert.deepEqual(head, sent);
        return;
      }
      const { body: _, logTail: tail, ...rest } = sent;
      assert.deepEqual(head, { ...rest, ...(tail === undefined ? {} : { logTail: tail.toString('base64') }) });
    }),
  );
});

test('of a log only the last 4 KiB travel', () => {
  const log = Buffer.concat([Buffer.alloc(1_000, 'a'), Buffer.alloc(LOG_TAIL_BYTES_MAX, 'z')]);
  const head = decodeReplyHead(encodeReplyHead({ kind: 'success', body: Buffer.alloc(0), logTail: log }));
  assert.ok(head?.kind === 'success');
  assert.deepEqual(Buffer.from(head.logTail ?? '', 'base64'), Buffer.alloc(LOG_TAIL_BYTES_MAX, 'z'));
});

test('what is no head of a reply is undefined', () => {
  for (const foreign of ['', 'null', '1', '[]', '{}', '{"kind":"other"}', '{"kind":"success"', 'success']) assert.equal(decodeReplyHead(foreign), undefined, foreign);
});

test('an announcement is read, whatever else is in it; anything else is none', () => {
  const announcement = { v: 1, controller: 'controller-1', url: 'http://10.0.0.7:9500', leaving: false, workers: 3 };
  assert.deepEqual(parseAnnouncement(JSON.stringify({ ...announcement, later: 1 })), announcement);
  assert.deepEqual(parseAnnouncement(JSON.stringify({ ...announcement, leaving: true })), { ...announcement, leaving: true });
  assert.deepEqual(parseAnnouncement(JSON.stringify({ ...announcement, workers: 'many' })), { ...announcement, workers: 0 });
  for (const wrong of [{ v: 2 }, { controller: 7 }, { url: 'nowhere' }, { url: undefined }]) assert.equal(parseAnnouncement(JSON.stringify({ ...announcement, ...wrong })), undefined);
  fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (foreign) => assert.equal(parseAnnouncement(foreign), undefined)));
});
