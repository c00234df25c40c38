export interface SpreadOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Of every address. */
  readonly port: number;
  readonly resolve: () => Promise<readonly string[]>;
  readonly log?: (line: string) => void;
}

export function spread(options: SpreadOptions): Promise<{ readonly port: number; stop(): Promise<void> }>;
