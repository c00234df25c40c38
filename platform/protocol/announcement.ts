/**
 * How workers, and other controllers, hear where controllers are and which partitions each owns: through the cache, which may forget. What it tells is a hint; the truth is what a
 * controller claims in a worker's session.
 */

/** Controllers tell of themselves here. */
export const CONTROLLERS_CHANNEL = 'controllers';
/** Whoever wants to hear of them at once asks here; the message means nothing. */
export const CONTROLLERS_ASKED_CHANNEL = 'controllers.asked';

/** A controller is heard of at least so often. */
export const ANNOUNCE_INTERVAL_MS = 2_000;
/** One that has not been heard of for so long is taken to be gone. */
export const ANNOUNCEMENT_TTL_MS = 10_000;

/** Key under which the owner of a partition can be looked up, as an {@link Announcement}, for {@link ANNOUNCEMENT_TTL_MS}. */
export function ownerKey(partition: number): string {
  return `owner.${partition}`;
}

export interface Announcement {
  readonly v: 1;
  readonly controller: string;
  /** Of its internal listener. */
  readonly url: string;
  /** It stops: open no session with it any more. */
  readonly leaving: boolean;
  /** How many workers there are, as far as it knows; 0: it does not know yet. */
  readonly workers: number;
}

/** Undefined for what is none, or of a release that says something else under this name. */
export function parseAnnouncement(text: string): Announcement | undefined {
  try {
    const { v, controller, url, leaving, workers } = JSON.parse(text) as Partial<Announcement>;
    if (v !== 1 || typeof controller !== 'string' || typeof url !== 'string' || !URL.canParse(url)) return undefined;
    return { v, controller, url, leaving: leaving === true, workers: Number.isSafeInteger(workers) ? (workers as number) : 0 };
  } catch {
    return undefined;
  }
}
