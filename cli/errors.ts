/** What the process's exit status says. Shown by `sluice --help` and in the README. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  noInstance: 3,
  functionError: 4,
  notFound: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command with one line on standard error and an exit code. The message names the thing and the remedy. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = EXIT.failure) {
    super(message);
    this.exitCode = exitCode;
  }
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EHOSTUNREACH', 'ETIMEDOUT', 'EPIPE']);
const NOT_FOUND = new Set(['ResourceNotFoundException', 'NoSuchBucket', 'NoSuchKey']);

/** Any error as one line for a person, with the exit code that fits it. Never a stack trace. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (!(error instanceof Error)) return new CliError(String(error));
  const code = systemCode(error);
  if (code !== undefined && UNREACHABLE.has(code)) {
    return new CliError(`No Sluice answers there (${reason(error)}). Start one with "npx sluice up", or check --port, --data and AWS_ENDPOINT_URL.`, EXIT.noInstance);
  }
  if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR' || code === 'EISDIR') {
    const path = (error as NodeJS.ErrnoException).path;
    return new CliError(path === undefined ? reason(error) : `${path}: ${FILE_REASONS[code]}.`);
  }
  const message = reason(error);
  if (NOT_FOUND.has(error.name)) return new CliError(message, EXIT.notFound);
  return new CliError(isService(error) ? `${error.name}: ${message}` : message);
}

const FILE_REASONS = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  ENOTDIR: 'not a folder',
  EISDIR: 'a folder, where a file is needed',
} as const;

/** Errors of the AWS SDK carry `$metadata`. */
function isService(error: Error): boolean {
  return '$metadata' in error;
}

function systemCode(error: Error): string | undefined {
  const code = (error as NodeJS.ErrnoException).code;
  if (typeof code === 'string') return code;
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return systemCode(error.errors[0]);
  return error.cause instanceof Error ? systemCode(error.cause) : undefined;
}

function reason(error: Error): string {
  if (error.message === '' && error instanceof AggregateError && error.errors[0] instanceof Error) return reason(error.errors[0]);
  const firstLine = error.message.split('\n')[0]?.trim() ?? '';
  return firstLine === '' ? error.name : firstLine;
}
