const UNITS = ['bytes', 'KiB', 'MiB', 'GiB'] as const;

/** A size for a person: `512 bytes`, `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (unit === 0) return `${value} ${value === 1 ? 'byte' : 'bytes'}`;
  return `${value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

/** Columns as wide as their widest cell, two spaces apart, without a trailing space. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd());
}

const PLAIN_WORD = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** A word that a POSIX shell reads as exactly `text`. */
export function shellQuote(text: string): string {
  return PLAIN_WORD.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
