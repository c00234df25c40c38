import { styleText } from 'node:util';
import type { Output } from '../context.ts';

export type Paint = (style: 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan', text: string) => string;

/** Colours text for `output`: only on a terminal, and not where NO_COLOR is set to anything (no-color.org). */
export function painter(output: Output, environment: Readonly<Record<string, string | undefined>>): Paint {
  const colourful = output.isTTY === true && (environment.NO_COLOR ?? '') === '' && environment.TERM !== 'dumb';
  return (style, text) => (colourful ? styleText(style, text, { validateStream: false }) : text);
}
