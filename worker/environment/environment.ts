import type { Clock, Timer } from '../../platform/clock.ts';
import type { FunctionLogs } from '../../platform/function-logs/function-logs.ts';
import { newLogStream } from '../../platform/function-logs/stream-name.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import { INIT_LIMIT_MS } from '../../platform/model/limits.ts';
import type { Assignment, Completion, ControllerLink, EnvironmentDeparture, EnvironmentPoll } from '../../platform/protocol/controller-link.ts';
import type { WorkerReplies } from '../../platform/protocol/reply.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { CodeCache } from '../code/code-cache.ts';
import type { Launcher } from '../process/launcher.ts';
import type { MemoryWatch, WatchedProcess } from '../process/memory-watch.ts';
import { proportionalMemoryKiB, type MemoryUse } from '../process/process-tree.ts';
import type { ExitStatus } from '../process/runtime-process.ts';
import type { RuntimeApi } from '../runtime-api/server.ts';
import { MAX_RESPONSE_BYTES, MAX_STREAMED_RESPONSE_BYTES } from '../runtime-api/limits.ts';
import type { CallVerdict, RuntimeCalls, RuntimeResponse, StreamSink, WaitingNext } from '../runtime-api/runtime-calls.ts';
import { boundedErrorBody, clientContextHeader } from './bodies.ts';
import { processEnded, reported, timedOut, type Failure } from './failures.ts';
import { LogWriter } from './log-writer.ts';
import { postedError, responseTooLarge, stoppedMidway, streamedOutcome, type Outcome } from './outcomes.ts';
import { endLine, initReportLine, initStartLine, reportLine, SANDBOX_FAILURE_TYPE, startLine, type Report } from './report-lines.ts';
import type { RuntimeStart, StartedRuntime } from './start-runtime.ts';
import { mayFollow, type EnvironmentState } from './states.ts';
import { StreamedResponse } from './streamed-response.ts';

/**
 * An init that does not end is given up so long before its last limit, so that the answer reaches a caller whose patience ends at that limit, counted from
 * a little earlier: his call came before the process was started.
 */
const ANSWER_MARGIN_MS = 250;
/** Output is waited for at most this many turns of the event loop, so that a process that prints without end cannot hold up its own end. */
const MAX_DRAIN_TURNS = 64;

export interface EnvironmentContext {
  readonly link: ControllerLink;
  readonly replies: WorkerReplies;
  readonly functionLogs: Pick<FunctionLogs, 'append'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly runtimeApi: RuntimeApi;
  readonly code: CodeCache;
  readonly launcher: Launcher;
  readonly memory: MemoryWatch;
  readonly region: string;
  readonly endpointUrl: string;
  /** Of the only environment there will be, where others know it beforehand. */
  readonly logStream?: string;
}

interface Running {
  readonly invocation: InvocationRecord;
  readonly epoch: number;
  readonly deliveryId: number;
  readonly startedAt: number;
  /** Of its time-out; none where it was answered at once. */
  readonly timer: Timer | undefined;
  /** Set once it has ended. */
  completion: Completion | undefined;
  logOpen: boolean;
  /** Where its caller has the beginning of the response. */
  stream?: StreamedResponse;
}

/** Init, until it has ended. Its first part has a limit of its own, what comes after that of an invocation. */
interface Init {
  phase: 'init' | 'invoke';
  /** On the clock of `performance.now()`. */
  phaseStartedAt: number;
  timer: Timer;
  /** As the runtime reported it. */
  reported: Failure | undefined;
}

/** Init, where it has failed. */
interface FailedInit {
  readonly failure: Failure;
  readonly durationMs: number;
}

/** One execution environment; its states are those of {@link EnvironmentState}. */
export class Environment implements RuntimeCalls, WatchedProcess {
  readonly id: string;
  /** 0 where its processes are not seen here. */
  pid = 0;
  readonly #spec: ExecutionSpec;
  readonly #context: EnvironmentContext;
  readonly #onGone: () => void;
  readonly #logStream: string;
  readonly #log: LogWriter;
  #state: EnvironmentState = 'starting';
  #runtime: StartedRuntime | undefined;
  /** There exactly in state `initializing`. */
  #init: Init | undefined;
  #failedInit: FailedInit | undefined;
  /** Until a REPORT has carried it. */
  #initDurationMs: number | undefined;
  #waiting: WaitingNext | undefined;
  #assigned: Extract<Assignment, { kind: 'invoke' }> | undefined;
  #running: Running | undefined;
  /** The invocation whose completion a poll has carried. */
  #reported: Running | undefined;
  #cause: EnvironmentDeparture['cause'] | undefined;
  #peakKiB = 0;
  #outOfMemory = false;
  #outputChunks = 0;

  constructor(id: string, spec: ExecutionSpec, context: EnvironmentContext, onGone: () => void) {
    this.id = id;
    this.#spec = spec;
    this.#context = context;
    this.#onGone = onGone;
    this.#logStream = context.logStream ?? newLogStream(spec.version, context.clock.now());
    this.#log = new LogWriter(context.functionLogs, spec.configuration.logGroup, this.#logStream, () => context.clock.now());
  }

  get state(): EnvironmentState {
    return this.#state;
  }

  /** Starts it; never throws. */
  start(begin: RuntimeStart): void {
    begin({ ...this.#context, spec: this.#spec, calls: this, logStream: this.#logStream }).then(
      (runtime) => this.#started(runtime),
      (error: unknown) => {
        this.#end({ kind: 'cannotStart', message: error instanceof Error ? error.message : String(error) });
        this.#leave();
      },
    );
  }

  /** Stops it in whatever state it is. Idempotent. */
  close(): void {
    this.#end({ kind: 'stopped' });
  }

  #to(state: EnvironmentState): void {
    if (!mayFollow(this.#state, state)) throw new Error(`Environment ${this.id} cannot go from ${this.#state} to ${state}.`);
    this.#state = state;
  }

  #started(runtime: StartedRuntime): void {
    this.#runtime = runtime;
    if (this.#state !== 'starting') {
      this.#leave();
      return;
    }
    this.#to('initializing');
    this.pid = runtime.process.pid ?? 0;
    if (runtime.version !== undefined) this.#log.lines([initStartLine(this.#spec.configuration.runtime, runtime.version)]);
    runtime.process.listen((source, chunk) => {
      this.#outputChunks++;
      this.#log.output(source, chunk);
    });
    void runtime.process.exited.then((status) => this.#exited(status));
    this.#context.memory.busy(this);
    this.#init = { phase: 'init', phaseStartedAt: runtime.startedAt, timer: this.#initTimer(), reported: undefined };
    runtime.begin();
  }

  /** After the init phase's own limit it may go on within the limit of the invocation that waits for it. */
  #initTimer(): Timer {
    const { clock } = this.#context;
    return clock.at(clock.now() + INIT_LIMIT_MS, () => {
      this.#log.lines([initReportLine(INIT_LIMIT_MS, 'init', 'timeout')]);
      const { timeoutSec } = this.#spec.configuration;
      const init = this.#init as Init;
      init.phase = 'invoke';
      init.phaseStartedAt = performance.now();
      init.timer = clock.at(clock.now() + timeoutSec * 1000 - ANSWER_MARGIN_MS, () => this.#failInit(timedOut(timeoutSec)));
    });
  }

  next(waiting: WaitingNext): CallVerdict {
    if (this.#init !== undefined && this.#init.reported === undefined) {
      this.#initDurationMs = performance.now() - (this.#runtime as StartedRuntime).startedAt;
      this.#endInit();
      this.#poll(waiting, { kind: 'initialized', environmentId: this.id, initDurationMs: this.#initDurationMs });
      return 'accepted';
    }
    const running = this.#running;
    if (this.#state !== 'responded' || running?.completion === undefined) return 'invalidState';
    running.timer?.cancel();
    this.#reported = running;
    this.#poll(waiting, { kind: 'completed', environmentId: this.id, completion: running.completion });
    return 'accepted';
  }

  #poll(waiting: WaitingNext, poll: EnvironmentPoll): void {
    this.#to('idle');
    this.#waiting = waiting;
    this.#context.link.next(poll).then(this.#onAssigned, this.#onLinkLost);
  }

  #endInit(): void {
    this.#init?.timer.cancel();
    this.#init = undefined;
    this.#context.memory.idle(this);
  }

  readonly #onAssigned = (assignment: Assignment): void => {
    if (this.#state !== 'idle' && this.#state !== 'failed') return;
    if (assignment.kind === 'stop') this.close();
    else if (this.#failedInit !== undefined) this.#answerWith(this.#failedInit, assignment);
    else if (this.#running?.logOpen === true) this.#assigned = assignment;
    else this.#dispatch(assignment);
  };

  readonly #onLinkLost = (error: unknown): void => {
    this.#context.logger.warn({ err: error, environmentId: this.id }, 'The controller cannot be reached; the environment is stopped.');
    this.close();
  };

  #dispatch({ invocation, epoch, deliveryId }: Extract<Assignment, { kind: 'invoke' }>): void {
    const { clock } = this.#context;
    this.#to('invoking');
    const deadlineMs = clock.now() + this.#spec.configuration.timeoutSec * 1000;
    this.#running = { invocation, epoch, deliveryId, startedAt: performance.now(), timer: clock.at(deadlineMs, this.#onTimeout), completion: undefined, logOpen: true };
    this.#log.endPartialLines();
    this.#log.begin(startLine(invocation.id, invocation.version), { tail: invocation.logTail });
    this.#context.memory.busy(this);
    const clientContext = invocation.clientContext === undefined ? undefined : clientContextHeader(invocation.clientContext);
    this.#waiting?.deliver({
      invocationId: invocation.id,
      deadlineMs,
      invokedArn: invocation.invokedArn,
      traceId: invocation.traceId,
      payload: invocation.payload,
      ...(clientContext === undefined ? {} : { clientContext }),
    });
    this.#waiting = undefined;
  }

  mayEnd(invocationId: string): CallVerdict {
    if (this.#running?.invocation.id !== invocationId) return this.#running === undefined ? 'invalidState' : 'invalidRequestId';
    return this.#state === 'invoking' ? 'accepted' : 'invalidState';
  }

  stream(invocationId: string, contentType: string | undefined): StreamSink | undefined {
    const running = this.#running;
    if (this.mayEnd(invocationId) !== 'accepted' || running?.invocation.responseStream !== true || running.stream !== undefined) return undefined;
    const stream = new StreamedResponse(this.#context.replies, running.invocation, contentType);
    running.stream = stream;
    return {
      write: (chunk, drained) => stream.write(chunk, drained),
      end: (failure) => this.#respond(invocationId, streamedOutcome(failure)),
      tooLarge: () => this.#respond(invocationId, responseTooLarge(MAX_STREAMED_RESPONSE_BYTES)),
    };
  }

  response(invocationId: string, { body, contentType, midstreamError }: RuntimeResponse): CallVerdict {
    // While one response is being streamed there is no other.
    if (this.#running?.stream !== undefined) return 'invalidState';
    return this.#respond(invocationId, streamedOutcome(midstreamError, { body, contentType }));
  }

  responseTooLarge(invocationId: string): CallVerdict {
    return this.#running?.stream === undefined ? this.#respond(invocationId, responseTooLarge(MAX_RESPONSE_BYTES)) : 'invalidState';
  }

  error(invocationId: string, body: Buffer, errorType: string): CallVerdict {
    return this.#respond(invocationId, postedError(body, errorType));
  }

  initError(body: Buffer, errorType: string): CallVerdict {
    const init = this.#init;
    if (init === undefined || init.reported !== undefined) return 'invalidState';
    const failure = reported(body, errorType);
    init.reported = failure;
    this.#context.memory.look(this, this.#context.clock.now());
    this.#drain(() => this.#failInit(failure));
    return 'accepted';
  }

  #respond(invocationId: string, outcome: Outcome): CallVerdict {
    const verdict = this.mayEnd(invocationId);
    if (verdict !== 'accepted') return verdict;
    this.#to('responded');
    this.#settle(outcome);
    this.#context.link.responded(this.id);
    return verdict;
  }

  /** The invocation has ended: answers its caller, as soon as the log tail allows, and closes its log. */
  #settle(outcome: Outcome): void {
    const running = this.#running as Running;
    const { invocation } = running;
    const durationMs = performance.now() - running.startedAt;
    const failed = outcome.kind === 'functionError';
    running.completion = {
      invocationId: invocation.id,
      epoch: running.epoch,
      deliveryId: running.deliveryId,
      outcome: outcome.kind,
      durationMs,
      ...(failed ? { errorBody: boundedErrorBody(outcome.body) } : {}),
    };
    if (!invocation.logTail) this.#reply(running, outcome, undefined);
    this.#context.memory.idle(this);
    this.#context.memory.look(this, this.#context.clock.now());
    this.#drain(() => {
      const tail = this.#closeLog(running, durationMs, outcome.status);
      if (invocation.logTail) this.#reply(running, outcome, tail);
      this.#goOn();
    });
  }

  #reply({ invocation, stream }: Running, { kind, body, contentType, errorType }: Outcome, logTail: Buffer | undefined): void {
    if (invocation.kind !== 'sync') return;
    if (stream !== undefined) {
      if (kind === 'success') stream.succeed(logTail);
      else stream.fail(body, errorType, logTail);
      return;
    }
    const tail = logTail === undefined ? {} : { logTail };
    if (kind === 'functionError') this.#context.replies.reply(invocation, { kind, body, functionError: 'Unhandled', ...tail });
    else this.#context.replies.reply(invocation, { kind, body, ...(contentType === undefined ? {} : { contentType }), ...tail });
  }

  #closeLog(running: Running, durationMs: number, status: Report['status']): Buffer | undefined {
    const { memoryMiB } = this.#spec.configuration;
    const usedMiB = Math.ceil(this.#peakKiB / 1024);
    const initDurationMs = this.#initDurationMs;
    this.#initDurationMs = undefined;
    this.#log.endPartialLines();
    this.#log.lines([
      endLine(running.invocation.id),
      reportLine({
        invocationId: running.invocation.id,
        durationMs,
        memoryMiB,
        ...(this.pid === 0 ? {} : { maxMemoryUsedMiB: Math.min(usedMiB, memoryMiB) }),
        ...(initDurationMs === undefined ? {} : { initDurationMs }),
        ...(status === undefined ? {} : { status }),
      }),
    ]);
    running.logOpen = false;
    return this.#log.end();
  }

  /** What waited for the log of the last invocation: the next one, or the end. */
  #goOn(): void {
    const assigned = this.#assigned;
    this.#assigned = undefined;
    if (assigned !== undefined && this.#state === 'idle') this.#dispatch(assigned);
    if (this.#state === 'ending') this.#leave();
  }

  /**
   * Waits until a turn of the event loop brings no more output. What a handler printed before it posted its response was in the pipe before the response
   * was in the socket, so the turn that brought the response has seen both.
   */
  #drain(then: () => void, turns = 0): void {
    const seen = this.#outputChunks;
    setImmediate(() => {
      if (this.#outputChunks === seen || turns === MAX_DRAIN_TURNS) then();
      else this.#drain(then, turns + 1);
    });
  }

  readonly #onTimeout = (): void => {
    const running = this.#running as Running;
    if (this.#state === 'responded') {
      // It has answered but never came back for the next event.
      this.#end({ kind: 'failed' });
      return;
    }
    this.#failInvocation(running, timedOut(this.#spec.configuration.timeoutSec));
  };

  sampled(use: MemoryUse): void {
    this.#peakKiB = Math.max(this.#peakKiB, use.peakKiB);
    const limitKiB = this.#spec.configuration.memoryMiB * 1024;
    if (use.residentKiB <= limitKiB || this.#outOfMemory || this.#runtime === undefined) return;
    if ((proportionalMemoryKiB(this.pid) ?? use.residentKiB) <= limitKiB) return;
    this.#outOfMemory = true;
    // Its exit does the rest, as where the kernel kills a process.
    void this.#runtime.process.kill();
  }

  #exited(status: ExitStatus): void {
    this.#drain(() => {
      const failure = processEnded(status, { outOfMemory: this.#outOfMemory || status.outOfMemory === true });
      if (this.#init !== undefined) this.#failInit(this.#init.reported ?? failure);
      else if (this.#state === 'invoking') this.#failInvocation(this.#running as Running, failure);
      else if (this.#state !== 'failed') this.#end({ kind: 'failed' });
    });
  }

  /** Nothing will run here: what is left to do is to answer the invocation that the controller may have for it. */
  #failInit(failure: Failure): void {
    const init = this.#init;
    if (init === undefined) return;
    const durationMs = failure.status === 'timeout' ? this.#spec.configuration.timeoutSec * 1000 : performance.now() - init.phaseStartedAt;
    this.#log.endPartialLines();
    this.#log.lines([initReportLine(durationMs, init.phase, failure.status)]);
    this.#endInit();
    this.#to('failed');
    this.#failedInit = { failure, durationMs };
    void this.#runtime?.process.kill();
    this.#context.link.next({ kind: 'initFailed', environmentId: this.id, errorBody: boundedErrorBody(failure.body()) }).then(this.#onAssigned, this.#onLinkLost);
  }

  /** The invocation failed while init ran: that time is its duration. */
  #answerWith({ failure, durationMs }: FailedInit, { invocation, epoch, deliveryId }: Extract<Assignment, { kind: 'invoke' }>): void {
    const running: Running = { invocation, epoch, deliveryId, startedAt: performance.now() - durationMs, timer: undefined, completion: undefined, logOpen: true };
    this.#running = running;
    this.#log.endPartialLines();
    this.#log.lines([startLine(invocation.id, invocation.version)]);
    this.#failInvocation(running, failure);
  }

  #failInvocation({ invocation }: Running, failure: Failure): void {
    this.#log.endPartialLines();
    const line = failure.line(invocation.id, this.#context.clock.now());
    if (line !== undefined) this.#log.lines([line]);
    this.#settle({ kind: 'functionError', body: failure.body(invocation.id), status: failure.status });
    this.#end({ kind: 'failed' });
  }

  /** The first cause counts. */
  #end(cause: EnvironmentDeparture['cause']): void {
    if (this.#state === 'ending' || this.#state === 'gone') return;
    const starting = this.#state === 'starting';
    this.#to('ending');
    this.#cause = cause;
    this.#endInit();
    this.#running?.timer?.cancel();
    this.#waiting = undefined;
    void this.#runtime?.process.kill();
    // A start that is under way leaves when it has finished, an invocation when its log is closed.
    if (this.#running?.logOpen === true) this.#cutOff(this.#running);
    else if (!starting) this.#leave();
  }

  /** The environment ends with its last invocation: the log of one that has ended is being closed; one that runs ends here, without an answer unless that had begun. */
  #cutOff(running: Running): void {
    if (running.completion !== undefined) return;
    if (running.stream !== undefined) {
      // Its caller has the beginning: it cannot be run again in its place.
      this.#settle(stoppedMidway());
      return;
    }
    this.#drain(() => {
      this.#closeLog(running, performance.now() - running.startedAt, { errorType: SANDBOX_FAILURE_TYPE });
      this.#goOn();
    });
  }

  #leave(): void {
    if (this.#state !== 'ending') return;
    const cause = this.#cause as EnvironmentDeparture['cause'];
    void (this.#runtime?.dispose() ?? Promise.resolve())
      .catch((error: unknown) => this.#context.logger.error({ err: error, environmentId: this.id }, 'Something of an environment could not be removed.'))
      .then(() => {
        this.#log.endPartialLines();
        this.#to('gone');
        const completion = this.#unreported();
        this.#context.link.gone({ environmentId: this.id, cause, ...(completion === undefined ? {} : { completion }) });
        this.#onGone();
      });
  }

  /** The completion that no poll has carried. */
  #unreported(): Completion | undefined {
    return this.#reported === this.#running ? undefined : this.#running?.completion;
  }
}
