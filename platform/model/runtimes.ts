/** How a runtime's processes are started; one directory of `worker/runtimes` each. */
export type RuntimeFamily = 'nodejs' | 'python';

export interface Runtime {
  /** Lambda's identifier (Lambda guide, "Supported runtimes"). */
  readonly name: string;
  readonly family: RuntimeFamily;
}

/** Every runtime that Sluice runs. They run on the interpreter at hand, whatever its minor version. */
export const RUNTIMES: readonly Runtime[] = [
  ...['nodejs20.x', 'nodejs22.x', 'nodejs24.x'].map((name): Runtime => ({ name, family: 'nodejs' })),
  ...['python3.9', 'python3.10', 'python3.11', 'python3.12', 'python3.13', 'python3.14'].map((name): Runtime => ({ name, family: 'python' })),
];

const BY_NAME: ReadonlyMap<string, Runtime> = new Map(RUNTIMES.map((runtime) => [runtime.name, runtime]));

/** The runtime of this name, or undefined where Sluice cannot run it. */
export function findRuntime(name: string): Runtime | undefined {
  return BY_NAME.get(name);
}
