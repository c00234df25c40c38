import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface RedisServerOptions {
  readonly port?: number;
  readonly tls?: Certificate;
  /** Further lines of redis.conf. */
  readonly config?: readonly string[];
}

/** A redis-server process of the test's own, on loopback, with a folder of its own that goes with it. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** Ends it by SIGKILL. */
  kill(): Promise<void>;
}

/** Certificate and key as files, and the certificate's text; it is its own authority. */
export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly pem: string;
  remove(): Promise<void>;
}

/** Why tests that need a Redis of their own are skipped, or false; said loudly, once. */
export const NO_REDIS_SERVER: string | false = missing('redis-server', '--version');
export const NO_OPENSSL: string | false = missing('openssl', 'version');

function missing(command: string, argument: string): string | false {
  try {
    execFileSync(command, [argument], { stdio: 'ignore' });
    return false;
  } catch {
    const reason = `There is no command ${command}: tests that start a Redis of their own are skipped. Install it to run them.`;
    process.stderr.write(`${reason}\n`);
    return reason;
  }
}

/** Another process may take a free port before its server does. */
const PORT_ATTEMPTS_MAX = 5;

/** Resolves once it accepts connections. */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      return await start(port, options);
    } catch (error) {
      if (attempt === PORT_ATTEMPTS_MAX || options.port !== undefined) throw error;
    }
  }
}

async function start(port: number, { tls, config = [] }: RedisServerOptions): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-redis-'));
  const lines = [
    'bind 127.0.0.1',
    'save ""',
    `dir ${folder}`,
    ...(tls === undefined ? [`port ${port}`] : ['port 0', `tls-port ${port}`, `tls-cert-file ${tls.certificateFile}`, `tls-key-file ${tls.keyFile}`, `tls-ca-cert-file ${tls.certificateFile}`]),
    // By standard input, so that no password stands on a command line.
    ...config,
  ];
  const child = spawn('redis-server', ['-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(`${lines.join('\n')}\n`);
  const atExit = (): void => void child.kill('SIGKILL');
  process.once('exit', atExit);
  const ended = once(child, 'exit').then(async () => {
    process.off('exit', atExit);
    await rm(folder, { recursive: true });
  });
  await ready(child);
  return {
    port,
    url: `${tls === undefined ? 'redis' : 'rediss'}://127.0.0.1:${port}`,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

async function ready(child: ChildProcess & { readonly stdout: NonNullable<ChildProcess['stdout']> }): Promise<void> {
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (line.includes('Ready to accept connections')) {
      child.stdout.resume();
      return;
    }
  }
  throw new Error(`redis-server did not start:\n${said.join('\n')}`);
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A certificate for 127.0.0.1, made by openssl, that is its own authority. */
export async function makeCertificate(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-redis-tls-'));
  const certificateFile = join(folder, 'certificate.pem');
  const keyFile = join(folder, 'key.pem');
  const subject = ['-subj', '/CN=sluice test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', ...subject, '-keyout', keyFile, '-out', certificateFile]);
  return { certificateFile, keyFile, pem: await readFile(certificateFile, 'utf8'), remove: () => rm(folder, { recursive: true }) };
}

/** Resolves when the condition holds. For what only looking can tell; a test that waits in vain is ended by its time limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(5);
}
