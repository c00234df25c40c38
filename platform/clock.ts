/** Time as the roles see it. Injected, so that tests and the simulation turn the hands themselves. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `action` once at `atMs` or as soon after it as possible. */
  at(atMs: number, action: () => void): Timer;
}

export interface Timer {
  /** Idempotent; after it the action is not called any more. */
  cancel(): void;
}

/** `setTimeout` takes at most this; a later timer is set in steps. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  at(atMs, action) {
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const delayMs = atMs - Date.now();
      handle = delayMs > MAX_TIMEOUT_MS ? setTimeout(arm, MAX_TIMEOUT_MS) : setTimeout(action, Math.max(0, delayMs));
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  },
};
