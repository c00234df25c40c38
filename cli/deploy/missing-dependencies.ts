import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CodeSource } from './plan.ts';

/** A warning where a Node function names dependencies that were never installed: it would fail at its first import. */
export function missingDependencies(code: CodeSource): string | undefined {
  if (code.kind !== 'folder' || existsSync(join(code.path, 'node_modules')) || !existsSync(join(code.path, 'package.json'))) return undefined;
  let manifest: { readonly dependencies?: object } | null;
  try {
    manifest = JSON.parse(readFileSync(join(code.path, 'package.json'), 'utf8')) as typeof manifest;
  } catch {
    return undefined; // nothing that Lambda would read
  }
  const names = Object.keys(manifest?.dependencies ?? {});
  return names.length === 0 ? undefined : `${code.path} needs ${names.join(', ')}, but has no node_modules: run "npm install" there first`;
}
