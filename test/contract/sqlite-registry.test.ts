import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { openSqliteRegistry, REGISTRY_FILE } from '../../platform/registry/sqlite.ts';
import { DataFileError, DataFolderInUseError } from '../../platform/sqlite/database.ts';
import { registryContract } from './registry.contract.ts';

registryContract('sqlite', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-registry-'));
  return {
    open: () => Promise.resolve(openSqliteRegistry({ dataDir })),
    dispose: () => rm(dataDir, { recursive: true }),
  };
});

it('sqlite registry: its file belongs to one process, and is refused when damaged', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-registry-'));
  try {
    const registry = openSqliteRegistry({ dataDir });
    assert.throws(() => openSqliteRegistry({ dataDir }), DataFolderInUseError);
    await registry.close();
    await registry.close();
    await writeFile(join(dataDir, REGISTRY_FILE), Buffer.alloc(4_096, 'x'));
    assert.throws(() => openSqliteRegistry({ dataDir }), DataFileError);
  } finally {
    await rm(dataDir, { recursive: true });
  }
});
