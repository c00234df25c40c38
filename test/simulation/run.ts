import { parseArgs } from 'node:util';
import { bigScenario, changingHandsScenario, neighbourScenario, smallScenario, type Scenario } from './scenario.ts';
import { simulate } from './world.ts';

const HELP = `Runs the scheduler in simulated worlds and checks the invariants of ARCHITECTURE.md.

  node test/simulation/run.ts [--seeds N] [--from SEED] [--seconds S] [--world small|hands|neighbour|big]
  node test/simulation/run.ts --seed SEED [--world …]

  --seed SEED     run this one and print what came of it: a failing seed replays exactly
  --seeds N       run N seeds (1,000)
  --from SEED     beginning with this one (1)
  --seconds S     and stop after S seconds (60)
  --world NAME    small: much goes wrong (default); hands: the same while functions change owners; neighbour: a full pool and one greedy function;
                  big: 10,000 functions, 1,000,000 invocations, some seconds each
  --help          this text

Ends with exit code 1 at the first seed that breaks an invariant, and prints it.
`;

const WORLDS: Readonly<Record<string, (seed: number) => Scenario>> = { small: smallScenario, hands: changingHandsScenario, neighbour: neighbourScenario, big: bigScenario };

function main(): number {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' }, seeds: { type: 'string', default: '1000' }, from: { type: 'string', default: '1' }, seconds: { type: 'string', default: '60' },
      world: { type: 'string', default: 'small' }, help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const world = WORLDS[values.world];
  const numbers = [values.seed ?? '0', values.seeds, values.from, values.seconds].map(Number);
  if (world === undefined || numbers.some((number) => !Number.isInteger(number) || number < 0)) {
    process.stderr.write(HELP);
    return 2;
  }
  const [seed = 0, seeds = 0, from = 0, seconds = 0] = numbers;
  if (values.seed !== undefined) return run(world, values.world, seed, true) ? 0 : 1;
  const untilMs = performance.now() + seconds * 1_000;
  let done = 0;
  while (done < seeds && performance.now() < untilMs) {
    if (!run(world, values.world, from + done, false)) return 1;
    done++;
  }
  process.stdout.write(`${done} seeds from ${from} on: every invariant holds.\n`);
  return 0;
}

/** Whether the seed breaks nothing. */
function run(world: (seed: number) => Scenario, name: string, seed: number, verbose: boolean): boolean {
  try {
    const result = simulate(world(seed));
    if (verbose) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
    return true;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nreplay it with: node test/simulation/run.ts --world ${name} --seed ${seed}\n`);
    return false;
  }
}

process.exitCode = main();
