import { buffer } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { systemClock } from '../../platform/clock.ts';
import { PAYLOAD_BUCKET } from '../../platform/model/invocation.ts';
import { kafkaScene } from '../support/kafka-logs.ts';
import { services } from '../support/services.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { invocationLogContract } from './invocation-log.contract.ts';

const { kafka } = await services();

if (kafka === undefined) {
  describe('InvocationLog contract: kafka', () => it('needs a Kafka', { skip: 'no Kafka can be reached or started' }));
} else {
  invocationLogContract('kafka', async () => {
    // What is due is told by the test's clock; the brokers know no other than their own.
    const clock = new VirtualClock(Date.now());
    const scene = await kafkaScene(kafka.brokers, { clock });
    return {
      open: () => scene.open({ wireClock: systemClock }),
      now: () => clock.now(),
      advance: (ms) => clock.advance(ms),
      claimed: async (claim) => buffer((await scene.store.get({ bucket: PAYLOAD_BUCKET, key: claim.kind === 'object' ? claim.key : '' })).body),
      dispose: () => scene.dispose(),
    };
  });
}
