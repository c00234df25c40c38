/**
 * Puts and deletes objects until it is killed, and prints each change before and after it: the other half of a crash test.
 * Arguments: data folder, number of the first change.
 */
import { writeSync } from 'node:fs';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';

const [dataDir = '', first = '0'] = process.argv.slice(2);
const store = await fileObjectStore({ dataDir, baseUrl: () => '', signingSecret: Buffer.alloc(32) });
await store.createBucket('crash-test');
for (let n = Number(first); ; n += 1) {
  const kept = { bucket: 'crash-test', key: `folder/kept-${n % 3}.txt` };
  const passing = { bucket: 'crash-test', key: `passing/${n}/object` };
  writeSync(1, `begin ${n}\n`);
  await Promise.all([
    store.put(kept, Buffer.alloc(1_000 + n, n % 256), { contentType: `text/v${n}`, metadata: { n: String(n) } }),
    store.put(passing, Buffer.from(String(n)), { contentType: `text/v${n}`, metadata: { n: String(n) } }),
  ]);
  await store.delete(passing);
  writeSync(1, `done ${n}\n`);
}
