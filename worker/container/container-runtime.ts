import { constants } from 'node:os';
import type { Clock } from '../../platform/clock.ts';
import type { RuntimeExit } from '../../platform/protocol/controller-link.ts';
import type { StartedRuntime } from '../environment/start-runtime.ts';
import type { ExitStatus } from '../process/runtime-process.ts';
import type { CallVerdict, RuntimeCalls, RuntimeResponse, StreamSink, WaitingNext } from '../runtime-api/runtime-calls.ts';
import type { RuntimeApi, RuntimeApiAddress } from '../runtime-api/server.ts';

/** Longer than pods of container images get to end where nothing runs in them any more. */
const LINGER_MS = 1_500;
/** What is above it in an exit status is the number of a signal. */
const SIGNALLED = 128;
const SIGNAL_OF = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals]));

/** What the runtime has said before anybody was there to hear it. */
type FirstCall = { readonly kind: 'next'; readonly waiting: WaitingNext } | { readonly kind: 'initError'; readonly body: Buffer; readonly errorType: string };

/**
 * The runtime of a container image: it runs in a container of its own beside this worker, started by whoever made the pod, and speaks to the Runtime API at a port of the
 * pod that is known beforehand. So it is there before the environment that it is for: its first call is kept until then. One environment for the life of the pod.
 */
export class ContainerRuntime implements RuntimeCalls {
  /** Resolves when the runtime is ready for events, or has said why it never will be: from then on an environment may be placed here. */
  readonly ready: Promise<void>;
  readonly #clock: Clock;
  readonly #openedAt = performance.now();
  readonly #exited = Promise.withResolvers<ExitStatus>();
  #isReady: () => void = () => undefined;
  #first: FirstCall | undefined;
  #environment: RuntimeCalls | undefined;
  #address: RuntimeApiAddress | undefined;
  #taken = false;

  private constructor(clock: Clock) {
    this.#clock = clock;
    this.ready = new Promise((resolve) => (this.#isReady = resolve));
  }

  /** Rejects where the port is taken. */
  static async open(runtimeApi: RuntimeApi, port: number, clock: Clock): Promise<ContainerRuntime> {
    const runtime = new ContainerRuntime(clock);
    runtime.#address = await runtimeApi.open(runtime, port);
    return runtime;
  }

  /** Rejects where an environment has had it before: a runtime holds one function's state. */
  attach(environment: RuntimeCalls): Promise<StartedRuntime> {
    if (this.#taken) return Promise.reject(new Error("The function's container has served an environment before."));
    this.#taken = true;
    return Promise.resolve({
      // It ends with the pod. Cut off before, it would write into its log that nobody answers it.
      process: { pid: undefined, exited: this.#exited.promise, listen: () => undefined, kill: () => Promise.resolve() },
      version: undefined,
      startedAt: this.#openedAt,
      begin: () => this.#hand(environment),
      dispose: () => Promise.resolve(),
    });
  }

  /** Whoever watches the pod says so. */
  ended({ code, outOfMemory }: RuntimeExit): void {
    const signal = SIGNAL_OF.get(code - SIGNALLED);
    this.#exited.resolve(signal === undefined ? { code, signal: null, outOfMemory } : { code: null, signal, outOfMemory });
  }

  #hand(environment: RuntimeCalls): void {
    this.#environment = environment;
    const first = this.#first;
    this.#first = undefined;
    if (first?.kind === 'next') environment.next(first.waiting);
    else if (first?.kind === 'initError') environment.initError(first.body, first.errorType);
  }

  /** Stays for a moment in which the container is ended as well, then cuts it off. */
  async close(): Promise<void> {
    if (this.#first !== undefined || this.#environment !== undefined) await new Promise<void>((resolve) => this.#clock.at(this.#clock.now() + LINGER_MS, resolve));
    this.#address?.close();
  }

  next(waiting: WaitingNext): CallVerdict {
    return this.#environment?.next(waiting) ?? this.#keep({ kind: 'next', waiting });
  }

  initError(body: Buffer, errorType: string): CallVerdict {
    return this.#environment?.initError(body, errorType) ?? this.#keep({ kind: 'initError', body, errorType });
  }

  #keep(call: FirstCall): CallVerdict {
    if (this.#first !== undefined) return 'invalidState';
    this.#first = call;
    this.#isReady();
    return 'accepted';
  }

  mayEnd(invocationId: string): CallVerdict {
    return this.#environment?.mayEnd(invocationId) ?? 'invalidState';
  }

  stream(invocationId: string, contentType: string | undefined): StreamSink | undefined {
    return this.#environment?.stream(invocationId, contentType);
  }

  response(invocationId: string, response: RuntimeResponse): CallVerdict {
    return this.#environment?.response(invocationId, response) ?? 'invalidState';
  }

  responseTooLarge(invocationId: string): CallVerdict {
    return this.#environment?.responseTooLarge(invocationId) ?? 'invalidState';
  }

  error(invocationId: string, body: Buffer, errorType: string): CallVerdict {
    return this.#environment?.error(invocationId, body, errorType) ?? 'invalidState';
  }
}
