import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { containerMemoryLimitMiB } from '../../../worker/process/memory-limit.ts';

test('the memory that the kernel grants a container, in either hierarchy of control groups', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-limit-'));
  t.after(() => rm(folder, { recursive: true }));
  const [unified, older] = [join(folder, 'memory.max'), join(folder, 'memory.limit_in_bytes')];
  assert.equal(containerMemoryLimitMiB([unified, older]), Infinity, 'neither is there');
  await writeFile(older, '872415232\n');
  assert.equal(containerMemoryLimitMiB([unified, older]), 832);
  await writeFile(unified, '1275068416\n');
  assert.equal(containerMemoryLimitMiB([unified, older]), 1_216);
  await writeFile(unified, 'max\n');
  assert.equal(containerMemoryLimitMiB([unified, older]), Infinity);
});
