#!/usr/bin/env node
// Usage: node cli/bin/run.mjs ENTRY.ts [ARG…]: installs what is missing, then runs a TypeScript entry of this repository.
import { runEntry } from './bootstrap.mjs';

const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) {
  process.stderr.write('usage: node cli/bin/run.mjs ENTRY.ts [ARG…]\n');
  process.exitCode = 2;
} else {
  await runEntry(entry, args);
}
