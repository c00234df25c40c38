import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { probeIsolation } from '../../../worker/process/isolation.ts';
import { Launcher, type LaunchRequest } from '../../../worker/process/launcher.ts';
import { nodeFamily } from '../../../worker/runtimes/node/family.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

async function setting(context: TestContext, isAlone = false): Promise<{ launcher: Launcher; clock: VirtualClock; request: LaunchRequest }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-launch-'));
  const alone = isAlone ? await mkdtemp(join(tmpdir(), 'sluice-alone-')) : undefined;
  const clock = new VirtualClock();
  const launcher = new Launcher({ isolation: probeIsolation(dataDir, { alone }), dataDir, prestartedPerRuntime: 1, clock, logger: createLogger('error') });
  const family = nodeFamily({ cacheDir: join(dataDir, 'cache') });
  await mkdir(join(dataDir, 'code'));
  context.after(async () => {
    await launcher.stop();
    await rm(dataDir, { recursive: true, force: true });
    if (alone !== undefined) await rm(alone, { recursive: true, force: true });
  });
  return { launcher, clock, request: { family, installation: await family.prepare(), tmpMiB: 512, startEnvironment: undefined, wrapper: undefined } };
}

/** Launches until a process comes that was started ahead: starting one takes the time it takes. */
async function prestarted(launcher: Launcher, request: LaunchRequest): ReturnType<Launcher['launch']> {
  for (;;) {
    const launched = await launcher.launch(request);
    if (launched.prestarted) return launched;
    await launched.dispose();
  }
}

test('nothing is started ahead until it is expected', async (context) => {
  const { launcher, clock, request } = await setting(context);
  clock.advance(1_000);
  const launched = await launcher.launch(request);
  assert.equal(launched.prestarted, false);
  await launched.dispose();
  assert.equal(launched.process.alive, false);
});

test('an expected process is handed out once, and only where it would do', async (context) => {
  const { launcher, clock, request } = await setting(context);
  launcher.expect(request.family);
  clock.advance(1_000);
  const first = await prestarted(launcher, request);
  const next = await launcher.launch(request);
  assert.equal(next.prestarted, false);
  await next.dispose();
  await first.dispose();
  launcher.expect(request.family);
  clock.advance(1_000);
  const second = await prestarted(launcher, request);
  await second.dispose();
  launcher.expect(request.family);
  clock.advance(1_000);
  for (const other of [{ ...request, tmpMiB: 1_024 }, { ...request, startEnvironment: { PATH: '/bin' } }]) {
    const launched = await launcher.launch(other);
    assert.equal(launched.prestarted, false);
    await launched.dispose();
  }
  await (await prestarted(launcher, request)).dispose();
});

test('after a long idle time the processes started ahead go', async (context) => {
  const { launcher, clock, request } = await setting(context);
  launcher.expect(request.family);
  clock.advance(1_000);
  await (await prestarted(launcher, request)).dispose();
  launcher.expect(request.family);
  clock.advance(1_000);
  const kept = await prestarted(launcher, request);
  await kept.dispose();
  clock.advance(60 * 60_000);
  const launched = await launcher.launch(request);
  assert.equal(launched.prestarted, false);
  await launched.dispose();
});

test('where there is one environment at a time, the next process is started ahead when that has left', async (context) => {
  const { launcher, clock, request } = await setting(context, true);
  launcher.keep(request.family);
  clock.advance(1_000);
  const first = await prestarted(launcher, request);
  launcher.expect(request.family);
  clock.advance(1_000);
  await launcher.filled();
  const beside = await launcher.launch(request);
  assert.equal(beside.prestarted, false, 'nothing is started ahead while it lives');
  await beside.dispose();
  await first.dispose();
  clock.advance(1_000);
  await launcher.filled();
  const next = await launcher.launch(request);
  assert.equal(next.prestarted, true);
  await next.dispose();
});
