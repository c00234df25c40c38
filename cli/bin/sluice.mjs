#!/usr/bin/env node
// The `sluice` command, from a fresh clone as well as from an installed one.
import { runEntry } from './bootstrap.mjs';

await runEntry('cli/main.ts', process.argv.slice(2));
