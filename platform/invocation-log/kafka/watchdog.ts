/** What the watchdog looks at. */
export interface MemberSigns {
  /** When kafkajs last fetched, sent a heartbeat with success, or joined. */
  readonly lastSignMs: number;
  /** Waiting for the group's other members, who have the rebalance time-out to come. */
  readonly joining: boolean;
}

export interface WatchdogLimits {
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
}

/** How often it looks. */
export const WATCH_INTERVAL_MS = 1_000;
/** So many looks in a row without a sign are needed: after a stop of the whole process the first look comes before kafkajs had its turn. */
export const SILENT_LOOKS = 3;

/**
 * Whether kafkajs has stopped working: its consumer is known to stand still without an error or an event (tulios/kafkajs#659, #1431). It fetches all
 * the time, if only to be told that there is nothing; when it has not for as long as a session lasts, the session is over anyway.
 */
export function isSilent({ lastSignMs, joining }: MemberSigns, { sessionTimeoutMs, rebalanceTimeoutMs }: WatchdogLimits, nowMs: number): boolean {
  return nowMs - lastSignMs > (joining ? sessionTimeoutMs + rebalanceTimeoutMs : sessionTimeoutMs);
}

/** Counts looks. */
export class Watchdog {
  readonly #limits: WatchdogLimits;
  #silentLooks = 0;

  constructor(limits: WatchdogLimits) {
    this.#limits = limits;
  }

  /** True: the client is to be built anew. */
  look(signs: MemberSigns, nowMs: number): boolean {
    this.#silentLooks = isSilent(signs, this.#limits, nowMs) ? this.#silentLooks + 1 : 0;
    return this.#silentLooks >= SILENT_LOOKS;
  }
}
