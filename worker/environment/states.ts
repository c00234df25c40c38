/**
 * The life of an execution environment.
 *
 * - *starting*: its code is being unpacked, its Runtime API address opened, its process started.
 * - *initializing*: the process runs the function's initialisation. It leaves this state by its first `next`.
 * - *idle*: the runtime's `next` is on hold, and the controller has a poll of ours to answer.
 * - *invoking*: the runtime has an event.
 * - *responded*: the runtime has posted the end of the invocation, its caller has the reply; the runtime has not yet asked for `next`.
 * - *ending*: it will never take another event: it was stopped, its init failed, it ran out of time or memory, or its process died. The process is
 *   being killed, the last log lines are being written.
 * - *gone*: nothing of it is left; its one departure has been reported.
 *
 * Every failure leads to *ending*: an environment that has failed is never used again.
 */
export type EnvironmentState = 'starting' | 'initializing' | 'idle' | 'invoking' | 'responded' | 'ending' | 'gone';

const TRANSITIONS: Readonly<Record<EnvironmentState, readonly EnvironmentState[]>> = {
  starting: ['initializing', 'ending'],
  initializing: ['idle', 'ending'],
  idle: ['invoking', 'ending'],
  invoking: ['responded', 'ending'],
  responded: ['idle', 'ending'],
  ending: ['gone'],
  gone: [],
};

export function mayFollow(from: EnvironmentState, to: EnvironmentState): boolean {
  return TRANSITIONS[from].includes(to);
}
