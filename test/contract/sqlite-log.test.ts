import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { LogUnavailableError, SETTLE_INTERVAL_MS, type InvocationLog } from '../../platform/invocation-log/invocation-log.ts';
import { PENDING_APPENDS_MAX, PENDING_BYTES_MAX } from '../../platform/invocation-log/sqlite-log-link.ts';
import { DataFileError, DataFolderInUseError, LOG_FILE, openSqliteLog } from '../../platform/invocation-log/sqlite.ts';
import { SYNC_UNCONSUMED_MAX } from '../../platform/invocation-log/sync-lane.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { CollectingConsumer, drained, functionPerPartition, invocation } from '../support/log-consumer.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { invocationLogContract } from './invocation-log.contract.ts';

const logger = createLogger('silent');

invocationLogContract('sqlite', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-log-'));
  const clock = new VirtualClock();
  return {
    open: () => openSqliteLog({ dataDir, partitions: 4, clock, logger }),
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    dispose: () => rm(dataDir, { recursive: true }),
  };
});

async function inFolder(run: (folder: Folder) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-log-'));
  const opened: InvocationLog[] = [];
  const clock = new VirtualClock();
  try {
    await run({
      dataDir,
      file: join(dataDir, LOG_FILE),
      clock,
      async open(partitions) {
        const log = await openSqliteLog({ dataDir, clock, logger, ...(partitions === undefined ? {} : { partitions }) });
        opened.push(log);
        return log;
      },
    });
  } finally {
    for (const log of opened) await log.close();
    await rm(dataDir, { recursive: true });
  }
}

interface Folder {
  readonly dataDir: string;
  readonly file: string;
  readonly clock: VirtualClock;
  readonly open: (partitions?: number) => Promise<InvocationLog>;
}

/** Changes the file while no log has it open. */
function edit(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

function rowsIn(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  const { count } = database.prepare('SELECT count(*) AS count FROM record').get() ?? {};
  database.close();
  return Number(count);
}

describe('sqlite log: the file', () => {
  it('belongs to one log at a time', () =>
    inFolder(async ({ open, dataDir }) => {
      const first = await open();
      await assert.rejects(open(), (error) => error instanceof DataFolderInUseError && error.folder === dataDir && error.message.includes(dataDir));
      await first.append(invocation());
      await first.close();
      const second = await open();
      assert.deepEqual(await second.backlog(), { waiting: 1, delayed: 0 });
    }));

  it('keeps its number of partitions', () =>
    inFolder(async ({ open }) => {
      await (await open(3)).close();
      assert.equal((await open(8)).partitions, 3);
      await assert.rejects(open(0), RangeError);
      await assert.rejects(open(513), RangeError);
    }));

  it('is refused when it is damaged, foreign or newer, and left as it was', () =>
    inFolder(async ({ open, file }) => {
      const refused = async (problem: RegExp): Promise<void> => {
        const before = await readFile(file);
        await assert.rejects(open(), (error) => error instanceof DataFileError && error.file === file && error.message.startsWith(file) && problem.test(error.message));
        assert.deepEqual(await readFile(file), before);
      };
      await writeFile(file, Buffer.alloc(8_192, 'not a database'));
      await refused(/is damaged.*backup/);
      await rm(file);
      edit(file, 'CREATE TABLE someone_elses (x)');
      await refused(/another program/);
      await rm(file);
      await (await open()).close();
      edit(file, 'PRAGMA user_version = 99');
      await refused(/has format 99/);
      edit(file, 'PRAGMA user_version = 1');
      await (await open()).close();
      const size = (await stat(file)).size;
      await writeFile(file, Buffer.concat([(await readFile(file)).subarray(0, 4_096), Buffer.alloc(size - 4_096, 0xff)]));
      await refused(/is damaged/);
    }));

  it('may hold members that this release does not know, and keeps them through a retry', () =>
    inFolder(async ({ open, file, clock }) => {
      const record = invocation();
      const log = await open();
      await log.append(record);
      await log.close();
      edit(file, `UPDATE record SET head = json_set(head, '$.v', 2, '$.colour', 'blue')`);
      const newer = await open();
      const consumer = new CollectingConsumer();
      const consumption = await newer.consume(consumer);
      const [delivery] = await consumer.untilCount(1);
      assert.ok(delivery !== undefined);
      assert.deepEqual(await delivery.load(), record);
      await consumption.postpone(delivery, { attempt: 2, throttles: 0 }, clock.now() + 1);
      await newer.close();
      const database = new DatabaseSync(file);
      assert.match(String(database.prepare('SELECT head FROM delayed').get()?.head), /"colour":"blue"/);
      database.close();
    }));

  it('keeps a record that cannot be read, and goes on behind it', () =>
    inFolder(async ({ open, file }) => {
      const log = await open();
      const [lost, next] = [invocation(), invocation()];
      await log.append(lost);
      await log.append(next);
      await log.close();
      edit(file, `UPDATE record SET head = '{' WHERE id = (SELECT min(id) FROM record)`);
      const again = await open();
      const consumer = new CollectingConsumer();
      const consumption = await again.consume(consumer);
      const [delivery] = await consumer.untilCount(1);
      assert.equal(delivery?.head.id, next.id);
      if (delivery !== undefined) consumption.settle(delivery);
      await again.close();
      const database = new DatabaseSync(file);
      assert.equal(database.prepare(`SELECT head FROM record`).get()?.head, '{');
      database.close();
    }));

  it('with unreadable notes is replayed from the watermark', () =>
    inFolder(async ({ open, file }) => {
      const records = Array.from({ length: 5 }, () => invocation());
      const log = await open();
      for (const record of records) await log.append(record);
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      for (const delivery of (await consumer.untilCount(5)).slice(1)) consumption.settle(delivery);
      await log.close();
      const replayed = async (): Promise<string[]> => {
        const again = await open();
        const second = new CollectingConsumer();
        const ids = (await drained(again, second, await again.consume(second))).map(({ head }) => head.id);
        await again.close();
        return ids;
      };
      assert.deepEqual(await replayed(), [records[0]?.id]);
      edit(file, `UPDATE partition SET metadata = substr(metadata, 1, length(metadata) - 1)`);
      assert.deepEqual(await replayed(), records.map(({ id }) => id));
    }));
});

describe('sqlite log: a disk that refuses', () => {
  it('has nothing of a rejected append, and takes the next', () =>
    inFolder(async ({ open, file }) => {
      await (await open()).close();
      edit(file, `CREATE TRIGGER full BEFORE INSERT ON record WHEN new.head LIKE '%poison%' BEGIN SELECT raise(ABORT, 'the disk is full'); END`);
      const log = await open();
      // Asked in one turn they share a transaction, and its fate.
      for (const outcome of await Promise.allSettled([log.append(invocation()), log.append(invocation({ functionName: 'poison' }))])) {
        assert.ok(outcome.status === 'rejected' && outcome.reason instanceof LogUnavailableError);
        assert.match(outcome.reason.message, /the disk is full/);
      }
      const record = invocation();
      await log.append(record);
      const consumer = new CollectingConsumer();
      assert.deepEqual((await drained(log, consumer, await log.consume(consumer))).map(({ head }) => head.id), [record.id]);
    }));

  it('is asked again to write down what was settled', () =>
    inFolder(async ({ open, file, clock }) => {
      await (await open()).close();
      edit(file, `CREATE TRIGGER full BEFORE UPDATE ON partition WHEN NOT EXISTS (SELECT 1 FROM record WHERE head LIKE '%room-again%')
        BEGIN SELECT raise(ABORT, 'the disk is full'); END`);
      const log = await open();
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      await log.append(invocation());
      const [delivery] = await consumer.untilCount(1);
      if (delivery !== undefined) consumption.settle(delivery);
      clock.advance(SETTLE_INTERVAL_MS);
      // Turned away together with the commit that went before it; the next one is on its own.
      await log.append(invocation({ functionName: 'room-again' })).catch(() => log.append(invocation({ functionName: 'room-again' })));
      await log.close();
      const again = await open();
      const second = new CollectingConsumer();
      const left = await drained(again, second, await again.consume(second));
      assert.deepEqual(left.map(({ head }) => head.functionName), ['room-again']);
    }));
});

describe('sqlite log: bounds', () => {
  it('gives back the room of settled records, also above one that stays', () =>
    inFolder(async ({ open, file, clock }) => {
      const log = await open(1);
      const total = 6_000;
      const consumer = new CollectingConsumer(total);
      const consumption = await log.consume(consumer);
      await Promise.all(Array.from({ length: total }, () => log.append(invocation({ functionName: 'marker-of-none' }))));
      // Every third stays: their notes would take more than 4,096 bytes, so settled rows have to go one by one.
      const deliveries = await consumer.untilCount(total);
      for (const [i, delivery] of deliveries.entries()) if (i % 3 !== 0) consumption.settle(delivery);
      clock.advance(SETTLE_INTERVAL_MS);
      await log.append(invocation());
      await log.close();
      assert.equal(rowsIn(file), total / 3 + 1);
      const again = await open();
      assert.equal((await again.backlog()).waiting, total / 3 + 1);
      const second = new CollectingConsumer(total);
      await again.consume(second);
      const left = deliveries.filter((_, i) => i % 3 === 0).map(({ head }) => head.id);
      assert.deepEqual((await second.untilCount(total / 3)).slice(0, left.length).map(({ head }) => head.id), left);
    }));

  it('refuses appends beyond what may wait for the disk, and takes them again later', () =>
    inFolder(async ({ open }) => {
      const log = await open();
      const record = invocation();
      const outcomes = Promise.allSettled(Array.from({ length: PENDING_APPENDS_MAX + 5 }, () => log.append(record)));
      const refused = (await outcomes).filter((outcome) => outcome.status === 'rejected');
      assert.equal(refused.length, 5);
      assert.ok(refused.every(({ reason }) => reason instanceof LogUnavailableError));
      const payload = Buffer.alloc(1024 * 1024);
      const large = await Promise.allSettled(Array.from({ length: PENDING_BYTES_MAX / payload.length + 1 }, () => log.append(invocation({ payload }))));
      assert.equal(large.filter(({ status }) => status === 'rejected').length, 1);
      await log.append(record);
      assert.equal((await log.backlog()).waiting, PENDING_APPENDS_MAX + PENDING_BYTES_MAX / payload.length + 1);
    }));

  it('keeps only so many sync records for a consumer to come', () =>
    inFolder(async ({ open }) => {
      const log = await open();
      const record = invocation({ kind: 'sync' });
      for (let i = 0; i < SYNC_UNCONSUMED_MAX; i++) await log.append(record);
      await assert.rejects(log.append(record), LogUnavailableError);
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      assert.equal(consumer.deliveries.length, SYNC_UNCONSUMED_MAX);
      for (const delivery of consumer.deliveries) consumption.settle(delivery);
      await log.append(record);
    }));

  it('delivers a sync record before append returns', () =>
    inFolder(async ({ open }) => {
      const log = await open();
      const consumer = new CollectingConsumer();
      await log.consume(consumer);
      const appended = log.append(invocation({ kind: 'sync' }));
      assert.equal(consumer.deliveries.length, 1);
      await appended;
    }));

  it('spreads functions over all its partitions', () =>
    inFolder(async ({ open }) => {
      const log = await open();
      assert.equal(new Set(functionPerPartition(log.partitions)).size, log.partitions);
    }));
});

interface Claims {
  readonly appended: ReadonlySet<string>;
  /** Given to `settle`, whether that became durable or not. */
  readonly touched: ReadonlySet<string>;
  readonly settledDurably: ReadonlySet<string>;
}

/** Lets a process work on the log in a folder and kills it after it has said so many lines. */
async function killedAfter(lines: number, dataDir: string, mode: 'consume' | 'append'): Promise<Claims> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'append-until-killed.ts'), dataDir, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (said.length === lines) child.kill('SIGKILL');
  }
  assert.deepEqual(await exited, [null, 'SIGKILL']);
  // The kill can cut the last line short; it claims nothing then.
  const claimed = (what: string): Set<string> => new Set(said.filter((line) => /^. .{36}$/.test(line) && line.startsWith(what)).map((line) => line.slice(2)));
  return { appended: claimed('A'), touched: claimed('T'), settledDurably: claimed('S') };
}

/** What the log delivers; all of it is settled. */
async function emptied(log: InvocationLog, clock: VirtualClock): Promise<Set<string>> {
  const consumer = new CollectingConsumer(100_000);
  const consumption = await log.consume(consumer);
  while ((await log.backlog()).delayed > 0) {
    clock.advance(60_000);
    // Answered after what the clock has set going.
    await log.append(invocation({ functionName: 'marker-barrier' }));
  }
  const deliveries = await drained(log, consumer, consumption);
  assert.deepEqual(await log.backlog(), { waiting: 0, delayed: 0 });
  for (const delivery of deliveries) consumption.settle(delivery);
  await log.close();
  const ids = deliveries.map(({ head }) => head.id);
  assert.equal(new Set(ids).size, ids.length, 'delivered twice to one consumer');
  return new Set(ids);
}

describe('sqlite log: after kill -9', () => {
  it('opens, has everything acknowledged and not settled, and nothing whose settling was durable', () =>
    inFolder(async ({ dataDir, open, clock }) => {
      let checked = 0;
      for (const lines of [1, 30, 400, 3_000, 411 + Math.floor(Math.random() * 2_000)]) {
        const { appended, touched, settledDurably } = await killedAfter(lines, dataDir, 'consume');
        const found = await emptied(await open(), clock);
        assert.deepEqual([...appended].filter((id) => !touched.has(id) && !found.has(id)), [], `lost after ${lines} lines`);
        assert.deepEqual([...settledDurably].filter((id) => found.has(id)), [], `settled, but delivered again after ${lines} lines`);
        checked += settledDurably.size;
      }
      assert.ok(checked > 100, `${checked} settled records checked`);
    }));

  it('has every acknowledged append where no one consumed, over several lives', () =>
    inFolder(async ({ dataDir, open, clock }) => {
      const appended = new Set<string>();
      for (const lines of [200, 1 + Math.floor(Math.random() * 1_000)]) {
        for (const id of (await killedAfter(lines, dataDir, 'append')).appended) appended.add(id);
      }
      const found = await emptied(await open(), clock);
      assert.ok(appended.size > 200);
      assert.deepEqual([...appended].filter((id) => !found.has(id)), []);
    }));
});
