/** Something that answers POST with what the function returned. */
export interface Subject {
  readonly name: string;
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}
