import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { internalAgent, internalRequest } from '../../../platform/internal-http/client.ts';
import { CODE_BUCKET } from '../../../platform/model/function.ts';
import { PAYLOAD_BUCKET } from '../../../platform/model/invocation.ts';
import { decodeAnswer, encodePoll, SMALL_PACKAGE_BYTES, type SessionGrant } from '../../../platform/protocol/wire/messages.ts';
import { joinToken } from '../../../platform/protocol/wire/tokens.ts';
import { RECONNECT_MS } from '../../../platform/worker-pool/fleet/worker-session.ts';
import { completionOf, initialized, invoke, specOf } from '../../support/fleet-listener.ts';
import { fakeController, polled, ROOM, SECRET, type FakeController } from '../../support/fleet-world.ts';

interface Answered {
  readonly status: number;
  readonly body: Buffer;
}

interface Caller extends FakeController {
  readonly ask: (path: string, body: string | Buffer, token?: string, method?: 'POST' | 'DELETE' | 'GET') => Promise<Answered>;
  /** Ends every connection that was made. */
  readonly hangUp: () => Promise<void>;
}

async function caller(t: TestContext): Promise<Caller> {
  const controller = await fakeController(t);
  const agent = internalAgent();
  t.after(() => agent.destroy());
  return {
    ...controller,
    ask: (path, body, token = '', method = 'POST') =>
      internalRequest(agent, { origin: controller.url, path, method, headers: { authorization: `Bearer ${token}` }, ...(method === 'GET' ? {} : { body }) }),
    hangUp: () => agent.destroy(),
  };
}

function token({ clock }: FakeController, worker = 'w'): string {
  return joinToken(SECRET, { worker, expiresAtMs: clock.now() + 60_000 });
}

const request = (change: object = {}): string => JSON.stringify({ v: 1, worker: 'w', instance: 'i', room: ROOM, ...change });

async function session(made: Caller): Promise<SessionGrant & { readonly path: string }> {
  const { status, body } = await made.ask('/v1/sessions', request(), token(made));
  assert.equal(status, 201);
  const grant = JSON.parse(body.toString()) as SessionGrant;
  return { ...grant, path: `/v1/sessions/${grant.session}` };
}

test('a session is granted to the worker that its token names', async (t) => {
  const made = await caller(t);
  const grant = await session(made);
  assert.deepEqual([grant.controller, grant.partitions, made.fleet.workers.map(({ worker }) => worker)], ['c', 1, ['w']]);
});

const refused: readonly (readonly [string, number, (made: FakeController) => readonly [string, string]])[] = [
  ['without a token', 401, () => [request(), '']],
  ['with a token of nobody', 401, () => [request(), 'w.9999999999.forged']],
  ['with a token that has ended', 401, ({ clock }) => [request(), joinToken(SECRET, { worker: 'w', expiresAtMs: clock.now() })]],
  ['with another worker\'s token', 400, (made) => [request(), token(made, 'other')]],
  ['in another version', 400, (made) => [request({ v: 2 }), token(made)]],
  ['without room', 400, (made) => [request({ room: undefined }), token(made)]],
  ['with room that is none', 400, (made) => [request({ room: { maxEnvironments: -1, maxMemoryMiB: 1.5 } }), token(made)]],
  ['with something that is no JSON', 400, (made) => ['{', token(made)]],
];
for (const [how, status, message] of refused) {
  test(`none is granted ${how}`, async (t) => {
    const made = await caller(t);
    const [body, bearer] = message(made);
    assert.deepEqual(await made.ask('/v1/sessions', body, bearer), { status, body: Buffer.alloc(0) });
    assert.deepEqual(made.fleet.workers, []);
  });
}

test('a controller that stops grants none', async (t) => {
  const made = await caller(t);
  await made.fleet.close();
  assert.equal((await made.ask('/v1/sessions', request(), token(made))).status, 503);
});

test('whatever belongs to a session is asked with its own token, and is gone with it', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  const calls = [
    [`${path}/instructions`, JSON.stringify({ acknowledged: 0, room: ROOM })],
    [`${path}/environments/e/next?seq=0`, encodePoll(initialized('e'))],
    [`${path}/held`, JSON.stringify({ environments: [] })],
    [`${path}/departures`, JSON.stringify({ departures: [] })],
    [`${path}/retirements`, JSON.stringify({ environmentIds: [] })],
  ] as const;
  for (const [url, body] of calls) {
    for (const foreign of ['', token(made), `${own}x`]) assert.equal((await made.ask(url, body, foreign)).status, 401, url);
    assert.equal((await made.ask(url.replace(path, '/v1/sessions/unknown'), body, own)).status, 410, url);
  }
  assert.equal((await made.ask(path, '', 'another', 'DELETE')).status, 401);
  assert.equal(made.fleet.workers.length, 1);
  assert.equal((await made.ask(path, '', own, 'DELETE')).status, 204);
  assert.deepEqual(made.fleet.workers, []);
  for (const [url, body] of calls) assert.equal((await made.ask(url, body, own)).status, 410, url);
});

test('what cannot be read is refused, and the session lives on', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  for (const call of ['instructions', 'held', 'departures', 'retirements']) assert.equal((await made.ask(`${path}/${call}`, 'no JSON', own)).status, 400, call);
  assert.equal((await made.ask(`${path}/instructions`, JSON.stringify({ acknowledged: 0 }), own)).status, 400, 'no room');
  assert.equal((await made.ask(`${path}/environments/e/next?seq=first`, encodePoll(initialized('e')), own)).status, 400);
  assert.equal((await made.ask(`${path}/environments/e/next?seq=0`, Buffer.alloc(512 * 1024 + 1), own)).status, 400, 'too large');
  assert.equal((await made.ask(`${path}/environments/e/next?seq=0`, '{"kind":"unknown"}', own)).status, 500);
  assert.equal((await made.ask(`${path}/environments/%E0/next?seq=0`, encodePoll(initialized('e')), own)).status, 404);
  assert.equal((await made.ask(`${path}/unknown`, '{}', own)).status, 404);
  assert.equal((await made.ask('/v1/sessions', '', own, 'GET')).status, 404);
  assert.equal(made.fleet.workers.length, 1);
});

test('a poll is answered with a frame; one of an environment of somebody else is not taken in, and neither is one that is over', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  made.fleet.start('e/é', specOf('f'));
  const next = `${path}/environments/${encodeURIComponent('e/é')}/next`;
  const given = invoke('a', { payload: Buffer.from([0, 255]) });
  const polling = made.ask(`${next}?seq=4`, encodePoll(initialized('e/é')), own);
  await made.listener.waiting('e/é');
  made.listener.answer('e/é', given);
  const { status, body } = await polling;
  assert.deepEqual([status, decodeAnswer(body)], [200, given]);
  assert.equal((await made.ask(`${next}?seq=3`, encodePoll({ kind: 'completed', environmentId: 'e/é', completion: completionOf(given) }), own)).status, 409);
  assert.equal((await made.ask(`${path}/environments/other/next?seq=0`, encodePoll(initialized('other')), own)).status, 409);
  assert.equal(made.listener.polls.length, 1);
});

test('the end of the connection that a heartbeat came over is noticed', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  const [opened] = made.fleet.workers;
  made.fleet.expect(specOf('f'));
  await made.ask(`${path}/instructions`, JSON.stringify({ acknowledged: 0, room: ROOM }), own);
  assert.ok(opened !== undefined);
  const { mock } = t.mock.method(opened, 'connectionLost');
  await made.hangUp();
  await polled(() => mock.callCount() > 0);
  assert.equal(opened.live, true, 'it may come back');
  made.clock.advance(RECONNECT_MS);
  assert.equal(opened.ended, 'closed');
});

test('a worker is told where an object lies that it needs, and of no other', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  const located = async (bucket: unknown, key: unknown): Promise<readonly [number, string]> => {
    const { status, body } = await made.ask(`${path}/objects`, JSON.stringify({ bucket, key }), own);
    return [status, body.toString()];
  };
  const spec = specOf('f');
  const keyed = { ...spec, configuration: { ...spec.configuration, code: { ...spec.configuration.code, objectKey: 'code-of-f' } } };
  assert.deepEqual(await located(CODE_BUCKET, 'code-of-f'), [403, ''], 'it has not been told of the function yet');
  made.fleet.start('e', keyed);
  assert.deepEqual(await located(CODE_BUCKET, 'code-of-f'), [200, JSON.stringify({ url: `${made.url}/objects/${CODE_BUCKET}/code-of-f` })]);
  const next = made.ask(`${path}/environments/e/next?seq=0`, encodePoll(initialized('e')), own);
  await made.listener.waiting('e');
  assert.equal((await located(PAYLOAD_BUCKET, 'p'))[0], 403);
  made.listener.answer('e', invoke('a', { payload: Buffer.alloc(0), claim: { kind: 'object', key: 'p', bytes: 1 } }));
  await next;
  assert.equal((await located(PAYLOAD_BUCKET, 'p'))[0], 200);
  for (const [bucket, key] of [[CODE_BUCKET, 'p'], [PAYLOAD_BUCKET, 'code-of-f'], ['sluice-registry', 'anything']]) assert.equal((await located(bucket, key))[0], 403);
  for (const [bucket, key] of [[CODE_BUCKET, undefined], [7, 'p']]) assert.equal((await located(bucket, key))[0], 400);
});

test('a worker is handed small packages of functions that it has been told of; for others it is told to ask where they lie', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  const handed = async (key: unknown): Promise<readonly [number, string]> => {
    const { status, body } = await made.ask(`${path}/packages`, JSON.stringify({ bucket: CODE_BUCKET, key }), own);
    return [status, body.toString()];
  };
  const start = (key: string, sizeBytes: number): void => {
    const spec = specOf(key);
    made.fleet.start(`e-${key}`, { ...spec, configuration: { ...spec.configuration, code: { ...spec.configuration.code, objectKey: key, sizeBytes } } });
  };
  made.objects.set(`${CODE_BUCKET}/small`, Buffer.from('a package'));
  assert.deepEqual(await handed('small'), [403, ''], 'it has not been told of the function yet');
  start('small', SMALL_PACKAGE_BYTES);
  start('large', SMALL_PACKAGE_BYTES + 1);
  start('missing', 1);
  assert.deepEqual(await handed('small'), [200, 'a package']);
  made.objects.delete(`${CODE_BUCKET}/small`);
  assert.deepEqual(await handed('small'), [200, 'a package'], 'read once');
  assert.deepEqual(await Promise.all([handed('large'), handed('missing'), handed(undefined)]), [[404, ''], [404, ''], [400, '']]);
});

test('a worker writes the logs of functions that it was given, and all of a message or nothing', async (t) => {
  const made = await caller(t);
  const { path, token: own } = await session(made);
  const spec = specOf('f');
  made.fleet.start('e', { ...spec, configuration: { ...spec.configuration, logGroup: '/aws/lambda/f' } });
  const log = (group: string): unknown => ({ group, stream: 's', events: [{ timestampMs: 1, message: 'm' }] });
  const send = async (message: unknown): Promise<number> => (await made.ask(`${path}/logs`, JSON.stringify(message), own)).status;
  assert.equal(await send({ logs: [log('/aws/lambda/f'), log('/aws/lambda/other')] }), 403);
  assert.deepEqual(made.logged, []);
  assert.equal(await send({ logs: [log('/aws/lambda/f')] }), 204);
  assert.deepEqual(made.logged, ['/aws/lambda/f s m']);
  for (const wrong of [{}, { logs: 1 }, { logs: [null] }, { logs: [{ group: '/aws/lambda/f', stream: 's', events: [{ message: 'm' }] }] }, { logs: [{ group: '/aws/lambda/f', stream: 's', events: [null] }] }]) assert.equal(await send(wrong), 400);
});
