import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './redis-server.ts';

/** A MinIO of the test's own, whose disk is so small that it can be filled. */
export interface MinioOnSmallDisk {
  readonly variables: Readonly<Record<string, string>>;
  /** Takes all the room that is left. */
  fill(): Promise<void>;
  /** Gives it back. */
  free(): Promise<void>;
  remove(): Promise<void>;
}

const DISK_MIB = 192;
const CHUNK = Buffer.alloc(1024 * 1024);
const [ACCESS_KEY, SECRET_KEY] = ['small-disk', 'small-disk-secret'];

/** Why tests that fill a disk are skipped, or false; said loudly, once. */
export const NO_SMALL_DISK: string | false = lackOfSmallDisk();

function lackOfSmallDisk(): string | false {
  const binary = process.env['MINIO_BINARY'];
  if (binary !== undefined && existsSync(binary) && process.getuid?.() === 0) return false;
  const reason = 'MINIO_BINARY does not name a MinIO server, or this is not root, who alone may mount: tests that fill a disk are skipped. Set it and be root to run them.';
  process.stderr.write(`${reason}\n`);
  return reason;
}

export async function minioOnSmallDisk(): Promise<MinioOnSmallDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-disk-'));
  command('mount', '-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'none', folder);
  const data = join(folder, 'data');
  await mkdir(data);
  const port = await freePort();
  const child = spawn(process.env['MINIO_BINARY'] ?? '', ['server', '--address', `127.0.0.1:${port}`, data], {
    env: { ...process.env, MINIO_ROOT_USER: ACCESS_KEY, MINIO_ROOT_PASSWORD: SECRET_KEY },
    stdio: 'ignore',
  });
  const atExit = (): void => void child.kill('SIGKILL');
  process.once('exit', atExit);
  await until(() =>
    fetch(`http://127.0.0.1:${port}/minio/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  const ballast = join(folder, 'ballast');
  return {
    variables: { SLUICE_STORE: `s3://127.0.0.1:${port}`, SLUICE_S3_ACCESS_KEY: ACCESS_KEY, SLUICE_S3_SECRET_KEY: SECRET_KEY },
    async fill() {
      const file = await open(ballast, 'w');
      try {
        for (;;) await file.write(CHUNK);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        await file.close();
      }
    },
    free: () => rm(ballast, { force: true }),
    async remove() {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
      process.off('exit', atExit);
      command('umount', folder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function command(name: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(name, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: ${stderr}`);
}
