import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { equal, joinToken, MIN_SECRET_BYTES, randomToken, sign, verifyJoinToken } from '../../../platform/protocol/wire/tokens.ts';

const SECRET = 's'.repeat(MIN_SECRET_BYTES);
const NOW_MS = 1_700_000_000_000;
const worker = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }).filter((name) => !/[\r\n\u2028\u2029]/.test(name));

test('a join token names its worker until it ends', () => {
  fc.assert(
    fc.property(worker, fc.integer({ min: 1, max: 10 ** 9 }), (name, lifetimeSec) => {
      const expiresAtMs = NOW_MS + lifetimeSec * 1_000;
      const token = joinToken(SECRET, { worker: name, expiresAtMs });
      assert.equal(verifyJoinToken(SECRET, token, NOW_MS), name);
      assert.equal(verifyJoinToken(SECRET, token, expiresAtMs - 1), name);
      assert.equal(verifyJoinToken(SECRET, token, expiresAtMs), undefined);
    }),
  );
});

test('a name with dots in it is no other name', () => {
  const token = joinToken(SECRET, { worker: 'rack.7.worker', expiresAtMs: NOW_MS + 60_000 });
  assert.equal(verifyJoinToken(SECRET, token, NOW_MS), 'rack.7.worker');
});

test('a token that was changed anywhere is worth nothing', () => {
  const token = joinToken(SECRET, { worker: 'worker-1', expiresAtMs: NOW_MS + 60_000 });
  fc.assert(
    fc.property(fc.nat({ max: token.length - 1 }), fc.constantFrom(...'0123456789abcXYZ.-_'), (at, character) => {
      const changed = token.slice(0, at) + character + token.slice(at + 1);
      fc.pre(changed !== token);
      assert.equal(verifyJoinToken(SECRET, changed, NOW_MS), undefined);
    }),
  );
  for (const foreign of ['', '.', '..', token.slice(0, -1), `${token}A`, ` ${token}`, `worker-2${token.slice('worker-1'.length)}`, token.slice(token.indexOf('.'))]) {
    assert.equal(verifyJoinToken(SECRET, foreign, NOW_MS), undefined, foreign);
  }
});

test('a token of another secret is forged', () => {
  const token = joinToken('t'.repeat(MIN_SECRET_BYTES), { worker: 'worker-1', expiresAtMs: NOW_MS + 60_000 });
  assert.equal(verifyJoinToken(SECRET, token, NOW_MS), undefined);
});

test('a signature of another purpose is no join token', () => {
  const claim = `worker-1.${Math.floor(NOW_MS / 1_000) + 60}`;
  assert.equal(verifyJoinToken(SECRET, `${claim}.${sign(SECRET, `reply ${claim}`)}`, NOW_MS), undefined);
  assert.equal(verifyJoinToken(SECRET, `${claim}.${sign(SECRET, `join ${claim}`)}`, NOW_MS), 'worker-1', 'its twin, for this purpose');
});

test('equal compares what is given, of any length', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 50 }), fc.string({ unit: 'binary', maxLength: 50 }), (left, right) => assert.equal(equal(left, right), Buffer.from(left).equals(Buffer.from(right)))));
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 50 }), (text) => assert.ok(equal(text, text))));
});

test('a key object signs as its bytes do, and random tokens are long enough and never the same', () => {
  assert.equal(sign(createSecretKey(Buffer.from(SECRET)), 'text'), sign(SECRET, 'text'));
  const tokens = Array.from({ length: 100 }, randomToken);
  assert.equal(new Set(tokens).size, 100);
  for (const token of tokens) assert.equal(Buffer.from(token, 'base64url').length, MIN_SECRET_BYTES);
});
