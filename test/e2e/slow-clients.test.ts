/** Clients that hold a connection for nothing are answered and cut off, by the gateway's own time-outs; nobody else notices. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deploy, result } from '../support/functions.ts';
import { sendBytes } from '../support/raw-http.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const FUNCTIONS = '/2015-03-31/functions';

describe('slow clients', { timeout: 120_000 }, () => {
  let sluice: TestSluice;
  before(async () => {
    sluice = await startSluice();
    await deploy(sluice.lambda, { name: 'good', files: { 'index.js': 'exports.handler = async (event) => event;' } });
  });
  after(() => sluice.stop());

  // All wait side by side: the gateway's patience is some tens of seconds.
  test('each gets 408 and its connection is closed, while others are served', async () => {
    const begun = {
      'headers that never end': `POST ${FUNCTIONS} HTTP/1.1\r\nHost: x\r\nX-Slow: `,
      'a body that never ends': `POST ${FUNCTIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"FunctionName":`,
      'an event that never ends': `POST ${FUNCTIONS}/good/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{"a":`,
    };
    const slow = Object.entries(begun).map(async ([what, bytes]) => ({ what, answer: await sendBytes(sluice.url, bytes) }));
    const crowd = Promise.all(Array.from({ length: 200 }, () => sendBytes(sluice.url, 'P')));
    assert.deepEqual(await result(sluice.lambda, 'good', { n: 1 }), { n: 1 });
    for (const { what, answer } of await Promise.all(slow)) {
      assert.match(answer, /^HTTP\/1\.1 408 /, what);
      assert.match(answer, /RequestTimeoutException/i, what);
      assert.doesNotMatch(answer, /\bat .+:\d+:\d+/, what);
    }
    await crowd;
    assert.deepEqual(await result(sluice.lambda, 'good', { n: 2 }), { n: 2 });
  });
});
