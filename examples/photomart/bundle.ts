import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

type Lockfile = Readonly<Record<string, LockedPackage>>;

/**
 * Packages carry much that Node never loads: types, source maps, documentation, and (in the AWS SDK) the modules for browsers'
 * bundlers. Without it a function has a fifth of the files, and its first start is that much quicker.
 */
const UNUSED_FOLDERS = new Set(['dist-types', 'dist-es', 'docs', 'test', 'tests']);
const UNUSED_FILE = /\.(d\.[cm]?ts|map|md|markdown)$/;
/** In the folder that deployments leave out. */
const STAMP = join('node_modules', '.cache', 'bundled-sha256');

/**
 * Gives a function's folder the packages that its package.json names, with all that they need, out of the example's node_modules:
 * what `npm install` in that folder would do, at the versions of the one lockfile. Quick where nothing has changed.
 */
export async function bundleDependencies(exampleFolder: string, functionFolder: string): Promise<void> {
  const lockText = await readFile(join(exampleFolder, 'package-lock.json'), 'utf8');
  const manifestText = await readFile(join(functionFolder, 'package.json'), 'utf8');
  // This file decides what is copied, so a change of it counts as well.
  const rules = await readFile(import.meta.filename, 'utf8');
  const wanted = createHash('sha256').update(lockText).update(manifestText).update(rules).digest('hex');
  const stamp = join(functionFolder, STAMP);
  if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === wanted) return;

  const lockfile = (JSON.parse(lockText) as { packages: Lockfile }).packages;
  const names = Object.keys((JSON.parse(manifestText) as LockedPackage).dependencies ?? {});
  await rm(join(functionFolder, 'node_modules'), { recursive: true, force: true });
  for (const location of locationsOf(names, lockfile)) {
    const from = join(exampleFolder, location);
    if (!existsSync(from)) continue; // an optional package for another kind of machine
    await cp(from, join(functionFolder, location), { recursive: true, filter: (path) => isUsed(path, from) });
  }
  await mkdir(dirname(stamp), { recursive: true });
  await writeFile(stamp, wanted);
}

/** Where the named packages, and all that they need, lie. */
function locationsOf(names: readonly string[], lockfile: Lockfile): Set<string> {
  const found = new Set<string>();
  const visit = (name: string, from: string): void => {
    const location = locate(name, from, lockfile);
    if (location === undefined || found.has(location)) return;
    found.add(location);
    const { dependencies, optionalDependencies } = lockfile[location] ?? {};
    for (const needed of Object.keys({ ...dependencies, ...optionalDependencies })) visit(needed, location);
  };
  for (const name of names) visit(name, '');
  return found;
}

/** As Node looks a package up: in the nearest node_modules, going outwards. */
function locate(name: string, from: string, lockfile: Lockfile): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const location = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (lockfile[location] !== undefined) return location;
    if (folder === '') return undefined;
  }
}

function isUsed(path: string, packageFolder: string): boolean {
  const inside = path.slice(packageFolder.length + 1);
  // Packages nested in this one have their own place in the lockfile.
  if (inside === 'node_modules') return false;
  return !UNUSED_FOLDERS.has(basename(inside)) && !UNUSED_FILE.test(inside);
}
