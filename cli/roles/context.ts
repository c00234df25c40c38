import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { SETTINGS, type Settings } from '../../platform/configuration/settings.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { CliError, EXIT } from '../errors.ts';

/** Ended in the opposite order of their opening. */
export class Closers {
  readonly #closers: (() => Promise<void> | void)[] = [];

  add(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

/** What roles in processes of their own share: each is opened by the role that needs it. */
export interface RoleContext {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly closers: Closers;
}

/** The secret that gateways and controllers share. */
export function sharedSecret(settings: Settings): string {
  if (settings.secret !== undefined) return settings.secret;
  throw new CliError('SLUICE_SECRET is not set; the processes of one Sluice know each other by it. Give all of them the same, for example from "openssl rand -hex 32".', EXIT.usage);
}

/** A name for this process among its like. */
export function processName(role: string): string {
  return `${role}-${hostname()}-${randomBytes(4).toString('hex')}`;
}

/** Only its owner may look into the data folder. */
export async function makePrivateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
}

export async function readPem(setting: 'kafkaCaFile' | 'kafkaCertFile' | 'kafkaKeyFile' | 's3CaFile' | 'redisCaFile', file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CliError(`${SETTINGS[setting].variable}=${file} cannot be read: ${(error as Error).message}.`);
  }
}

/** Forms of the settings' values that name a service for several processes. */
const SHARED = { log: 'kafka://host:port', store: 's3://host:port', cache: 'redis://host:port' } as const;

/** Throws a {@link CliError} for the first of these settings whose service serves one process only: before anything is opened. */
export function needShared(settings: Settings, names: readonly (keyof typeof SHARED)[]): void {
  for (const name of names) {
    const { variable, defaultText } = SETTINGS[name];
    if (settings[name] !== defaultText) continue;
    throw new CliError(`${variable}=${defaultText} serves one process only; roles in processes of their own need ${variable}=${SHARED[name]}. "sluice up" runs everything in one process.`, EXIT.usage);
  }
}

/**
 * As Promise.all, but not before each has come to its end: what one has opened when another fails is in the closers by then, and nothing is left open.
 */
export async function together<Opened extends readonly unknown[]>(...opening: { readonly [Index in keyof Opened]: Promise<Opened[Index]> }): Promise<Opened> {
  const outcomes = await Promise.allSettled(opening);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<unknown>).value) as unknown as Opened;
}
