/**
 * `npm run bench`: Sluice beside its floors and its nearest peer, in one run on one machine. It reports and never judges: its exit code
 * says whether everything could be measured, not whether a target was reached.
 */
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { installPeers } from './install.ts';
import { machine } from './machine.ts';
import { asynchronous } from './parts/async.ts';
import { cold } from './parts/cold.ts';
import { express } from './parts/express.ts';
import { idle } from './parts/idle.ts';
import { kafka } from './parts/kafka.ts';
import { kubernetes } from './parts/kubernetes.ts';
import { scale } from './parts/scale.ts';
import { warm } from './parts/warm.ts';
import { profileUnder, type ProfiledLoad } from './profile.ts';
import { joinReports, renderMarkdown, renderText, type PartReport, type Report } from './report.ts';

type Part = (say: (what: string) => void) => Promise<PartReport>;

/** In the order in which they run. */
const PARTS: Readonly<Record<string, Part>> = { warm, cold, idle, scale, async: asynchronous, express };
const NEEDS_PEERS: readonly string[] = ['warm'];

interface Options {
  readonly only?: readonly string[];
  readonly output: 'text' | 'json';
  readonly markdown?: string;
  readonly profile?: ProfiledLoad | true;
  readonly drivers: 'embedded' | 'kafka' | 'kubernetes';
  readonly backlog: number;
}

function progress(part: string): (what: string) => void {
  const startedAt = Date.now();
  return (what) => process.stderr.write(`${part}: ${what} (${((Date.now() - startedAt) / 1000).toFixed(0)} s)\n`);
}

async function measure(all: Readonly<Record<string, Part>>, names: readonly string[]): Promise<Report> {
  const parts: PartReport[] = [];
  for (const name of names) {
    try {
      if (NEEDS_PEERS.includes(name)) await installPeers();
      const part = all[name];
      if (part !== undefined) parts.push(await part(progress(name)));
    } catch (error) {
      parts.push({ tables: [], targets: [], notes: [], failures: [`${name}: ${(error as Error).message}`] });
    }
  }
  return { takenAt: new Date().toISOString(), machine: machine(), ...joinReports(parts) };
}

async function main(options: Options): Promise<void> {
  if (options.profile !== undefined) {
    process.stdout.write(await profileUnder(options.profile === true ? 'warm' : options.profile, progress('profile')));
    return;
  }
  const all: Readonly<Record<string, Part>> = { ...PARTS, kafka: (say) => kafka(say, options.backlog), kubernetes };
  const report = await measure(all, options.drivers === 'embedded' ? (options.only ?? Object.keys(PARTS)) : [options.drivers]);
  process.stdout.write(options.output === 'json' ? `${JSON.stringify(report, undefined, 2)}\n` : renderText(report));
  if (options.markdown !== undefined) await writeFile(options.markdown, renderMarkdown(report));
  process.exitCode = report.failures.length === 0 ? 0 : 1;
}

const options = new Command('npm run bench --')
  .description('Measures Sluice beside a bare server, the Runtime API alone and serverless-offline. Takes about four minutes.')
  .addOption(new Option('--only <parts...>', 'run only these parts').choices(Object.keys(PARTS)))
  .addOption(new Option('--drivers <drivers>', 'embedded: everything in one process; kafka: three processes on Kafka, MinIO and Redis, whose addresses the environment names; kubernetes: the chart on the cluster of KUBECONFIG').choices(['embedded', 'kafka', 'kubernetes']).default('embedded'))
  .addOption(new Option('--backlog <events>', 'with --drivers kafka: how many events are queued and drained').argParser(Number).default(1_000_000))
  .addOption(new Option('--output <format>', 'what to print').choices(['text', 'json']).default('text'))
  .option('--markdown <file>', 'write the tables for the documentation as well')
  .addOption(new Option('--profile [load]', 'instead of measuring, write a CPU profile of Sluice under load and print where the time goes').choices(['warm', 'async']))
  .parse()
  .opts<Options>();
await main(options);
