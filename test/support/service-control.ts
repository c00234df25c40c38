import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whoever started the real services, able to kill them and to bring them back. */
export interface ServiceControl {
  /** Kills at once, like a crash; the data stays. */
  kill(name: string): Promise<void>;
  /** Starts it, with the data that it had; resolves when it answers. */
  start(name: string): Promise<void>;
}

/**
 * By `SERVICES_CONTROL`: a command that understands `kill NAME` and `up NAME` for `kafka`, `minio`, `redis` and, for a cluster, `kafka3-1` to `kafka3-3`. Undefined without it: faults of
 * services are skipped then.
 */
export function serviceControl(): ServiceControl | undefined {
  const command = process.env['SERVICES_CONTROL'];
  if (command === undefined || command === '') return undefined;
  return {
    kill: async (name) => void (await run(command, ['kill', name])),
    start: async (name) => void (await run(command, ['up', name])),
  };
}
