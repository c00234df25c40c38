import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROLES } from '../../cli/roles/role.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** Builds the image of each role from the Dockerfile of a folder, this project's by default; resolves to their names. */
export async function buildImages(tag: string, folder: string = ROOT): Promise<readonly string[]> {
  const images = ROLES.map((role) => ({ role, image: `sluice/${role}:${tag}` }));
  for (const { role, image } of images) {
    // The host's network, since a builder's own may have no way out.
    await run('docker', ['build', '--network', 'host', '--target', role, '--tag', image, folder], { maxBuffer: OUTPUT_BYTES_MAX });
  }
  return images.map(({ image }) => image);
}
