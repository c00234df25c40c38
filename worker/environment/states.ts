/**
 * The life of an execution environment.
 *
 * - *starting*: its code is being unpacked, its Runtime API address opened, its process started.
 * - *initializing*: the process runs the function's initialisation. It leaves this state by its first `next`, or by failing.
 * - *idle*: the runtime's `next` is on hold, and the controller has a poll of ours to answer.
 * - *invoking*: the runtime has an event.
 * - *responded*: the runtime has posted the end of the invocation, its caller has the reply; the runtime has not yet asked for `next`.
 * - *failed*: its init has failed: the runtime said so, ended or took too long. The process is being killed. The controller has a poll of ours to answer
 *   once more: with the one invocation that the failure is the answer to, which needs no process, or with the word that there is none.
 * - *ending*: it will never take another event: it was stopped, it has answered with the failure of its init, it ran out of time or memory, or its
 *   process died. The process is being killed, the last log lines are being written.
 * - *gone*: nothing of it is left; its one departure has been reported.
 *
 * Every failure leads to *ending*: an environment that has failed never runs anything again.
 */
export type EnvironmentState = 'starting' | 'initializing' | 'idle' | 'invoking' | 'responded' | 'failed' | 'ending' | 'gone';

const TRANSITIONS: Readonly<Record<EnvironmentState, readonly EnvironmentState[]>> = {
  starting: ['initializing', 'ending'],
  initializing: ['idle', 'failed', 'ending'],
  idle: ['invoking', 'ending'],
  invoking: ['responded', 'ending'],
  responded: ['idle', 'ending'],
  failed: ['ending'],
  ending: ['gone'],
  gone: [],
};

export function mayFollow(from: EnvironmentState, to: EnvironmentState): boolean {
  return TRANSITIONS[from].includes(to);
}
