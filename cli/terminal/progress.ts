import type { CommandContext } from '../context.ts';
import { painter } from './paint.ts';

/** One thing that takes a while, shown as it goes. `done` or `fail` ends it; later calls say nothing. */
export interface Progress {
  /** `fraction` from 0 to 1. */
  update(fraction: number): void;
  done(result: string): void;
  fail(): void;
}

const BAR_CELLS = 24;
/** Redrawing more often than an eye sees costs time for nothing. */
const REDRAW_MS = 50;
const ERASE_LINE = '\r\u001b[2K';

/**
 * A bar that moves on a terminal; elsewhere one plain line at the end. Always on standard error, so that standard output
 * stays what a program reads.
 */
export function showProgress(context: CommandContext, label: string): Progress {
  const { stderr } = context;
  const paint = painter(stderr, context.environment);
  const onTerminal = stderr.isTTY === true;
  let drawnAt = 0;
  let ended = false;
  const draw = (fraction: number): void => {
    const filled = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_CELLS);
    const bar = paint('cyan', '━'.repeat(filled)) + paint('dim', '━'.repeat(BAR_CELLS - filled));
    stderr.write(`${ERASE_LINE}  ${bar} ${String(Math.round(fraction * 100)).padStart(3)} % ${label}`);
  };
  if (onTerminal) draw(0);
  return {
    update(fraction) {
      const now = Date.now();
      if (ended || !onTerminal || now - drawnAt < REDRAW_MS) return;
      drawnAt = now;
      draw(fraction);
    },
    done(result) {
      if (ended) return;
      ended = true;
      stderr.write(`${onTerminal ? ERASE_LINE : ''}${paint('green', '✓')} ${label}: ${result}\n`);
    },
    fail() {
      if (ended) return;
      ended = true;
      if (onTerminal) stderr.write(ERASE_LINE);
    },
  };
}
