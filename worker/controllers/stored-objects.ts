import type { Agent } from 'undici';
import { internalRequest } from '../../platform/internal-http/client.ts';
import type { ObjectLocation } from '../../platform/object-store/object-store.ts';

/** A package is 50 MiB at most, on a network of our own. */
const FETCH_TIMEOUT_MS = 60_000;

/** Reads objects from the URLs that controllers sign for this worker. */
export class StoredObjects {
  readonly #agent: Agent;

  /** The agent trusts the object store's authority. */
  constructor(agent: Agent) {
    this.#agent = agent;
  }

  /** Rejects where the object is not to be had. */
  async read(signedUrl: string, { bucket, key }: ObjectLocation): Promise<Buffer> {
    const url = new URL(signedUrl);
    const { status, body } = await internalRequest(this.#agent, { origin: url.origin, path: url.pathname + url.search, method: 'GET', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    if (status !== 200) throw new Error(`The object store answered ${status} when ${bucket}/${key} was read.`);
    return body;
  }
}
