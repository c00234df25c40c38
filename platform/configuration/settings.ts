import { availableParallelism, homedir, totalmem } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import type { LogLevel } from '../telemetry/logger.ts';

/** Every setting of a running Sluice, parsed and checked. Names of variables and their meaning: {@link SETTINGS}. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly cacheDir: string;
  readonly account: string;
  readonly region: string;
  readonly logLevel: LogLevel;
  readonly accountConcurrency: number;
  readonly asyncRetryBaseMs: number;
  readonly keepAliveMinMs: number;
  readonly keepAliveMaxMs: number;
  readonly maxEnvironments: number;
  readonly maxEnvironmentMemoryMiB: number;
  readonly prestartedPerRuntime: number;
  readonly maxWaitingSync: number;
  readonly python: string;
}

/** One row of the configuration reference. */
export interface Setting<Value> {
  readonly variable: string;
  readonly description: string;
  /** As the operator would write it; shown in the reference. */
  readonly defaultText: string;
  /** Where the default follows from the machine: how, in words, for the reference. */
  readonly machineDefault?: string;
  /** Throws an Error whose message says what is allowed. */
  readonly parse: (text: string) => Value;
}

export type SettingsTable = { readonly [Name in keyof Settings]: Setting<Settings[Name]> };

const MIB = 1024 * 1024;

export const SETTINGS: SettingsTable = {
  host: text('SLUICE_HOST', '127.0.0.1', 'Address that the gateway listens on.', /^\S+$/, 'an address or host name'),
  port: integer('SLUICE_PORT', 9400, 0, 65_535, 'Port that the gateway listens on; 0 takes a free one.'),
  dataDir: path('SLUICE_DATA', '~/.sluice', 'Folder for everything that must survive a restart. One Sluice at a time uses it.'),
  cacheDir: path('SLUICE_CACHE_DIR', `${process.env.XDG_CACHE_HOME ?? '~/.cache'}/sluice`, 'Folder for what can be made again: Python runtimes, compile caches.', '`$XDG_CACHE_HOME/sluice` or `~/.cache/sluice`'),
  account: text('SLUICE_ACCOUNT', '000000000000', 'Account id in every ARN.', /^\d{12}$/, 'twelve digits'),
  region: text('SLUICE_REGION', 'us-east-1', 'Region in every ARN.', /^[a-z]{2}(-[a-z]+)+-\d$/, 'a region such as us-east-1'),
  logLevel: oneOf('SLUICE_LOG_LEVEL', ['debug', 'info', 'warn', 'error', 'silent'], 'warn', 'How much the platform says on standard error.'),
  accountConcurrency: integer('SLUICE_ACCOUNT_CONCURRENCY', 1_000, 1, 1_000_000, 'Invocations that may run at once in the account (Lambda quotas: 1,000).'),
  asyncRetryBaseMs: integer('SLUICE_ASYNC_RETRY_BASE_MS', 60_000, 1, 3_600_000, 'Delay before the first retry of a failed asynchronous invocation; the second waits twice as long.'),
  keepAliveMinMs: integer('SLUICE_KEEP_ALIVE_MIN_MS', 60_000, 0, 86_400_000, 'An idle environment is kept at least this long.'),
  keepAliveMaxMs: integer('SLUICE_KEEP_ALIVE_MAX_MS', 900_000, 0, 86_400_000, 'An idle environment is kept at most this long, however regularly its function is called.'),
  maxEnvironments: integer('SLUICE_MAX_ENVIRONMENTS', Math.max(16, availableParallelism() * 32), 1, 100_000, 'Environments that this machine may host at once.', '32 per core, at least 16'),
  maxEnvironmentMemoryMiB: integer('SLUICE_MAX_ENVIRONMENT_MEMORY_MIB', Math.max(1_024, Math.floor((totalmem() / MIB) * 4)), 128, 100_000_000, 'Sum of MemorySize over all environments that this machine may host; above the real memory, since few functions fill theirs.', '4 times the real memory'),
  prestartedPerRuntime: integer('SLUICE_PRESTARTED', 2, 0, 100, 'Processes started ahead for each runtime in use; 0 turns it off.'),
  maxWaitingSync: integer('SLUICE_MAX_WAITING_SYNC', 10_000, 1, 1_000_000, 'Synchronous callers that may wait at once; further ones are throttled.'),
  python: text('SLUICE_PYTHON', 'python3', 'Python interpreter that runs python3.x functions.', /^\S.*$/, 'a command or path'),
};

/** A setting is wrong. The message names the variable, its value and what is allowed. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

/**
 * Reads the settings from an environment. Throws {@link SettingsError} for a value out of bounds and for an unknown variable that
 * begins with `SLUICE_`, since that is a misspelt one.
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const known = new Set(Object.values(SETTINGS).map((setting) => setting.variable));
  for (const variable of Object.keys(environment)) {
    if (variable.startsWith('SLUICE_') && !known.has(variable)) {
      throw new SettingsError(`${variable} is not a setting of Sluice. Known settings: ${[...known].sort().join(', ')}.`);
    }
  }
  const read = <Name extends keyof Settings>(name: Name): Settings[Name] => {
    const setting = SETTINGS[name];
    const value = environment[setting.variable];
    if (value === undefined || value === '') return setting.parse(setting.defaultText);
    try {
      return setting.parse(value);
    } catch (error) {
      throw new SettingsError(`${setting.variable}=${value} is not valid: ${(error as Error).message}.`);
    }
  };
  const settings = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, read(name as keyof Settings)])) as unknown as Settings;
  if (settings.keepAliveMaxMs < settings.keepAliveMinMs) {
    throw new SettingsError(`SLUICE_KEEP_ALIVE_MAX_MS=${settings.keepAliveMaxMs} is below SLUICE_KEEP_ALIVE_MIN_MS=${settings.keepAliveMinMs}; raise the one or lower the other.`);
  }
  return settings;
}

function integer(variable: string, byDefault: number, min: number, max: number, description: string, machineDefault?: string): Setting<number> {
  return {
    variable,
    description,
    ...(machineDefault === undefined ? {} : { machineDefault }),
    defaultText: String(byDefault),
    parse(value) {
      const number = Number(value);
      if (!/^\d+$/.test(value) || number < min || number > max) throw new Error(`give a whole number from ${min} to ${max}`);
      return number;
    },
  };
}

function text(variable: string, byDefault: string, description: string, pattern: RegExp, form: string): Setting<string> {
  return {
    variable,
    description,
    defaultText: byDefault,
    parse(value) {
      if (!pattern.test(value)) throw new Error(`give ${form}`);
      return value;
    },
  };
}

function path(variable: string, byDefault: string, description: string, machineDefault?: string): Setting<string> {
  return {
    variable,
    description,
    ...(machineDefault === undefined ? {} : { machineDefault }),
    defaultText: byDefault,
    parse(value) {
      const expanded = value.replace(/^~(?=\/|$)/, homedir());
      return isAbsolute(expanded) ? expanded : resolve(expanded);
    },
  };
}

function oneOf<Choice extends string>(variable: string, choices: readonly Choice[], byDefault: Choice, description: string): Setting<Choice> {
  return {
    variable,
    description,
    defaultText: byDefault,
    parse(value) {
      const choice = choices.find((candidate) => candidate === value);
      if (choice === undefined) throw new Error(`give one of ${choices.join(', ')}`);
      return choice;
    },
  };
}
