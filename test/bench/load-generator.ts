/**
 * Sends the same HTTP request over kept-alive connections, one at a time on each, for some windows of time, and prints what it saw as
 * JSON. A process of its own on bare sockets, so that what it costs is small and the same for everything that is measured:
 * node load-generator.ts '{"url": …}' ({@link LoadOrder}).
 */
import { connect } from 'node:net';

export interface LoadOrder {
  readonly url: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  /** At least this long nothing counts, and then until the rate grows no more, but no longer than {@link LONGEST_WARM_UP_MS}. */
  readonly warmUpMs: number;
  readonly windows: number;
  readonly windowMs: number;
}

export interface LoadWindow {
  readonly requests: number;
  /** Answers that were no 2xx or carried a function error. */
  readonly errors: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface LoadReport {
  readonly windows: readonly LoadWindow[];
  /** The first answer that was counted as an error, to be shown. */
  readonly firstError?: string;
}

/** serverless-offline starts a thread per connection, one after the other; cutting that short would measure it unfairly. */
const LONGEST_WARM_UP_MS = 12_000;
const WARM_UP_STEP_MS = 1_000;
/** A rate that grows by less has stopped growing. */
const STEADY_GROWTH = 1.1;

const HEAD_END = Buffer.from('\r\n\r\n');

/** Where an answer ends in what was received; undefined: more is to come. */
function answerEnd(received: Buffer): number | undefined {
  const headEnd = received.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const head = received.toString('latin1', 0, headEnd).toLowerCase();
  const bodyStart = headEnd + HEAD_END.length;
  const length = /\r\ncontent-length: *(\d+)/.exec(head);
  if (length !== null) return bodyStart + Number(length[1]);
  if (!head.includes('\r\ntransfer-encoding: chunked')) return bodyStart;
  const last = received.indexOf('0\r\n\r\n', bodyStart);
  return last < 0 ? undefined : last + 5;
}

function isError(received: Buffer): boolean {
  // "HTTP/1.1 2": the tenth byte is the class of the status.
  return received[9] !== 0x32 || received.includes('unction-Error:') || received.includes('unction-error:');
}

class Load {
  readonly #order: LoadOrder;
  readonly #request: Buffer;
  #latencies: number[] = [];
  #errors = 0;
  #firstError: string | undefined;

  constructor(order: LoadOrder) {
    this.#order = order;
    const { host } = new URL(order.url);
    const body = Buffer.from(order.body);
    const headers = Object.entries({ ...order.headers, 'content-length': String(body.length) }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#request = Buffer.concat([Buffer.from(`${order.method} ${order.path} HTTP/1.1\r\nhost: ${host}\r\n${headers.join('')}\r\n`), body]);
  }

  #open(): void {
    const { hostname, port } = new URL(this.#order.url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    let received: Buffer | undefined;
    let sentAt = 0;
    const send = (): void => {
      sentAt = performance.now();
      socket.write(this.#request);
    };
    socket.on('connect', send);
    socket.on('data', (chunk: Buffer) => {
      received = received === undefined ? chunk : Buffer.concat([received, chunk]);
      const end = answerEnd(received);
      if (end === undefined || received.length < end) return;
      this.#latencies.push(performance.now() - sentAt);
      if (isError(received)) this.#fail(received.toString('utf8'));
      received = undefined;
      send();
    });
    socket.on('error', (error) => this.#fail(error.message));
    // A server may close a kept-alive connection; its successor goes on in its place.
    socket.on('close', () => this.#open());
  }

  #fail(what: string): void {
    this.#errors++;
    this.#firstError ??= what.slice(0, 2_000);
  }

  #window(elapsedMs: number): LoadWindow {
    const sorted = Float64Array.from(this.#latencies).sort();
    const percentile = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    const window = { requests: sorted.length, errors: this.#errors, perSecond: (sorted.length / elapsedMs) * 1000, p50Ms: percentile(0.5), p99Ms: percentile(0.99) };
    this.#latencies = [];
    this.#errors = 0;
    return window;
  }

  async #warmUp(): Promise<void> {
    const startedAt = performance.now();
    await pause(this.#order.warmUpMs);
    this.#window(this.#order.warmUpMs);
    for (let before = 0; performance.now() - startedAt < LONGEST_WARM_UP_MS; ) {
      const stepAt = performance.now();
      await pause(WARM_UP_STEP_MS);
      const { perSecond, requests } = this.#window(performance.now() - stepAt);
      if (requests > 0 && perSecond < before * STEADY_GROWTH) return;
      before = perSecond;
    }
  }

  async run(): Promise<LoadReport> {
    for (let index = 0; index < this.#order.connections; index++) this.#open();
    await this.#warmUp();
    this.#firstError = undefined;
    const windows: LoadWindow[] = [];
    for (let index = 0; index < this.#order.windows; index++) {
      const startedAt = performance.now();
      await pause(this.#order.windowMs);
      windows.push(this.#window(performance.now() - startedAt));
    }
    return { windows, ...(this.#firstError !== undefined && { firstError: this.#firstError }) };
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const report = await new Load(JSON.parse(process.argv[2] ?? '{}') as LoadOrder).run();
process.stdout.write(JSON.stringify(report), () => process.exit(0));
