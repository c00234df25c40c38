/**
 * A family of runtimes that share an interpreter and a client. A runtime is a row here, never a branch elsewhere.
 */
export interface RuntimeFamily {
  readonly name: string;
  /** Names as the API has them: `nodejs22.x`. */
  readonly runtimes: readonly string[];
  /** What its interpreter is, without installing anything: `Python 3.11.7`. Rejects with {@link RuntimeUnavailableError}. */
  version(): Promise<string>;
  /**
   * Makes sure that the interpreter and the client are there and says how to start them. Called before every start; quick after the first
   * time, shared by concurrent callers. Rejects with {@link RuntimeUnavailableError}.
   */
  prepare(): Promise<RuntimeInstallation>;
  /** Whether an environment variable acts when the process starts, so that it must be there already then. */
  actsAtStart(variable: string): boolean;
}

export interface RuntimeInstallation {
  /** Interpreter and bootstrap; reads its order from descriptor 3. */
  readonly command: readonly string[];
  /** `Node v24.21.0`. */
  readonly version: string;
  /** LAMBDA_RUNTIME_DIR. */
  readonly runtimeDir: string;
  /** Folder of the interpreter, first in PATH. */
  readonly interpreterDir: string;
  /** Folders that the process must see. */
  readonly folders: readonly string[];
  /** Where compiled code of a function may be kept. */
  readonly compileCacheDir?: string;
}

/** The interpreter is missing or its client cannot be installed. The message names the remedy. */
export class RuntimeUnavailableError extends Error {
  override readonly name = 'RuntimeUnavailableError';
}

/** Variables that act at process start whatever the runtime: the dynamic linker's, the time zone, Lambda's wrapper script. */
export function actsAtStartEverywhere(variable: string): boolean {
  return variable.startsWith('LD_') || variable === 'TZ' || variable === 'AWS_LAMBDA_EXEC_WRAPPER';
}
