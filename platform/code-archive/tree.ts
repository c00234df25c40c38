import type { ArchiveEntry } from './entry.ts';
import { CodeArchiveError } from './errors.ts';

/**
 * Checks that entries can be unpacked side by side and that symbolic links stay inside.
 *
 * A link is allowed (npm makes them in node_modules/.bin) when its target is relative, stays within the package at every step, and passes
 * through no other link. No entry may lie beneath a link. So whatever is on disk, each path means where its text says.
 */
export function checkTree(entries: readonly ArchiveEntry[], links: ReadonlyMap<string, string>): void {
  const kinds = new Map<string, ArchiveEntry['kind']>();
  for (const { path, kind } of entries) {
    const other = kinds.get(path);
    if (other !== undefined && !(other === 'directory' && kind === 'directory')) throw duplicate(path);
    kinds.set(path, kind);
  }
  const folders = new Set<string>();
  for (const { path } of entries) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end);
      if (folders.has(folder)) break;
      const kind = kinds.get(folder);
      if (kind === 'symlink') throw CodeArchiveError.couldNotUnzip('escape', `The entry ${JSON.stringify(path)} lies beneath a symbolic link.`);
      if (kind === 'file') throw duplicate(folder);
      folders.add(folder);
    }
  }
  for (const [path, target] of links) checkLink(path, target, links);
}

function checkLink(path: string, target: string, links: ReadonlyMap<string, string>): void {
  const escapes = (): CodeArchiveError =>
    CodeArchiveError.couldNotUnzip('escape', `The symbolic link ${JSON.stringify(path)} points to ${JSON.stringify(target.slice(0, 200))}, which is outside the package or behind another link.`);
  if (target.startsWith('/') || target.includes('\0')) throw escapes();
  const at = path.split('/').slice(0, -1);
  const steps = target.split('/').filter((part) => part !== '' && part !== '.');
  for (const step of steps) {
    if (links.has(at.join('/'))) throw escapes();
    if (step !== '..') at.push(step);
    else if (at.pop() === undefined) throw escapes();
  }
}

function duplicate(path: string): CodeArchiveError {
  return CodeArchiveError.couldNotUnzip('duplicate', `The package has more than one entry named ${JSON.stringify(path)}.`);
}
