import type { Settings } from '../platform/configuration/settings.ts';
import { printLine, type CommandContext } from './context.ts';
import type { Embedded } from './embedded.ts';
import { CliError } from './errors.ts';
import { announceInstance, refuseSecondInstance, type Instance } from './instance.ts';
import { untilStopRequested } from './stop-request.ts';

export interface Serving {
  readonly sluice: Embedded;
  readonly instance: Instance;
  /** Resolves at Ctrl-C or SIGTERM. */
  readonly stopRequested: Promise<void>;
}

/** Starts Sluice in this process, tells other terminals about it while `serve` runs, and stops it when that has settled. */
export async function serveHere(settings: Settings, context: CommandContext, serve: (serving: Serving) => Promise<void>): Promise<void> {
  await refuseSecondInstance(settings);
  const sluice = await startHere(settings, context);
  // Not before: a signal during the start ends the process at once, and the data folder outlives that.
  const stopRequested = untilStopRequested();
  try {
    const { instance, withdraw } = await announceInstance(settings, sluice.url);
    try {
      await serve({ sluice, instance, stopRequested });
      printLine(context.stderr, 'Stopping …');
    } finally {
      await withdraw();
    }
  } finally {
    await sluice.stop();
  }
}

/** A port or a folder that cannot be had is a {@link CliError} that names the setting to change. */
async function startHere(settings: Settings, context: CommandContext): Promise<Embedded> {
  const { startEmbedded } = await import('./embedded.ts');
  try {
    return await startEmbedded(settings, { onProgress: (message) => printLine(context.stderr, message) });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new CliError(`Port ${settings.port} on ${settings.host} is in use by another program. Choose another with SLUICE_PORT=${settings.port + 1}, or stop that program.`);
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL') {
      throw new CliError(`Sluice cannot start with SLUICE_HOST=${settings.host}, SLUICE_PORT=${settings.port} and SLUICE_DATA=${settings.dataDir}: ${message}.`);
    }
    throw error;
  }
}
