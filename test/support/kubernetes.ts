import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { buildImages } from './images.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** Why the chart cannot be installed here; undefined: it can. */
export async function whyNoCluster(): Promise<string | undefined> {
  for (const [what, command] of [['kubectl', ['kubectl', 'version', '--client']], ['helm', ['helm', 'version']], ['a cluster (KUBECONFIG)', ['kubectl', 'get', 'nodes']]] as const) {
    const [program = '', ...args] = command;
    try {
      await run(program, args, { timeout: 20_000 });
    } catch {
      return `${what} is not there`;
    }
  }
  if (process.env['E2E_IMAGE_TAG'] === undefined && process.env['E2E_LOAD_IMAGE'] === undefined) {
    return 'neither E2E_LOAD_IMAGE says how an image that is built here gets into the cluster (such as "kind load docker-image"), nor E2E_IMAGE_TAG which one it has';
  }
  return undefined;
}

/** Tag of the three images in the cluster: made and loaded here, unless E2E_IMAGE_TAG names what is there. Of another state's folder they are always made. */
export async function images(folder?: string): Promise<string> {
  const given = process.env['E2E_IMAGE_TAG'];
  if (given !== undefined && folder === undefined) return given;
  const tag = `e2e-${randomBytes(4).toString('hex')}`;
  for (const image of await buildImages(tag, folder)) await load(image);
  return tag;
}

/** Builds an image from a folder and brings it into the cluster. */
export async function loadedImage(name: string, folder: string): Promise<void> {
  await run('docker', ['build', '--network', 'host', '--tag', name, folder], { maxBuffer: OUTPUT_BYTES_MAX });
  await load(name);
}

async function load(image: string): Promise<void> {
  const [loader = '', ...loaderArgs] = (process.env['E2E_LOAD_IMAGE'] ?? '').split(' ');
  await run(loader, [...loaderArgs, image], { maxBuffer: OUTPUT_BYTES_MAX });
  await run('docker', ['image', 'rm', image]);
}

export async function kubectl(...args: readonly string[]): Promise<string> {
  return (await run('kubectl', args, { maxBuffer: OUTPUT_BYTES_MAX })).stdout;
}

/** Applies objects, as `kubectl apply -f -`. */
export async function apply(object: object): Promise<void> {
  const child = spawn('kubectl', ['apply', '-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  child.stdin.end(JSON.stringify(object));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`kubectl apply: ${Buffer.concat(said).toString()}`);
}

export interface SeenPod {
  readonly name: string;
  readonly phase: string;
  readonly ready: boolean;
  readonly leaving: boolean;
  readonly state: string;
  readonly function: string;
}

/** One release of the chart under a name and in namespaces of its own. */
export class ReleasedSluice {
  readonly namespace = `sluice-e2e-${randomBytes(3).toString('hex')}`;
  readonly functionsNamespace = `${this.namespace}-functions`;
  url = '';
  #forward: ChildProcess | undefined;

  /** `chart`: a folder; this project's by default. */
  async install(values: readonly string[], chart?: string): Promise<void> {
    await this.#helm('install', ['--create-namespace', ...sets(values)], chart);
    this.url = await this.#reach();
  }

  /** `reuse`: whether the values given before hold besides. */
  async upgrade(values: readonly string[], { reuse = true, chart }: { readonly reuse?: boolean; readonly chart?: string } = {}): Promise<void> {
    await this.#helm('upgrade', [...(reuse ? ['--reuse-values'] : []), ...sets(values)], chart);
  }

  async #helm(command: 'install' | 'upgrade', args: readonly string[], chart = join(ROOT, 'charts', 'sluice')): Promise<void> {
    await run('helm', [command, 'sluice', chart, '--namespace', this.namespace, '--wait', '--timeout', '5m', ...args], { maxBuffer: OUTPUT_BYTES_MAX });
  }

  /** `helm test`; resolves to what it says. */
  async test(): Promise<string> {
    return (await run('helm', ['test', 'sluice', '--namespace', this.namespace, '--logs', '--timeout', '3m'])).stdout;
  }

  async uninstall(): Promise<void> {
    this.#forward?.kill();
    await run('helm', ['uninstall', 'sluice', '--namespace', this.namespace, '--wait', '--timeout', '5m']);
  }

  async pods(selector = ''): Promise<readonly SeenPod[]> {
    const { items } = JSON.parse(await kubectl('get', 'pods', '--namespace', this.functionsNamespace, '--selector', selector, '--output', 'json')) as {
      items: { metadata: { name: string; labels: Record<string, string>; deletionTimestamp?: string }; status: { phase: string; conditions?: { type: string; status: string }[] } }[];
    };
    return items.map(({ metadata, status }) => ({
      name: metadata.name,
      phase: status.phase,
      ready: status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true,
      leaving: metadata.deletionTimestamp !== undefined,
      state: metadata.labels['sluice.dev/state'] ?? '',
      function: metadata.labels['sluice.dev/function'] ?? '',
    }));
  }

  /** Names of pods of a role or bundled service. */
  async podsOf(component: string): Promise<readonly string[]> {
    const names = await kubectl('get', 'pods', '--namespace', this.namespace, '--selector', `app.kubernetes.io/component=${component}`, '--field-selector', 'status.phase=Running', '--output', 'name');
    return names.split('\n').filter((name) => name !== '').map((name) => name.replace('pod/', ''));
  }

  /** Sum over all controllers of a metric, by the value of a label. */
  async controllerMetric(name: string): Promise<number> {
    let sum = 0;
    for (const pod of await this.podsOf('controller')) {
      const text = await kubectl('exec', '--namespace', this.namespace, pod, '--container', 'controller', '--', 'node', '-e', "fetch('http://127.0.0.1:9401/metrics').then(r=>r.text()).then(t=>console.log(t))");
      for (const line of text.split('\n')) if (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) sum += Number(line.slice(line.lastIndexOf(' ')));
    }
    return sum;
  }

  /** The gateways' Service where this machine reaches it; through kubectl otherwise. */
  async #reach(): Promise<string> {
    const address = (await kubectl('get', 'service', 'sluice-gateway', '--namespace', this.namespace, '--output', 'jsonpath={.spec.clusterIP}')).trim();
    if (await connects(address, 9400)) return `http://${address}:9400`;
    const forward = spawn('kubectl', ['port-forward', '--namespace', this.namespace, 'service/sluice-gateway', ':9400'], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#forward = forward;
    for await (const line of createInterface({ input: forward.stdout })) {
      const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port !== undefined) return `http://127.0.0.1:${port}`;
    }
    throw new Error('kubectl port-forward ended without a port.');
  }
}

function sets(values: readonly string[]): string[] {
  return values.flatMap((value) => ['--set', value]);
}

function connects(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 });
    const done = (yes: boolean) => (): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', done(true)).once('error', done(false)).once('timeout', done(false));
  });
}
