import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildImages } from './images.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
/** Apart from images that somebody uses. */
const IMAGE_TAG = 'e2e';
const BASE_IMAGE = 'node:24-bookworm-slim';
/** Grafana is left out: nothing here asks it anything. */
export const TESTED_SERVICES = ['gateway', 'prometheus'];
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** Why Docker cannot be used for docker-compose.yml here; undefined: it can. */
export async function whyNoCompose(): Promise<string | undefined> {
  try {
    await run('docker', ['info']);
  } catch (error) {
    return `no Docker daemon answers: ${lastLine(error)}`;
  }
  try {
    await run('docker', ['compose', 'version']);
  } catch {
    return 'docker compose is not installed';
  }
  const { parse } = await import('yaml');
  const { services } = parse(await readFile(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as { readonly services: Readonly<Record<string, { readonly image: string }>> };
  const images = ['kafka', 'minio', 'redis', 'prometheus'].map((name) => services[name]?.image ?? name);
  for (const image of [BASE_IMAGE, ...images]) {
    try {
      await run('docker', ['image', 'inspect', image]);
    } catch {
      return `the image ${image} is not on this machine (docker pull ${image})`;
    }
  }
  return undefined;
}

/** A Sluice of docker-compose.yml under a name of its own, with secrets and ports of its own. */
export class ComposedSluice {
  readonly project = `sluice-e2e-${randomBytes(4).toString('hex')}`;
  readonly url: string;
  readonly prometheusUrl: string;
  readonly #folder: string;

  private constructor(folder: string, frontPort: number, prometheusPort: number) {
    this.#folder = folder;
    this.url = `http://127.0.0.1:${frontPort}`;
    this.prometheusUrl = `http://127.0.0.1:${prometheusPort}`;
  }

  /** Builds the images and makes the secrets; nothing runs yet. */
  static async prepare(): Promise<ComposedSluice> {
    await buildImages(IMAGE_TAG);
    const folder = await mkdtemp(join(tmpdir(), 'sluice-compose-'));
    const [frontPort = 0, prometheusPort = 0] = await freePorts(2);
    const sluice = new ComposedSluice(folder, frontPort, prometheusPort);
    await run('sh', [join(ROOT, 'deploy', 'make-env.sh'), sluice.#envFile]);
    const choices = { SLUICE_FRONT_PORT: `127.0.0.1:${frontPort}`, SLUICE_PROMETHEUS_PORT: `127.0.0.1:${prometheusPort}`, SLUICE_IMAGE_TAG: IMAGE_TAG };
    await writeFile(sluice.#envFile, Object.entries(choices).map(([name, value]) => `${name}=${value}\n`).join(''), { flag: 'a' });
    return sluice;
  }

  get #envFile(): string {
    return join(this.#folder, 'env');
  }

  /** `docker compose ARGS`; resolves to its standard output. */
  async compose(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('docker', ['compose', '--file', join(ROOT, 'docker-compose.yml'), '--env-file', this.#envFile, '--project-name', this.project, ...args], { maxBuffer: OUTPUT_BYTES_MAX });
    return stdout;
  }

  /** Starts what is not running, and resolves when everything is healthy. */
  async up(scale: Readonly<Record<string, number>>): Promise<void> {
    await this.compose('up', '--detach', '--no-build', '--wait', ...Object.entries(scale).flatMap(([role, count]) => ['--scale', `${role}=${count}`]), ...TESTED_SERVICES);
  }

  /** Container names of a service. */
  async containers(service: string): Promise<readonly string[]> {
    const lines = (await this.compose('ps', '--all', '--format', '{{.Name}}', service)).split('\n');
    return lines.filter((line) => line !== '').sort();
  }

  async exitCode(container: string): Promise<number> {
    return Number((await run('docker', ['inspect', '--format', '{{.State.ExitCode}}', container])).stdout);
  }

  /** SIGKILL, as a machine that goes down. */
  async kill(container: string): Promise<void> {
    await run('docker', ['kill', container]);
  }

  async start(container: string): Promise<void> {
    await run('docker', ['start', container]);
  }

  /** Everything of the project goes, data included; what is left, by name: nothing. */
  async down(): Promise<readonly string[]> {
    await this.compose('down', '--volumes', '--timeout', '60');
    const label = `label=com.docker.compose.project=${this.project}`;
    const left = await Promise.all([['ps', '--all', '--quiet'], ['volume', 'ls', '--quiet'], ['network', 'ls', '--quiet']].map((args) => run('docker', [...args, '--filter', label])));
    await rm(this.#folder, { recursive: true, force: true });
    return left.flatMap(({ stdout }) => stdout.split('\n').filter((line) => line !== ''));
  }

  /** The samples that Prometheus has for a query now. Rejects where it does not understand it. */
  async query(expression: string): Promise<readonly { readonly metric: Readonly<Record<string, string>>; readonly value: number }[]> {
    const response = await fetch(`${this.prometheusUrl}/api/v1/query?${new URLSearchParams({ query: expression }).toString()}`);
    const answer = (await response.json()) as { readonly status: string; readonly error?: string; readonly data?: { readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[] } };
    if (answer.data === undefined) throw new Error(`Prometheus: ${expression}: ${answer.error ?? response.status}`);
    return answer.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function lastLine(error: unknown): string {
  return ((error as { stderr?: string }).stderr ?? '').trim().split('\n').at(-1) || (error as Error).message;
}
