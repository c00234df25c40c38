import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { exportLine } from '../../../cli/commands/env.ts';
import type { CommandContext, Output } from '../../../cli/context.ts';
import { formatBytes, formatTable } from '../../../cli/terminal/format.ts';
import { painter } from '../../../cli/terminal/paint.ts';
import { showProgress } from '../../../cli/terminal/progress.ts';
import { collector } from './capture.ts';

/** Each run starts a shell, at some milliseconds. */
const SHELL_RUNS = 20;

function output(isTTY: boolean): { readonly stream: Output; readonly text: () => string } {
  const { stream, text } = collector();
  return { stream: Object.assign(stream, { isTTY }), text };
}

describe('the line of sluice env', () => {
  it('gives a shell exactly the values, whatever is in them', () => {
    const values = fc.array(fc.string({ unit: fc.constantFrom('a', ' ', "'", '"', '$', '`', '\\', '\n', '!', '*', ';', 'é') }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(values, (given) => {
        const variables = Object.fromEntries(given.map((value, index) => [`V${index}`, value]));
        const script = `eval "$LINE"; printf '%s\\0' ${given.map((_, index) => `"$V${index}"`).join(' ')}`;
        const got = execFileSync('/bin/sh', ['-c', script], { env: { LINE: exportLine(variables) } }).toString('utf8');
        assert.deepEqual(got.split('\0').slice(0, -1), given);
      }),
      { numRuns: SHELL_RUNS },
    );
  });
});

describe('sizes and tables', () => {
  it('name the unit that fits', () => {
    assert.deepEqual([0, 1, 1023, 1024, 1536, 52_428_800, 5 * 1024 ** 3].map(formatBytes), ['0 bytes', '1 byte', '1023 bytes', '1.0 KiB', '1.5 KiB', '50.0 MiB', '5.0 GiB']);
  });

  it('align columns without trailing spaces', () => {
    assert.deepEqual(formatTable([['NAME', 'X'], ['a', 'long'], ['longer', '']]), ['NAME    X', 'a       long', 'longer']);
  });
});

describe('colour', () => {
  it('is there on a terminal only, and not with NO_COLOR or a dumb terminal', () => {
    const painted = (isTTY: boolean, environment: Readonly<Record<string, string>>): string => painter(output(isTTY).stream, environment)('green', 'x');
    assert.equal(painted(true, {}), '\u001b[32mx\u001b[39m');
    assert.equal(painted(true, { NO_COLOR: '' }), '\u001b[32mx\u001b[39m');
    assert.equal(painted(false, {}), 'x');
    assert.equal(painted(true, { NO_COLOR: '1' }), 'x');
    assert.equal(painted(true, { TERM: 'dumb' }), 'x');
  });
});

describe('progress', () => {
  function shown(isTTY: boolean, use: (progress: ReturnType<typeof showProgress>) => void): string {
    const { stream, text } = output(isTTY);
    use(showProgress({ stderr: stream, environment: { NO_COLOR: '1' } } as unknown as CommandContext, 'packing f'));
    return text();
  }

  it('is one line at the end where nobody watches', () => {
    const use = (progress: ReturnType<typeof showProgress>): void => {
      progress.update(0.5);
      progress.done('1 byte');
      progress.done('again');
      progress.update(0.9);
    };
    assert.equal(shown(false, use), '✓ packing f: 1 byte\n');
    assert.equal(shown(false, (progress) => progress.fail()), '');
  });

  it('is a bar on a terminal, and leaves nothing of it behind', () => {
    const text = shown(true, (progress) => progress.done('1 byte'));
    assert.match(text, /━{24} {3}0 % packing f/);
    assert.ok(text.endsWith('\r\u001b[2K✓ packing f: 1 byte\n'));
    assert.ok(shown(true, (progress) => progress.fail()).endsWith('\r\u001b[2K'));
  });
});
