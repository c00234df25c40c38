import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { setTimeout as pace } from 'node:timers/promises';
import type { Delivery, InvocationLog, LogConsumption, PartitionAssignment } from '../../platform/invocation-log/invocation-log.ts';
import type { KafkaLogOptions } from '../../platform/invocation-log/kafka.ts';
import { kafkaScene, type KafkaScene } from '../support/kafka-logs.ts';
import { CollectingConsumer, functionPerPartition, invocation } from '../support/log-consumer.ts';
import { until } from '../support/redis-server.ts';
import { kafkaService } from '../support/services.ts';

const kafka = await kafkaService();
const PARTITIONS = 6;
/** Between two appends of a lane. A load without a rate takes the processor from those whose sessions it is about, for as long as a session lasts. */
const LOAD_PACE_MS = 2;

/** What several owners in one process do, in the order in which they do it. */
class Stage {
  /** Per partition, the greatest epoch that anyone was given it under. */
  readonly epochs = new Map<number, number>();
  readonly settled = new Map<string, number>();
  /** By invocation, how many have it in hand at this moment. */
  readonly executing = new Map<string, number>();
  readonly faults: string[] = [];
  given = 0;
}

/** Executes what it is given for a moment, then settles it; where it is undecided whose it is, not before that is known. */
class Actor extends CollectingConsumer {
  readonly name: string;
  readonly #stage: Stage;
  readonly #executing = new Map<Delivery, NodeJS.Timeout>();
  consumption: LogConsumption | undefined;

  constructor(name: string, stage: Stage, executionMs: number) {
    super(100, (delivery) => this.#execute(delivery, executionMs));
    this.name = name;
    this.#stage = stage;
  }

  #execute(delivery: Delivery, executionMs: number): void {
    const { partition, epoch, head } = delivery;
    const stage = this.#stage;
    if (this.owned.get(partition) !== epoch) stage.faults.push(`${this.name} was given partition ${partition} under epoch ${epoch}, which it was not assigned`);
    if (stage.epochs.get(partition) !== epoch) stage.faults.push(`${this.name} was given partition ${partition} under epoch ${epoch} after another owner had ${stage.epochs.get(partition)}`);
    stage.executing.set(head.id, (stage.executing.get(head.id) ?? 0) + 1);
    this.#executing.set(
      delivery,
      setTimeout(() => void this.#settle(delivery), (stage.given++ * 7) % executionMs),
    );
  }

  async #settle(delivery: Delivery): Promise<void> {
    for (let undecided = this.consumption?.undecided(); undecided !== undefined; undecided = this.consumption?.undecided()) await undecided;
    this.#end(delivery, true);
  }

  #end(delivery: Delivery, settle: boolean): void {
    clearTimeout(this.#executing.get(delivery));
    if (!this.#executing.delete(delivery)) return;
    const { id } = delivery.head;
    this.#stage.executing.set(id, (this.#stage.executing.get(id) ?? 1) - 1);
    if (!settle) return;
    this.#stage.settled.set(id, (this.#stage.settled.get(id) ?? 0) + 1);
    this.consumption?.settle(delivery);
  }

  override assigned(assignment: PartitionAssignment): Promise<void> {
    for (const partition of assignment.partitions) {
      const before = this.#stage.epochs.get(partition) ?? 0;
      if (assignment.epoch <= before) this.#stage.faults.push(`the epoch of partition ${partition} went from ${before} to ${assignment.epoch}`);
      if (this.owned.has(partition)) this.#stage.faults.push(`${this.name} was assigned partition ${partition} twice`);
      this.#stage.epochs.set(partition, assignment.epoch);
    }
    return super.assigned(assignment);
  }

  override revoked(partitions: readonly number[]): void {
    super.revoked(partitions);
    for (const delivery of [...this.#executing.keys()]) if (partitions.includes(delivery.partition)) this.#end(delivery, false);
  }

  /** Leaves as a process does that stops: what it executes is its successor's. */
  async leave(): Promise<void> {
    for (const delivery of [...this.#executing.keys()]) this.#end(delivery, false);
    await this.consumption?.stop();
    this.owned.clear();
  }
}

async function enter(scene: KafkaScene, name: string, stage: Stage, change: Partial<KafkaLogOptions> = {}): Promise<{ readonly actor: Actor; readonly log: InvocationLog }> {
  const log = await scene.open(change);
  const actor = new Actor(name, stage, 20);
  actor.consumption = await log.consume(actor);
  return { actor, log };
}

/** Appends to all partitions, some at a time, until stopped. */
function load(log: InvocationLog): { readonly appended: Set<string>; stop(): Promise<void> } {
  const names = functionPerPartition(PARTITIONS, 'loaded-');
  const appended = new Set<string>();
  let running = true;
  const lane = async (first: number): Promise<void> => {
    for (let i = first; running; i++) {
      const record = invocation({ functionName: names[i % names.length] ?? '' });
      await log.append(record);
      appended.add(record.id);
      await pace(LOAD_PACE_MS);
    }
  };
  const lanes = [lane(0), lane(1), lane(2)];
  return {
    appended,
    async stop() {
      running = false;
      await Promise.all(lanes);
    },
  };
}

describe('kafka log: several controllers', { skip: kafka === undefined ? 'no Kafka can be reached or started' : false }, () => {
  const inScene = async (run: (scene: KafkaScene) => Promise<void>, partitions = PARTITIONS): Promise<void> => {
    const scene = await kafkaScene(kafka?.brokers ?? [], { partitions });
    try {
      await run(scene);
    } finally {
      await scene.dispose();
    }
  };

  it('share the partitions; one that joins takes as few as possible, and one that leaves gives them back at once', () =>
    inScene(async (scene) => {
      const stage = new Stage();
      const a = await enter(scene, 'a', stage);
      assert.equal(a.actor.owned.size, PARTITIONS);
      const before = new Map(a.actor.owned);
      const b = await enter(scene, 'b', stage);
      await until(() => a.actor.owned.size === 3 && b.actor.owned.size === 3);
      for (const [partition, epoch] of a.actor.owned) assert.equal(epoch, before.get(partition), 'what stays, stays under its epoch');
      const kept = new Map([...a.actor.owned, ...b.actor.owned]);
      const c = await enter(scene, 'c', stage);
      await until(() => [a, b, c].every(({ actor }) => actor.owned.size === 2));
      for (const { actor } of [a, b]) for (const [partition, epoch] of actor.owned) assert.equal(epoch, kept.get(partition));
      await c.actor.leave();
      await until(() => a.actor.owned.size + b.actor.owned.size === PARTITIONS);
      await b.actor.leave();
      await until(() => a.actor.owned.size === PARTITIONS);
      assert.deepEqual(stage.faults, []);
    }));

  it('lose nothing and execute nothing at the same time while others come and go under load', () =>
    inScene(async (scene) => {
      const stage = new Stage();
      const gateway = await scene.open();
      const a = await enter(scene, 'a', stage);
      const traffic = load(gateway);
      const atLeast = (count: number): Promise<void> => {
        const target = stage.settled.size + count;
        return until(() => stage.settled.size >= target);
      };
      await atLeast(300);
      const b = await enter(scene, 'b', stage);
      await atLeast(300);
      const c = await enter(scene, 'c', stage);
      await atLeast(300);
      await a.actor.leave();
      await atLeast(300);
      await c.actor.leave();
      await atLeast(300);
      await traffic.stop();
      await until(() => [...traffic.appended].every((id) => stage.settled.has(id)));
      assert.deepEqual(stage.faults, []);
      assert.deepEqual([...stage.settled].filter(([, count]) => count > 1), [], 'nothing that was settled is executed again');
      assert.ok(b.actor.owned.size === PARTITIONS);
    }));

  it('where there are more than partitions, some wait with none and take over', () =>
    inScene(async (scene) => {
      const stage = new Stage();
      const a = await enter(scene, 'a', stage);
      const b = await enter(scene, 'b', stage);
      const c = await enter(scene, 'c', stage);
      await until(() => [a, b, c].map(({ actor }) => actor.owned.size).sort().join() === '0,1,1');
      for (const one of [a, b]) await one.actor.leave();
      await until(() => c.actor.owned.size === 2);
      const record = invocation();
      await c.log.append(record);
      await until(() => stage.settled.has(record.id));
      assert.deepEqual(stage.faults, []);
    }, 2));

  it('one that is killed under load is taken over from: nothing is lost', () =>
    inScene(async (scene) => {
      const stage = new Stage();
      const gateway = await scene.open();
      const heir = await enter(scene, 'heir', stage);
      const victim = consumerProcess(scene);
      await until(() => victim.owned.size === PARTITIONS / 2);
      const traffic = load(gateway);
      await until(() => victim.settled.size > 300);
      await victim.kill();
      await until(() => heir.actor.owned.size === PARTITIONS);
      await traffic.stop();
      await until(() => [...traffic.appended].every((id) => stage.settled.has(id) || victim.settled.has(id)));
      assert.deepEqual(stage.faults, []);
      // What it had given out last and not committed comes again, and nothing else.
      const again = [...victim.settled].filter((id) => stage.settled.has(id)).length;
      assert.ok(again < 300, `${again} executed again`);
    }));

  it('one that is stopped in an orderly way hands over what it has settled: nothing of it comes again', () =>
    inScene(async (scene) => {
      const stage = new Stage();
      const gateway = await scene.open();
      const leaver = consumerProcess(scene);
      await until(() => leaver.owned.size === PARTITIONS);
      const traffic = load(gateway);
      await until(() => leaver.settled.size > 300);
      await traffic.stop();
      await until(() => [...traffic.appended].every((id) => leaver.settled.has(id)));
      await leaver.stop();
      const heir = await enter(scene, 'heir', stage);
      const markers = functionPerPartition(PARTITIONS).map((functionName) => invocation({ functionName }));
      for (const marker of markers) await gateway.append(marker);
      await until(() => markers.every(({ id }) => stage.settled.has(id)));
      assert.equal(heir.actor.deliveries.length, markers.length);
      assert.deepEqual(stage.faults, []);
    }));

  it('one that was held for longer than its session gives out nothing of what is another\'s by now, and goes on with the rest', () =>
    inScene(async (scene) => {
      const stage = new Stage();
      const gateway = await scene.open();
      const zombie = consumerProcess(scene);
      try {
        await until(() => zombie.owned.size === PARTITIONS);
        const traffic = load(gateway);
        await until(() => zombie.settled.size > 100);
        zombie.hold();
        const heir = await enter(scene, 'heir', stage);
        await until(() => heir.actor.owned.size === PARTITIONS);
        const epochs = new Map(heir.actor.owned);
        await until(() => stage.settled.size > 200);
        const saidBefore = zombie.said.length;
        zombie.goOn();
        await until(() => zombie.owned.size === PARTITIONS / 2 && heir.actor.owned.size === PARTITIONS / 2);
        await traffic.stop();
        await until(() => [...traffic.appended].every((id) => stage.settled.has(id) || zombie.settled.has(id)));
        const woken = zombie.said.slice(saidBefore);
        const stale = woken.filter((line) => {
          const [what, , partition, epoch] = line.split(' ');
          return what === 'D' && Number(epoch) < (epochs.get(Number(partition)) ?? 0);
        });
        assert.deepEqual(stale, [], 'given out after it woke up, under an epoch that had been passed over');
        assert.ok(woken.some((line) => line.startsWith('R ')), 'it was told');
        assert.deepEqual(stage.faults, []);
      } finally {
        await zombie.kill();
      }
    }));
});

interface ConsumerProcess {
  /** Stops the process, but not in the middle of giving something out, until `goOn`. */
  hold(): void;
  goOn(): void;
  readonly said: string[];
  readonly settled: Set<string>;
  readonly owned: Set<number>;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

function consumerProcess(scene: KafkaScene, partitions = PARTITIONS): ConsumerProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/kafka-consumer-process.ts'), scene.brokers.join(','), scene.prefix, String(partitions), '20'], { stdio: ['pipe', 'pipe', process.env.SLUICE_TEST_LOG === undefined ? 'ignore' : 'inherit'] });
  const gone = once(child, 'exit');
  const atExit = (): void => void child.kill('SIGKILL');
  process.once('exit', atExit);
  void gone.then(() => process.off('exit', atExit));
  const said: string[] = [];
  const settled = new Set<string>();
  const owned = new Set<number>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    said.push(line);
    const [what, name = ''] = line.split(' ');
    if (what === 'A') owned.add(Number(name));
    else if (what === 'R') owned.delete(Number(name));
    else if (what === 'S') settled.add(name);
  });
  return {
    hold: () => void child.stdin.write('hold\n'),
    goOn: () => void child.kill('SIGCONT'),
    said,
    settled,
    owned,
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
    async stop() {
      child.stdin.end('stop\n');
      await gone;
      assert.equal(said.at(-1), 'E');
    },
  };
}
