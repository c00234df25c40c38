import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResponseStream, type StreamEnd } from '../../../platform/protocol/response-stream.ts';
import { receiveResponse, ResponseFrameReader, responseFrames } from '../../../platform/protocol/wire/response-frames.ts';
import { members } from '../../support/fleet-arbitraries.ts';

const nothing = (): void => undefined;

const someBytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const logTail = someBytes;
const streamEnd: fc.Arbitrary<StreamEnd> = fc.oneof(
  members({ kind: fc.constant('success'), logTail }, ['kind']),
  members({ kind: fc.constant('functionError'), errorType: fc.string({ unit: 'binary' }), body: someBytes, logTail }, ['kind', 'errorType', 'body']),
);

test('a response travels as frames, however they are cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(someBytes), streamEnd, fc.integer({ min: 1, max: 40 }), async (chunks, end, pieceBytes) => {
      const sent = new ResponseStream();
      const wire = buffer(Readable.from(responseFrames(sent)));
      for (const chunk of chunks) sent.offer(chunk, nothing);
      sent.finish(end);
      const all = await wire;
      const pieces = Array.from({ length: Math.ceil(all.length / pieceBytes) }, (_, index) => all.subarray(index * pieceBytes, (index + 1) * pieceBytes));
      const received = receiveResponse(Readable.from(pieces));
      assert.deepEqual(await buffer(received), Buffer.concat(chunks));
      assert.deepEqual(received.outcome, end);
    }),
    { numRuns: 100 },
  );
});

test('the beginning travels before anything is written', async () => {
  const frames = responseFrames(new ResponseStream());
  const value: unknown = (await frames.next()).value;
  assert.ok(Buffer.isBuffer(value));
  assert.deepEqual(new ResponseFrameReader().read(value), { chunks: [] });
  // The stream waits for its first byte: nothing is left of it.
  void frames.return(undefined);
});

test('frames that break off before the end leave a stream that is closed without one', async () => {
  const sent = new ResponseStream();
  const frames = responseFrames(sent);
  const begin = (await frames.next()).value as Buffer;
  sent.offer(Buffer.from('half'), nothing);
  const half = (await frames.next()).value as Buffer;
  sent.destroy();
  await assert.rejects(frames.next(), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
  const wire = new PassThrough();
  const received = receiveResponse(wire);
  const payload: Buffer[] = [];
  received.on('data', (chunk: Buffer) => payload.push(chunk));
  received.on('end', () => assert.fail('It has not come to its end.'));
  const first = once(received, 'data');
  wire.write(begin);
  wire.write(half);
  await first;
  wire.destroy();
  await once(received, 'close');
  assert.deepEqual([Buffer.concat(payload).toString(), received.outcome], ['half', undefined]);
});

test('what is no such frame breaks the response off', async () => {
  const tooLong = Buffer.from([1, 0xff, 0xff, 0xff, 0xff]);
  const noEnd = Buffer.from([1, 0, 0, 0, 2, 1, 1]);
  const unknownEnd = Buffer.concat([Buffer.from([1, 0, 0, 0, 16, 0, 0, 0, 12]), Buffer.from('{"kind":"x"}')]);
  for (const foreign of [Buffer.from([2, 0, 0, 0, 1, 0]), Buffer.from([1, 0, 0, 0, 0]), tooLong, noEnd, unknownEnd]) {
    const received = receiveResponse(Readable.from([foreign]));
    received.resume();
    received.on('end', () => assert.fail('It has no end.'));
    await once(received, 'close');
    assert.equal(received.outcome, undefined);
  }
});

test('a writer is told to wait for a reader that is slower, so that little is kept', async () => {
  const stream = new ResponseStream();
  const chunk = Buffer.alloc(16 * 1024, 1);
  let written = 0;
  const { promise: drained, resolve } = Promise.withResolvers<undefined>();
  while (stream.offer(chunk, () => resolve(undefined))) written += chunk.length;
  assert.ok(written <= 128 * 1024, `${written} bytes before the writer was told`);
  const reading = buffer(stream);
  await drained;
  stream.finish({ kind: 'success' });
  assert.equal((await reading).length, written + chunk.length);
});

test('a source of frames is read no faster than the response that comes of it', async () => {
  const sent = new ResponseStream();
  const received = receiveResponse(Readable.from(responseFrames(sent)));
  const total = 4 * 1024 * 1024;
  const chunk = Buffer.alloc(64 * 1024, 1);
  let written = 0;
  const write = (): void => {
    while (written < total) {
      written += chunk.length;
      if (!sent.offer(chunk, write)) return;
    }
    sent.finish({ kind: 'success' });
  };
  write();
  // Everything that can happen without a reader has happened when the event loop has nothing left to do but this.
  for (let i = 0; i < 50; i++) await new Promise(setImmediate);
  assert.ok(written < total / 4, `${written} bytes were taken for nobody`);
  assert.equal((await buffer(received)).length, total);
  assert.deepEqual(received.outcome, { kind: 'success' });
});

test('a writer whose reader has gone is not held up, and the first end counts', async () => {
  const stream = new ResponseStream();
  const { promise: drained, resolve } = Promise.withResolvers<undefined>();
  while (stream.offer(Buffer.alloc(16 * 1024), () => resolve(undefined)));
  stream.destroy();
  await drained;
  assert.equal(stream.offer(Buffer.alloc(1024 * 1024), nothing), true);
  stream.finish({ kind: 'success' });
  assert.equal(stream.outcome, undefined);
  const ended = new ResponseStream();
  ended.finish({ kind: 'functionError', errorType: 'E', body: Buffer.from('{}') });
  ended.finish({ kind: 'success' });
  assert.equal(ended.outcome?.kind, 'functionError');
  assert.equal(ended.offer(Buffer.from('late'), nothing), true);
  assert.equal((await buffer(ended)).length, 0);
});
