import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { EventEmitter, once } from 'node:events';
import { send } from './raw-http.ts';

/** One report of a running function. */
export interface Sighting {
  readonly requestId: string;
  /** What the invocation was about, as the test named it. */
  readonly mark: string;
  /** Of the process that ran it, and when by its clock. */
  readonly pid?: number;
  readonly atMs?: number;
  /** Lets the function go on. */
  release(): void;
}

/**
 * A function that reports to an {@link Observer} before it goes on: it posts its request id and `event.mark`, waits for the answer and
 * then for `event.pauseMs`, and returns the mark, or throws if `event.fail` is set.
 */
export const REPORTING_FUNCTION = `
const http = require('node:http');
const agent = new http.Agent({ keepAlive: true });
const report = (mark, requestId) => new Promise((resolve, reject) => {
  const request = http.request(process.env.OBSERVER, { method: 'POST', agent }, (response) => { response.resume(); response.on('end', resolve); });
  request.on('error', reject);
  request.end(JSON.stringify({ mark, requestId, pid: process.pid, atMs: Date.now() }));
});
exports.handler = async (event, context) => {
  await report(event.mark, context.awsRequestId);
  if (event.pauseMs) await new Promise((resolve) => setTimeout(resolve, event.pauseMs));
  if (event.fail) throw new Error('asked to fail: ' + event.mark);
  return { mark: event.mark };
};
`;

/**
 * Where functions under test report that they run, so that a test waits for what happens instead of sleeping, and holds a function
 * exactly as long as it wants.
 */
export class Observer {
  readonly url: string;
  readonly sightings: Sighting[] = [];
  /** Whether functions wait for {@link Sighting.release}. */
  hold = false;
  readonly #marks = new Set<string>();
  readonly #events = new EventEmitter();
  readonly #close: () => Promise<void>;

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url;
    this.#close = close;
    this.#events.setMaxListeners(0);
  }

  static async start(): Promise<Observer> {
    const server = createServer((request, response) => {
      response.on('error', () => undefined);
      text(request).then(
        (body) => observer.#see(JSON.parse(body) as Omit<Sighting, 'release'>, () => response.end('{}')),
        // The function was killed while it reported: it never began its work.
        () => response.destroy(),
      );
    });
    // A connection is never closed for being idle: a function that reports on it in that very moment would fail for it.
    server.keepAliveTimeout = 0;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const close = async (): Promise<void> => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    };
    const observer = new Observer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close);
    return observer;
  }

  #see(report: Omit<Sighting, 'release'>, answer: () => void): void {
    const sighting: Sighting = { ...report, release: answer };
    this.sightings.push(sighting);
    this.#marks.add(sighting.mark);
    if (!this.hold) answer();
    this.#events.emit('sighting', sighting);
  }

  has(mark: string): boolean {
    return this.#marks.has(mark);
  }

  /** How often functions reported with this mark. */
  count(mark: string): number {
    return this.sightings.filter((sighting) => sighting.mark === mark).length;
  }

  /** Resolves as soon as `condition` holds, which is asked anew after every report. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#events, 'sighting');
  }

  /** Resolves when what functions sent before this call, even those that have ended since, has been seen. */
  async settle(): Promise<void> {
    // Each on a new connection, which stands behind all that came before; twice, since what lies in the connections that are taken up
    // together is read in any order.
    for (let round = 0; round < 2; round++) {
      const mark = randomUUID();
      await send(this.url, { path: '/', body: JSON.stringify({ mark, requestId: mark }) });
    }
  }

  releaseAll(): void {
    this.hold = false;
    for (const sighting of this.sightings) sighting.release();
  }

  async close(): Promise<void> {
    this.releaseAll();
    await this.#close();
  }
}
