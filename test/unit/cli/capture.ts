import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { CommandContext } from '../../../cli/context.ts';
import { runCli } from '../../../cli/program.ts';

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line without a process, with nothing of this machine's environment. */
export async function cli(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<CliResult> {
  const out = collector();
  const err = collector();
  const context: CommandContext = { stdout: out.stream, stderr: err.stream, stdin: Readable.from([]), environment };
  const exitCode = await runCli(args, context);
  return { exitCode, stdout: out.text(), stderr: err.text() };
}

export function collector(): { readonly stream: Writable; readonly text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      chunks.push(chunk.toString('utf8'));
      callback();
    },
  });
  return { stream, text: () => chunks.join('') };
}

/** A folder that lives as long as the test, with files in it. */
export async function folderWith(t: TestContext, files: Readonly<Record<string, string | Buffer>> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-cli-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}
