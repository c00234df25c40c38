/**
 * `npm` passes on the Ctrl-C that the terminal has already sent to everybody, so one key press can arrive twice. Only one that comes
 * later than this is a person's second.
 */
const ECHO_MS = 500;
/** 128 + 2, as a shell reports an end by SIGINT. */
const FORCED_EXIT_CODE = 130;

/**
 * Resolves at the first SIGINT, SIGTERM or SIGHUP. A second Ctrl-C ends the process at once, for those who do not want to wait for
 * the clean stop.
 */
export function untilStopRequested(): Promise<void> {
  return new Promise((resolve) => {
    let requestedAt: number | undefined;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (requestedAt === undefined) {
        requestedAt = Date.now();
        resolve();
      } else if (signal === 'SIGINT' && Date.now() - requestedAt > ECHO_MS) {
        process.exit(FORCED_EXIT_CODE);
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  });
}
