import type { Machine } from './machine.ts';

export interface Column {
  readonly title: string;
  /** Digits after the point. */
  readonly digits: number;
  /** Written behind the number, with a space: a unit, or × for a ratio. */
  readonly unit: string;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly { readonly name: string; readonly values: readonly (number | undefined)[] }[];
}

export interface Target {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly bound: 'at most' | 'at least';
  readonly limit: number;
}

/** What one part of the bench found. */
export interface PartReport {
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
  /** Sentences that a reader of the figures must know. */
  readonly notes: readonly string[];
  /** What could not be measured, and why. */
  readonly failures: readonly string[];
}

export interface Report extends PartReport {
  readonly takenAt: string;
  readonly machine: Machine;
}

export const ratioColumn = (title: string): Column => ({ title, digits: 2, unit: '×' });

export function isReached({ value, bound, limit }: Target): boolean {
  return bound === 'at most' ? value <= limit : value >= limit;
}

export function joinReports(parts: readonly PartReport[]): PartReport {
  return { tables: parts.flatMap(({ tables }) => tables), targets: parts.flatMap(({ targets }) => targets), notes: parts.flatMap(({ notes }) => notes), failures: parts.flatMap(({ failures }) => failures) };
}

function cell(value: number | undefined, { digits, unit }: Column): string {
  if (value === undefined || Number.isNaN(value)) return '–';
  return `${value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}${unit === '' ? '' : ` ${unit}`}`;
}

function cells({ title, columns, rows }: Table): string[][] {
  return [[title, ...columns.map((column) => column.title)], ...rows.map((row) => [row.name, ...columns.map((column, index) => cell(row.values[index], column))])];
}

function targetLine(target: Target): string {
  const number = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 2 });
  return `${target.what}: ${number(target.value)} ${target.unit} (${target.bound} ${number(target.limit)} ${target.unit})`;
}

function machineLine({ takenAt, machine: { cpu, cores, memoryGiB, node, platform } }: Report): string {
  return `${takenAt.slice(0, 10)}, ${cores} cores (${cpu}), ${memoryGiB} GiB, ${platform}, Node ${node}; load generator on the same cores, loopback`;
}

/** For the terminal: aligned columns, names to the left, numbers to the right. */
export function renderText(report: Report): string {
  const lines = [machineLine(report)];
  for (const table of report.tables) {
    const grid = cells(table);
    const widths = (grid[0] ?? []).map((_, column) => Math.max(...grid.map((row) => (row[column] ?? '').length)));
    const line = (row: readonly string[]): string => row.map((text, column) => (column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0))).join('  ');
    const [head = [], ...rows] = grid;
    lines.push('', line(head), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line));
  }
  if (report.targets.length > 0) lines.push('', 'Targets', ...report.targets.map((target) => `  ${isReached(target) ? 'reached' : 'missed '}  ${targetLine(target)}`));
  if (report.notes.length > 0) lines.push('', ...report.notes.map((note) => `  ${note}`));
  if (report.failures.length > 0) lines.push('', 'Not measured', ...report.failures.map((failure) => `  ${failure}`));
  return `${lines.join('\n')}\n`;
}

/** For the documentation. */
export function renderMarkdown(report: Report): string {
  const lines = [`Measured ${machineLine(report)}.`];
  for (const table of report.tables) {
    const [head = [], ...rows] = cells(table);
    const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
    lines.push('', line(head), `| --- |${' ---: |'.repeat(head.length - 1)}`, ...rows.map(line));
  }
  if (report.targets.length > 0) lines.push('', ...report.targets.map((target) => `- ${isReached(target) ? '✅' : '❌'} ${targetLine(target)}`));
  if (report.notes.length > 0) lines.push('', ...report.notes.map((note) => `- ${note}`));
  if (report.failures.length > 0) lines.push('', ...report.failures.map((failure) => `- Not measured: ${failure}`));
  return `${lines.join('\n')}\n`;
}
