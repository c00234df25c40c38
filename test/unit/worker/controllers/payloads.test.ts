import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { internalAgent } from '../../../../platform/internal-http/client.ts';
import { sendBytes, sendEmpty, startInternalServer } from '../../../../platform/internal-http/server.ts';
import { CODE_BUCKET, type CodeReference } from '../../../../platform/model/function.ts';
import { PAYLOAD_BUCKET } from '../../../../platform/model/invocation.ts';
import type { ObjectLocation } from '../../../../platform/object-store/object-store.ts';
import { SMALL_PACKAGE_BYTES } from '../../../../platform/protocol/wire/messages.ts';
import { createLogger } from '../../../../platform/telemetry/logger.ts';
import { ClaimedPayloads } from '../../../../worker/controllers/claimed-payloads.ts';
import { invocation } from '../../../support/log-consumer.ts';
import { completionOf, invoke, specOf } from '../../../support/fleet-listener.ts';
import { fakeController, fakeWorker, joined, polled } from '../../../support/fleet-world.ts';

const PAYLOAD = Buffer.alloc(300_000, 'payload');
const NONE = Buffer.alloc(0);

/** A gateway that keeps payloads: answers with what `answers` says, one after the other. */
async function gateway(t: TestContext, answers: readonly (Buffer | number)[]): Promise<{ readonly replyTo: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = await startInternalServer({
    host: '127.0.0.1', port: 0, logger: createLogger('silent'),
    routes: [{
      method: 'GET', path: '/v1/replies/*', handle: (request, response) => {
        const answer = answers[asked.length] ?? 410;
        asked.push(request.url ?? '');
        if (typeof answer === 'number') sendEmpty(response, answer);
        else sendBytes(response, 200, 'application/octet-stream', answer);
      },
    }],
  });
  t.after(() => server.stop());
  return { replyTo: `http://127.0.0.1:${server.port}/v1/replies/id?expires=9&signature=s`, asked };
}

/** An object store in which only this lies. */
function storeWith(key: string, body: Buffer): { readonly read: (location: ObjectLocation) => Promise<Buffer>; readonly asked: ObjectLocation[] } {
  const asked: ObjectLocation[] = [];
  return {
    asked,
    read: (location) => {
      asked.push(location);
      return location.bucket === PAYLOAD_BUCKET && location.key === key ? Promise.resolve(body) : Promise.reject(new Error(`no ${location.key}`));
    },
  };
}

function payloads(t: TestContext, { read } = storeWith('', NONE)): ClaimedPayloads {
  const agent = internalAgent();
  t.after(() => agent.destroy());
  return new ClaimedPayloads(agent, read);
}

test('a payload that came along is the payload', async (t) => {
  assert.equal((await payloads(t).fetch(invocation({ payload: PAYLOAD }))), PAYLOAD);
});

test('one that stayed at the gateway is fetched at the address of the reply', async (t) => {
  const { replyTo, asked } = await gateway(t, [PAYLOAD]);
  assert.deepEqual(await payloads(t).fetch(invocation({ payload: NONE, replyTo, claim: { kind: 'gateway', bytes: PAYLOAD.length } })), PAYLOAD);
  assert.deepEqual(asked, ['/v1/replies/id?expires=9&signature=s']);
});

test('one that lies in the object store is fetched there', async (t) => {
  const store = storeWith('k', PAYLOAD);
  assert.deepEqual(await payloads(t, store).fetch(invocation({ payload: NONE, claim: { kind: 'object', key: 'k', bytes: PAYLOAD.length } })), PAYLOAD);
  assert.deepEqual(store.asked, [{ bucket: PAYLOAD_BUCKET, key: 'k' }]);
});

test('what fails once is tried once more, and not again', async (t) => {
  const claim = { kind: 'gateway', bytes: PAYLOAD.length } as const;
  const once = await gateway(t, [500, PAYLOAD]);
  assert.deepEqual(await payloads(t).fetch(invocation({ payload: NONE, replyTo: once.replyTo, claim })), PAYLOAD);
  const twice = await gateway(t, [500, 500, PAYLOAD]);
  await assert.rejects(payloads(t).fetch(invocation({ id: 'i', payload: NONE, replyTo: twice.replyTo, claim })), /The gateway of invocation i answered 500 with 0 of 300000 bytes/);
});

test('a payload of another length is none', async (t) => {
  const { replyTo } = await gateway(t, [PAYLOAD.subarray(1), PAYLOAD.subarray(1)]);
  await assert.rejects(payloads(t).fetch(invocation({ payload: NONE, replyTo, claim: { kind: 'gateway', bytes: PAYLOAD.length } })), /answered 200 with 299999 of 300000 bytes/);
});

test('a claim at a gateway that is not named is refused', async (t) => {
  await assert.rejects(payloads(t).fetch(invocation({ id: 'i', payload: NONE, claim: { kind: 'gateway', bytes: 1 } })), /Invocation i claims a payload at its gateway and does not say where that is/);
});

test('an environment is given a claimed payload whole; one whose payload is nowhere is not run, and the environment lives on', async (t) => {
  const { replyTo } = await gateway(t, [PAYLOAD]);
  const controller = await fakeController(t);
  const { fleet, listener } = controller;
  controller.objects.set(`${PAYLOAD_BUCKET}/k`, PAYLOAD);
  const { controllers, host } = fakeWorker(t);
  controllers.known(new Set([controller.url]));
  await joined(controller);
  fleet.start('e', specOf('f'));
  const claims = {
    gateway: { replyTo, claim: { kind: 'gateway', bytes: PAYLOAD.length } },
    object: { claim: { kind: 'object', key: 'k', bytes: PAYLOAD.length } },
    gatewayGone: { replyTo, claim: { kind: 'gateway', bytes: PAYLOAD.length } },
    objectGone: { claim: { kind: 'object', key: 'gone', bytes: PAYLOAD.length } },
  } as const;
  const given = Object.entries(claims).map(([id, change], deliveryId) => invoke(id, { payload: NONE, deliveryId, ...change }));
  for (const assignment of given) {
    await listener.waiting('e');
    listener.answer('e', assignment);
  }
  await listener.waiting('e');
  assert.deepEqual(host.given.map(({ invocation: { id, payload } }) => [id, payload.equals(PAYLOAD)]), [['gateway', true], ['object', true]]);
  assert.deepEqual(
    listener.polls.slice(1).map((poll) => poll.kind === 'completed' && poll.completion),
    given.map((assignment, index) => completionOf(assignment, index < 2 ? {} : { outcome: 'notRun', durationMs: 0 })),
  );
  assert.deepEqual([host.opened, host.closed], [['e'], []]);
});

test('a small package is handed over by the controller; a large one, and one that it does not have, is fetched where the controller says', async (t) => {
  const asked: string[] = [];
  const controller = await fakeController(t, {
    routes: (all) => all.map((route) => ({ ...route, handle: (request, response, path, query) => (asked.push(route.path), route.handle(request, response, path, query)) })),
  });
  const { controllers } = fakeWorker(t);
  controllers.known(new Set([controller.url]));
  await joined(controller);
  const codeOf = (name: string, sizeBytes: number): CodeReference => ({ sha256: name, sizeBytes, objectKey: name });
  const start = (code: CodeReference): void => {
    const spec = specOf(code.objectKey);
    controller.fleet.start(`e-${code.objectKey}`, { ...spec, configuration: { ...spec.configuration, code } });
  };
  const [small, large] = [codeOf('small', 7), codeOf('large', SMALL_PACKAGE_BYTES + 1)];
  for (const code of [small, large]) {
    controller.objects.set(`${CODE_BUCKET}/${code.objectKey}`, Buffer.from(code.objectKey));
    start(code);
  }
  await polled(() => controllers.open === 1);
  assert.equal((await controllers.code(small)).toString(), 'small');
  assert.deepEqual(asked.filter((path) => /objects|packages/.test(path)), ['/v1/sessions/*/packages']);
  assert.equal((await controllers.code(large)).toString(), 'large');
  assert.equal(asked.filter((path) => path.endsWith('/packages')).length, 1, 'nobody asks for a large one');
  await assert.rejects(controllers.code(codeOf('foreign', 7)), /No controller says where .*foreign lies/);
});
