/** From the release before to this one, chart and images, under load: records and protocol of both are understood by both, and no invocation fails. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { result } from '../../support/functions.ts';
import { images, whyNoCluster } from '../../support/kubernetes.ts';
import { SMALL, Trial } from './trial.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..', '..');
/** The state of the release before this one: to be moved with every release. */
const PREVIOUS = 'ffa66fe09b894d608f3dd7fb562650349ea00f39';

/** Both charts know them. Few pods, since the release before knows no bound for those that start at once. */
const FEW = [...SMALL, 'functions.maxPods=8'];

async function whyNot(): Promise<string | undefined> {
  const reason = await whyNoCluster();
  if (reason !== undefined) return reason;
  if (process.env['E2E_LOAD_IMAGE'] === undefined) return 'E2E_LOAD_IMAGE does not say how images get into the cluster';
  return run('git', ['-C', ROOT, 'cat-file', '-e', `${PREVIOUS}^{commit}`]).then(() => undefined, () => `the commit of the release before (${PREVIOUS}) is not in this clone`);
}

const reason = await whyNot();
if (reason !== undefined) process.stderr.write(`NOT TESTED: the upgrade from the release before, since ${reason}.\n`);

describe('an upgrade from the release before', { skip: reason ?? false, timeout: 1_200_000 }, () => {
  const trial = new Trial();
  after(() => trial.end());

  test('under load fails no invocation, and back again neither', async (t) => {
    const before = await mkdtemp(join(tmpdir(), 'sluice-previous-'));
    await run('git', ['-C', ROOT, 'worktree', 'add', '--detach', before, PREVIOUS]);
    t.after(async () => {
      await run('git', ['-C', ROOT, 'worktree', 'remove', '--force', before]);
      await rm(before, { recursive: true, force: true });
    });
    const [old, present] = [await images(before), await images()];
    const chart = join(before, 'charts', 'sluice');
    await trial.install([`image.tag=${old}`, ...FEW], chart);
    const up = await trial.under('upgrade from the release before', () => trial.release.upgrade([`image.tag=${present}`, ...FEW], { reuse: false }));
    assert.equal(up.errors.size, 0);
    assert.deepEqual(await result(trial.lambda, 'marks'), { name: 'marks' });
    const back = await trial.under('back to the release before', () => trial.release.upgrade([`image.tag=${old}`, ...FEW], { reuse: false, chart }));
    assert.equal(back.errors.size, 0);
    assert.deepEqual(await result(trial.lambda, 'marks'), { name: 'marks' });
  });
});
