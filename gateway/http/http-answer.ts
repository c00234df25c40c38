/** A whole answer, independent of the server that sends it: what the services behind the front door give back. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}
