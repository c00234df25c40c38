/** A poll that comes after its environment was handed over reports to nobody: the worker must hear that it was not taken in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../platform/clock.ts';
import { internalAgent, internalRequest } from '../../../platform/internal-http/client.ts';
import { startInternalServer } from '../../../platform/internal-http/server.ts';
import { encodePoll, type SessionGrant } from '../../../platform/protocol/wire/messages.ts';
import { joinToken } from '../../../platform/protocol/wire/tokens.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { Fleet } from '../../../platform/worker-pool/fleet/fleet.ts';
import { fleetRoutes } from '../../../platform/worker-pool/fleet/routes.ts';

const SECRET = 'a-secret-that-is-long-enough-for-a-test-0123';

test('a poll of an environment that is not this controller’s is answered without a word that it was taken in', async () => {
  const logger = createLogger('silent');
  const never = (): Promise<never> => new Promise(() => undefined);
  const fleet = new Fleet({ gatherMs: 0, clock: systemClock, logger, listener: { next: never, responded: () => undefined, gone: () => undefined, adopted: () => Promise.resolve(false), capacityChanged: () => undefined, undecided: () => undefined, retire: () => undefined } });
  const server = await startInternalServer({ host: '127.0.0.1', port: 0, logger, routes: fleetRoutes({ fleet, secret: SECRET, controller: 'c', partitions: 1, clock: systemClock, store: { presignGet: never, get: never }, functionLogs: { append: () => undefined } }) });
  const agent = internalAgent();
  const origin = `http://127.0.0.1:${server.port}`;
  try {
    const opened = await internalRequest(agent, {
      origin, path: '/v1/sessions', method: 'POST', headers: { authorization: `Bearer ${joinToken(SECRET, { worker: 'w', expiresAtMs: Date.now() + 60_000 })}` },
      body: JSON.stringify({ v: 1, worker: 'w', instance: 'i', room: { maxEnvironments: 1, maxMemoryMiB: 128 } }),
    });
    const grant = JSON.parse(opened.body.toString()) as SessionGrant;
    const statuses: number[] = [];
    const { status } = await internalRequest(agent, {
      origin, path: `/v1/sessions/${grant.session}/environments/e/next?seq=3`, method: 'POST', headers: { authorization: `Bearer ${grant.token}` },
      body: encodePoll({ kind: 'completed', environmentId: 'e', completion: { invocationId: 'i', epoch: 1, deliveryId: 1, outcome: 'success', durationMs: 1 } }),
      onHeaders: (headers) => statuses.push(headers),
    });
    assert.deepEqual([status, statuses], [409, [409]]);
  } finally {
    await fleet.close();
    await agent.close();
    await server.stop();
  }
});
