import type { Settings } from '../platform/configuration/settings.ts';
import { printLine, type CommandContext } from './context.ts';
import type { Embedded } from './embedded.ts';
import { CliError } from './errors.ts';

/** Starts Sluice in this process; a port or a folder that cannot be had is a {@link CliError} that names the setting to change. */
export async function startHere(settings: Settings, context: CommandContext): Promise<Embedded> {
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
