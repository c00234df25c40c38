export interface SpreadOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Of every address. */
  readonly port: number;
  readonly resolve: () => Promise<readonly string[]>;
  /** How long a connection waits for an address that takes it. */
  readonly patienceMs?: number;
  readonly log?: (line: string) => void;
}

export function spread(options: SpreadOptions): Promise<{ readonly port: number; stop(): Promise<void> }>;
