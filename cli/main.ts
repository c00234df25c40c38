import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { readSettings } from '../platform/configuration/settings.ts';

// Before anything large is loaded: what was compiled once is read from the disk the next time.
try {
  enableCompileCache(join(readSettings(process.env).cacheDir, 'compile'));
} catch {
  // A wrong setting: the command that needs the settings says so.
}

// `sluice list | head -1`: the reader has what it wanted, so there is nothing more to do or to complain about.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

// kafkajs sets a timer of a negative length where it has nothing to wait for. Node tells of the first one, and nobody can do anything about it.
const printers = process.listeners('warning');
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'TimeoutNegativeWarning') for (const print of printers) print(warning);
});

const { runCli } = await import('./program.ts');
process.exitCode = await runCli(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, stdin: process.stdin, environment: process.env });
