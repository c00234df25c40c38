import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { isCrossSite } from '../../../gateway/http/browser-guard.ts';
import { matchInvoke } from '../../../gateway/http/invoke-route.ts';
import { readBody } from '../../../gateway/http/read-body.ts';

test('the routes of invocations are found in every form that clients send', () => {
  const table: readonly [string, ReturnType<typeof matchInvoke>][] = [
    ['/2015-03-31/functions/f/invocations', { reference: 'f', qualifier: undefined, operation: 'Invoke' }],
    ['/2015-03-31/functions/f/invocations/', { reference: 'f', qualifier: undefined, operation: 'Invoke' }],
    ['/2015-03-31/functions/f/invocations?Qualifier=live', { reference: 'f', qualifier: 'live', operation: 'Invoke' }],
    ['/2015-03-31/functions/f%3Alive/invocations', { reference: 'f:live', qualifier: undefined, operation: 'Invoke' }],
    ['/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations', { reference: 'arn:aws:lambda:us-east-1:000000000000:function:f', qualifier: undefined, operation: 'Invoke' }],
    ['/2021-11-15/functions/f/response-streaming-invocations', { reference: 'f', qualifier: undefined, operation: 'InvokeWithResponseStream' }],
    ['/2021-11-15/functions/f%3Alive/response-streaming-invocations/?Qualifier=live', { reference: 'f:live', qualifier: 'live', operation: 'InvokeWithResponseStream' }],
    ['/2014-11-13/functions/f/invoke-async', { reference: 'f', qualifier: undefined, operation: 'InvokeAsync' }],
    ['/2014-11-13/functions/f/invoke-async/', { reference: 'f', qualifier: undefined, operation: 'InvokeAsync' }],
  ];
  for (const [url, route] of table) assert.deepEqual(matchInvoke(url), route, url);
});

test('what is no such route is left to the others', () => {
  for (const url of ['/', '/2015-03-31/functions', '/2015-03-31/functions/f', '/2015-03-31/functions//invocations', '/2015-03-31/functions/a/b/invocations', '/2015-03-31/functions/%/invocations', '/2021-11-15/functions/f/invocations', '/2015-03-31/functions/f/response-streaming-invocations', '/2021-11-15/functions/a/b/response-streaming-invocations', '/2014-11-13/functions/f/invocations', '/2015-03-31/functions/f/invoke-async']) {
    assert.equal(matchInvoke(url), undefined, url);
  }
});

test('a page of another origin is told apart from an AWS client and from a page of this one', () => {
  const sends = (headers: Record<string, string>): boolean => isCrossSite({ headers: { host: '127.0.0.1:9400', ...headers } } as unknown as IncomingMessage);
  assert.equal(sends({}), false);
  assert.equal(sends({ origin: 'http://127.0.0.1:9400' }), false);
  assert.equal(sends({ 'sec-fetch-site': 'same-origin' }), false);
  assert.equal(sends({ 'sec-fetch-site': 'none' }), false);
  assert.equal(sends({ origin: 'https://elsewhere.example' }), true);
  assert.equal(sends({ origin: 'null' }), true);
  assert.equal(sends({ 'sec-fetch-site': 'cross-site' }), true);
});

function request(contentLength?: number): PassThrough & IncomingMessage {
  const stream = new PassThrough();
  return Object.assign(stream, { headers: contentLength === undefined ? {} : { 'content-length': String(contentLength) } }) as unknown as PassThrough & IncomingMessage;
}

test('a body is collected, whole and in order', async () => {
  const incoming = request(6);
  const outcome = readBody(incoming, 10);
  incoming.write('abc');
  incoming.end('def');
  assert.deepEqual(await outcome, { kind: 'complete', body: Buffer.from('abcdef') });
});

test('a body over the limit is refused by what it declares, and by what it brings', async () => {
  assert.deepEqual(await readBody(request(11), 10), { kind: 'tooLarge' });
  const undeclared = request();
  const outcome = readBody(undeclared, 10);
  undeclared.write(Buffer.alloc(11));
  assert.deepEqual(await outcome, { kind: 'tooLarge' });
});

test('a body that is cut short is told apart from a whole one', async () => {
  const incoming = request(6);
  const outcome = readBody(incoming, 10);
  incoming.write('abc');
  incoming.destroy();
  assert.deepEqual(await outcome, { kind: 'cutShort' });
});

test('a body that does not come is given up', async () => {
  assert.deepEqual(await readBody(request(6), 10, 1), { kind: 'tooSlow' });
});
