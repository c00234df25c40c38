import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, link } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { readSettings, type Settings } from '../platform/configuration/settings.ts';
import type { InstanceOptions } from './context.ts';
import { CliError, EXIT } from './errors.ts';

/** What a running Sluice says of itself in `<data>/instance.json`, for commands in other terminals. */
export interface Instance {
  readonly pid: number;
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  readonly account: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly startedAtMs: number;
}

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const INSTANCE_FILE = 'instance.json';
const CREDENTIALS_FILE = 'credentials.json';
/** Only the owner may read what gives access. */
const PRIVATE_MODE = 0o600;
const PRIVATE_FOLDER_MODE = 0o700;
/** A server on this machine accepts at once or not at all. */
const CONNECT_TIMEOUT_MS = 1_000;

/** IAM's forms ("IAM identifiers"): AKIA and 16 of base 32; 40 characters of base 64. */
const ACCESS_KEY_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const ACCESS_KEY_RANDOM_LENGTH = 16;
const SECRET_BYTES = 30;

/** The data folder's credentials, made at the first call; two processes that make them at once get the same. */
export async function ensureCredentials(dataDir: string): Promise<Credentials> {
  await mkdir(dataDir, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  const file = join(dataDir, CREDENTIALS_FILE);
  const existing = await readJson<Credentials>(file);
  if (existing !== undefined) return checkedCredentials(existing, file);
  const random = Array.from({ length: ACCESS_KEY_RANDOM_LENGTH }, () => ACCESS_KEY_ALPHABET[randomInt(ACCESS_KEY_ALPHABET.length)]).join('');
  const made: Credentials = { accessKeyId: `AKIA${random}`, secretAccessKey: randomBytes(SECRET_BYTES).toString('base64') };
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writePrivate(draft, made);
  try {
    await link(draft, file); // fails where somebody else was first, unlike rename
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return checkedCredentials(await readJson<Credentials>(file), file);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Tells other terminals about a Sluice that now answers at `url`; the result withdraws that. */
export async function announceInstance(settings: Settings, url: string): Promise<{ readonly instance: Instance; readonly withdraw: () => Promise<void> }> {
  const { accessKeyId } = await ensureCredentials(settings.dataDir);
  const instance: Instance = {
    pid: process.pid,
    url,
    port: Number(new URL(url).port),
    dataDir: settings.dataDir,
    account: settings.account,
    region: settings.region,
    accessKeyId,
    startedAtMs: Date.now(),
  };
  // By data folder for --data, and by port for --port, which knows no folder.
  const files = [join(settings.dataDir, INSTANCE_FILE), portFile(settings.cacheDir, instance.port)];
  await mkdir(portFolder(settings.cacheDir), { recursive: true, mode: PRIVATE_FOLDER_MODE });
  for (const file of files) await writePrivate(file, instance);
  return {
    instance,
    async withdraw() {
      for (const file of files) {
        const current = await readJson<Instance>(file);
        if (current?.pid === instance.pid) await rm(file, { force: true });
      }
    },
  };
}

/** The settings of the environment, with what the command line says instead. */
export function settingsWith(environment: Readonly<Record<string, string | undefined>>, options: InstanceOptions): Settings {
  try {
    return readSettings({
      ...environment,
      ...(options.port === undefined ? {} : { SLUICE_PORT: String(options.port) }),
      ...(options.data === undefined ? {} : { SLUICE_DATA: options.data }),
    });
  } catch (error) {
    throw new CliError((error as Error).message, EXIT.usage);
  }
}

/** The running Sluice that the options and the environment mean. Rejects with a {@link CliError} where none answers. */
export async function findInstance(environment: Readonly<Record<string, string | undefined>>, options: InstanceOptions): Promise<Instance> {
  const settings = settingsWith(environment, options);
  const byPort = options.port !== undefined && options.data === undefined;
  const instance = await readJson<Instance>(byPort ? portFile(settings.cacheDir, settings.port) : join(settings.dataDir, INSTANCE_FILE));
  const sought = byPort ? `on port ${settings.port}` : `with data in ${settings.dataDir}`;
  if (instance === undefined || !(await isRunning(instance))) {
    throw new CliError(`No Sluice is running ${sought}. Start one with "npx sluice up", or say which with --port or --data.`, EXIT.noInstance);
  }
  if (options.port !== undefined && instance.port !== options.port) {
    throw new CliError(`The Sluice ${sought} listens on port ${instance.port}, not ${options.port}.`, EXIT.noInstance);
  }
  return instance;
}

/** Rejects with a {@link CliError} where a Sluice already runs on this data folder: only one at a time may use it. */
export async function refuseSecondInstance(settings: Settings): Promise<void> {
  const other = await readJson<Instance>(join(settings.dataDir, INSTANCE_FILE));
  if (other === undefined || other.pid === process.pid || !(await isRunning(other))) return;
  throw new CliError(`Sluice is already running at ${other.url} (process ${other.pid}) with data in ${settings.dataDir}. Stop it, or choose another folder and port: SLUICE_DATA, SLUICE_PORT.`);
}

/** A file outlives a process that was killed, and its number may be another's by now: only one that answers is running. */
async function isRunning(instance: Instance): Promise<boolean> {
  try {
    process.kill(instance.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const { hostname, port } = new URL(instance.url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), timeout: CONNECT_TIMEOUT_MS });
    const end = (answers: boolean): void => {
      socket.destroy();
      resolve(answers);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false)).once('timeout', () => end(false));
  });
}

function portFolder(cacheDir: string): string {
  return join(cacheDir, 'instances');
}

function portFile(cacheDir: string, port: number): string {
  return join(portFolder(cacheDir), `${port}.json`);
}

async function writePrivate(file: string, value: unknown): Promise<void> {
  const draft = `${file}.new`;
  await rm(draft, { force: true });
  const handle = await open(draft, 'wx', PRIVATE_MODE);
  try {
    await handle.writeFile(`${JSON.stringify(value, undefined, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}

/** The document, or undefined where there is no file or it is not JSON. */
async function readJson<Document>(file: string): Promise<Document | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Document;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function checkedCredentials(read: Credentials | undefined, file: string): Credentials {
  if (typeof read?.accessKeyId === 'string' && typeof read.secretAccessKey === 'string') return read;
  throw new CliError(`${file} does not hold an accessKeyId and a secretAccessKey. Remove it; the next start makes new ones.`);
}
