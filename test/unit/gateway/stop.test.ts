import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { PendingReplies } from '../../../gateway/invoke/pending-replies.ts';
import { startGateway, type GatewayOptions } from '../../../gateway/start.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const LINGER_MS = 1_000;

/** Status and `Connection` of the answer, and whether it came over a connection that was there before. */
async function ask(url: string, agent: Agent): Promise<readonly [number | undefined, string | undefined, boolean]> {
  const asked = request(`${url}/_sluice/health`, { agent }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  // The agent takes the connection back in the next turn.
  await turn();
  return [response.statusCode, response.headers.connection, asked.reusedSocket];
}

test('a gateway that stops answers what comes over connections that are kept alive, and has them closed by their clients', async (t) => {
  const clock = new VirtualClock();
  const gateway = await startGateway({
    replies: new PendingReplies({ clock }), clock, random: Math.random, logger: createLogger('silent'), signingSecret: Buffer.alloc(32), lingerMs: LINGER_MS,
    settings: { host: '127.0.0.1', port: 0, account: '000000000000', region: 'us-east-1', accountConcurrency: 1, maxWaitingSync: 1, runsContainerImages: false },
  } as Partial<GatewayOptions> as GatewayOptions);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  assert.deepEqual(await ask(gateway.url, agent), [200, 'keep-alive', false]);
  let stopped = false;
  const stopping = gateway.stop().then(() => (stopped = true));
  assert.deepEqual(await ask(gateway.url, agent), [200, 'close', true]);
  clock.advance(LINGER_MS - 1);
  await turn();
  assert.equal(stopped, false);
  clock.advance(1);
  await stopping;
  await assert.rejects(ask(gateway.url, agent), { code: 'ECONNREFUSED' });
});
