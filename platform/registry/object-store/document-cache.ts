import type { RegistryDocument } from './document.ts';

/** A document as it was last seen in the store. */
export interface Seen {
  readonly etag: string;
  readonly document: RegistryDocument;
}

interface Kept extends Seen {
  readonly bytes: number;
}

/** Bookkeeping per document beside its text. */
const OVERHEAD_BYTES = 500;

/**
 * Documents by the name of their object, one for each: the last that was seen. What was not used for longest goes when all together have more than
 * the bound, which counts their texts; in memory they take some three times that.
 */
export class DocumentCache {
  readonly #maxBytes: number;
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(name: string): Seen | undefined {
    const kept = this.#kept.get(name);
    if (kept === undefined) return undefined;
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    return kept;
  }

  set(name: string, { etag, document }: Seen, textBytes: number): void {
    // Of two answers that crossed on the way, the later in the chain is the newer state.
    const known = this.#kept.get(name);
    if (known !== undefined && known.document.revision > document.revision) return;
    this.delete(name);
    const bytes = textBytes + name.length + OVERHEAD_BYTES;
    this.#kept.set(name, { etag, document, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    this.#kept.delete(name);
    this.#bytes -= kept.bytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#kept.size;
  }
}
