/** The state machine of an environment between fakes: whatever happens in whatever order, what it promises to its controller, its callers and its log holds. */
import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import type { FunctionLogs } from '../../../platform/function-logs/function-logs.ts';
import type { ExecutionSpec } from '../../../platform/model/execution-spec.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import type { Assignment, Completion, EnvironmentDeparture, EnvironmentPoll } from '../../../platform/protocol/controller-link.ts';
import type { Reply, StreamedReply } from '../../../platform/protocol/reply.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import type { CodeCache } from '../../../worker/code/code-cache.ts';
import { INIT_LIMIT_MS } from '../../../platform/model/limits.ts';
import { Environment, type EnvironmentContext } from '../../../worker/environment/environment.ts';
import { startProcess } from '../../../worker/environment/start-runtime.ts';
import type { Launcher } from '../../../worker/process/launcher.ts';
import type { MemoryWatch } from '../../../worker/process/memory-watch.ts';
import type { ExitStatus, OutputListener } from '../../../worker/process/runtime-process.ts';
import type { StreamSink } from '../../../worker/runtime-api/runtime-calls.ts';
import type { RuntimeFamily } from '../../../worker/runtimes/runtime.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { invocation } from './harness.ts';

const TIMEOUT_MS = 3_000;
const SPEC = {
  version: '$LATEST',
  functionName: 'f',
  configuration: { runtime: 'nodejs22.x', timeoutSec: TIMEOUT_MS / 1_000, memoryMiB: 128, ephemeralStorageMiB: 512, logGroup: 'group', code: {} },
} as ExecutionSpec;

type Poll = { readonly answer: (assignment: Assignment) => void; readonly fail: (error: Error) => void };

/** An environment, and hands for its controller, its runtime and the machine. */
class Stage {
  readonly clock = new VirtualClock();
  readonly polls: EnvironmentPoll[] = [];
  readonly departures: EnvironmentDeparture[] = [];
  readonly replies: { readonly id: string; readonly reply: Reply }[] = [];
  readonly streams: { readonly id: string; readonly streamed: StreamedReply }[] = [];
  readonly messages: string[] = [];
  readonly assigned: InvocationRecord[] = [];
  readonly delivered: string[] = [];
  readonly environment: Environment;
  /** Where the runtime is streaming a response to. */
  sink: StreamSink | undefined;
  private outstanding: Poll | undefined;
  private readonly fetched = Promise.withResolvers<{ path: string; release: () => void }>();
  private readonly ended = Promise.withResolvers<ExitStatus>();
  private output: OutputListener = () => undefined;

  constructor() {
    const nothing = (): void => undefined;
    const process = {
      pid: 1,
      exited: this.ended.promise,
      listen: (output: OutputListener) => void (this.output = output),
      order: nothing,
      kill: () => {
        this.exit({ code: null, signal: 'SIGKILL' });
        return Promise.resolve();
      },
    };
    const context: EnvironmentContext = {
      clock: this.clock,
      logger: createLogger('silent'),
      region: 'us-east-1',
      endpointUrl: '',
      replies: { reply: ({ id }, reply) => void this.replies.push({ id, reply }), stream: ({ id }, streamed) => void this.streams.push({ id, streamed }) },
      functionLogs: { append: (_group, _stream, events) => void this.messages.push(...events.map(({ message }) => message)) } as Partial<FunctionLogs> as FunctionLogs,
      link: {
        next: (poll) => {
          assert.equal(this.outstanding, undefined, 'one poll at a time');
          assert.deepEqual(this.departures, [], 'nobody polls who has departed');
          this.polls.push(poll);
          return new Promise((answer, fail) => (this.outstanding = { answer, fail }));
        },
        responded: nothing,
        gone: (departure) => void this.departures.push(departure),
      },
      runtimeApi: { open: () => Promise.resolve({ address: '127.0.0.1:1', close: nothing }), close: () => Promise.resolve() },
      code: { acquire: () => this.fetched.promise } as unknown as CodeCache,
      launcher: { expect: nothing, launch: () => Promise.resolve({ process, prestarted: false, temporaryDir: undefined, dispose: process.kill }) } as unknown as Launcher,
      memory: { busy: nothing, idle: nothing, look: nothing } as unknown as MemoryWatch,
    };
    this.environment = new Environment('e', SPEC, context, nothing);
    const family = { prepare: () => Promise.resolve({ version: 'v', command: [], runtimeDir: '', interpreterDir: '', folders: [] }), actsAtStart: () => false } as unknown as RuntimeFamily;
    this.environment.start((request) => startProcess(family, request));
  }

  fetch(): void {
    this.fetched.resolve({ path: '', release: () => undefined });
  }

  cannotFetch(): void {
    this.fetched.reject(new Error('no such package'));
  }

  exit(status: ExitStatus): void {
    this.ended.resolve(status);
  }

  print(text: string): void {
    this.output('stdout', Buffer.from(text));
  }

  next(): void {
    this.environment.next({ deliver: ({ invocationId }) => void this.delivered.push(invocationId) });
  }

  assign(record: InvocationRecord): void {
    const poll = this.take();
    if (poll === undefined) return;
    this.assigned.push(record);
    poll.answer({ kind: 'invoke', invocation: record, epoch: 1, deliveryId: 1 });
  }

  /** The poll that is outstanding. */
  take(): Poll | undefined {
    const poll = this.outstanding;
    this.outstanding = undefined;
    return poll;
  }

  completionsOf(id: string): Completion[] {
    const polled = this.polls.flatMap((poll) => (poll.kind === 'completed' ? [poll.completion] : []));
    return [...polled, ...this.departures.flatMap(({ completion }) => completion ?? [])].filter(({ invocationId }) => invocationId === id);
  }
}

type Step = (stage: Stage) => unknown;

let records = 0;

const STEPS: Readonly<Record<string, Step>> = {
  turn: () => turn(),
  fetch: (stage) => stage.fetch(),
  cannotFetch: (stage) => stage.cannotFetch(),
  next: (stage) => stage.next(),
  respond: ({ environment, delivered }) => environment.response(delivered.at(-1) ?? 'none', { body: Buffer.from('1'), contentType: 'application/json', streamed: false }),
  fail: ({ environment, delivered }) => environment.error(delivered.at(-1) ?? 'none', Buffer.from('{}'), 'Error'),
  respondTooMuch: ({ environment, delivered }) => environment.responseTooLarge(delivered.at(-1) ?? 'none'),
  respondToStranger: ({ environment }) => assert.notEqual(environment.error('stranger', Buffer.from('{}'), 'Error'), 'accepted'),
  stream: (stage) => (stage.sink = stage.environment.stream(stage.delivered.at(-1) ?? 'none', 'text/plain') ?? stage.sink),
  write: ({ sink }) => sink?.write(Buffer.from('some'), () => undefined),
  endStream: ({ sink }) => sink?.end(undefined),
  failStream: ({ sink }) => sink?.end({ type: 'OrderRefused', body: Buffer.alloc(0) }),
  streamTooMuch: ({ sink }) => sink?.tooLarge(),
  initError: ({ environment }) => environment.initError(Buffer.from('{"errorType":"Own"}'), 'Own'),
  exit: (stage) => stage.exit({ code: 3, signal: null }),
  print: (stage) => stage.print('one line\nand a half'),
  assign: (stage) => stage.assign(invocation({}, { id: `i${records++}` })),
  assignTail: (stage) => stage.assign(invocation({}, { id: `i${records++}`, logTail: true })),
  assignStream: (stage) => stage.assign(invocation({}, { id: `i${records++}`, responseStream: true })),
  assignStreamTail: (stage) => stage.assign(invocation({}, { id: `i${records++}`, responseStream: true, logTail: true })),
  assignAsync: (stage) => stage.assign(invocation({}, { id: `i${records++}`, kind: 'async' })),
  tellToStop: (stage) => stage.take()?.answer({ kind: 'stop' }),
  loseLink: (stage) => stage.take()?.fail(new Error('away')),
  pass: ({ clock }) => clock.advance(TIMEOUT_MS),
  passInit: ({ clock }) => clock.advance(INIT_LIMIT_MS),
  close: ({ environment }) => environment.close(),
};

/** How often each step is drawn beside the others: those that end everything are rare. */
const WEIGHTS: Readonly<Record<string, number>> = { turn: 12, fetch: 6, next: 10, respond: 6, assign: 6, assignTail: 4, assignAsync: 4, assignStream: 8, assignStreamTail: 4, stream: 8, write: 3, endStream: 3, failStream: 1, streamTooMuch: 0.5, cannotFetch: 0.2, loseLink: 0.3, close: 0.5, tellToStop: 0.5, exit: 0.7, pass: 0.7 };

async function play(steps: readonly string[]): Promise<Stage> {
  const stage = new Stage();
  for (const step of steps) await STEPS[step]?.(stage);
  return stage;
}

/** Ends it, and lets everything happen that still waits. */
async function end(stage: Stage): Promise<void> {
  stage.fetch();
  stage.environment.close();
  for (let i = 0; i < 10; i++) await turn();
}

/** What holds of every environment that is gone. */
function check(stage: Stage): void {
  const { environment, departures, polls, assigned, messages, replies, streams, clock, delivered } = stage;
  assert.equal(environment.state, 'gone');
  assert.equal(departures.length, 1, 'one departure');
  assert.equal(clock.pending, 0, 'no timer is left');
  const firsts = polls.filter(({ kind }) => kind !== 'completed');
  assert.ok(firsts.length <= 1 && firsts[0] === polls[0], 'one first poll');
  if (polls[0]?.kind === 'initFailed') assert.deepEqual([polls.length, delivered.length], [1, 0], 'after a failed init nothing runs');
  const platform = messages.filter((message) => /^(START|END|REPORT) /.test(message)).map((message) => message.split(/[ \t]/, 3).join(' '));
  const begun = assigned.filter(({ id }) => platform.includes(`START RequestId: ${id}`));
  assert.deepEqual(platform, begun.flatMap(({ id }) => ['START', 'END', 'REPORT'].map((line) => `${line} RequestId: ${id}`)), 'whole logs, one after the other');
  for (const { id, kind } of assigned) {
    const completions = stage.completionsOf(id);
    const streamed = streams.filter((stream) => stream.id === id).map((stream) => stream.streamed.body);
    const answers = [...replies.filter((reply) => reply.id === id).map(({ reply }) => reply.kind), ...streamed.map(({ outcome }) => outcome?.kind)];
    assert.ok(completions.length <= (begun.some((record) => record.id === id) ? 1 : 0), `${id} ends at most once, and only if it began`);
    assert.equal(answers.length, kind === 'async' ? 0 : completions.length, `the caller of ${id} hears what the controller hears`);
    for (const kind of answers) assert.equal(kind, completions[0]?.outcome);
    assert.ok(streamed.every((body) => body.writableEnded), `the response of ${id} has come to its end`);
    if (polls[0]?.kind === 'initFailed') assert.ok(completions.every(({ outcome }) => outcome === 'functionError'));
  }
}

test('whatever happens in whatever order: one departure, whole logs, and caller and controller hear the same', async () => {
  const reached = new Set<string>();
  // Half of the runs begin where init does, since much can only happen from there on.
  const step = fc.oneof(...Object.keys(STEPS).map((name) => ({ arbitrary: fc.constant(name), weight: Math.round(10 * (WEIGHTS[name] ?? 1)) })));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom([], ['fetch', 'turn', 'turn']), fc.array(step, { maxLength: 40, size: 'max' }), async (begin, steps) => {
      const stage = await play([...begin, ...steps]);
      await end(stage);
      check(stage);
      for (const poll of stage.polls) reached.add(poll.kind);
      for (const { streamed } of stage.streams) reached.add(`streamed ${streamed.body.outcome?.kind}`);
      for (const { cause, completion } of stage.departures) reached.add(`${cause.kind}${completion === undefined ? '' : ' with an invocation'}`);
    }),
    { numRuns: 500 },
  );
  // Without these the property would say little.
  for (const kind of ['initialized', 'completed', 'initFailed', 'stopped', 'failed', 'failed with an invocation', 'stopped with an invocation', 'streamed success', 'streamed functionError']) assert.ok(reached.has(kind), `no run came to ${kind}`);
});

const READY = ['fetch', 'turn', 'turn', 'next'];
const FAILED_INIT = ['fetch', 'turn', 'turn', 'initError', 'turn', 'turn'];
const RUNNING = [...READY, 'assign', 'turn'];
const STREAMING = [...READY, 'assignStream', 'turn', 'stream', 'write'];

/** Ways to the end, told by: the polls, the cause of the departure, the outcome of the last invocation as the departure has it, and what the caller heard. */
const TABLE: readonly { readonly title: string; readonly steps: readonly string[]; readonly polls: readonly string[]; readonly cause: string; readonly outcome?: string; readonly reply?: string }[] = [
  { title: 'what cannot be fetched cannot start', steps: ['cannotFetch', 'turn'], polls: [], cause: 'cannotStart' },
  { title: 'closed while it starts', steps: ['close', 'fetch', 'turn'], polls: [], cause: 'stopped' },
  { title: 'closed while it initializes', steps: ['fetch', 'turn', 'turn', 'close'], polls: [], cause: 'stopped' },
  { title: 'closed while it is idle', steps: [...READY, 'close'], polls: ['initialized'], cause: 'stopped' },
  { title: 'its process ends while it is idle', steps: [...READY, 'exit', 'turn', 'turn'], polls: ['initialized'], cause: 'failed' },
  { title: 'its controller is away', steps: [...READY, 'loseLink', 'turn'], polls: ['initialized'], cause: 'stopped' },
  { title: 'closed while it runs: nobody is told that it ended', steps: [...RUNNING, 'close'], polls: ['initialized'], cause: 'stopped' },
  { title: 'closed when it has answered', steps: [...RUNNING, 'respond', 'close'], polls: ['initialized'], cause: 'stopped', outcome: 'success', reply: 'success' },
  { title: 'its process ends while it runs', steps: [...RUNNING, 'exit', 'turn', 'turn'], polls: ['initialized'], cause: 'failed', outcome: 'functionError', reply: 'functionError' },
  { title: 'it runs too long', steps: [...RUNNING, 'pass', 'turn'], polls: ['initialized'], cause: 'failed', outcome: 'functionError', reply: 'functionError' },
  { title: 'it answers and never comes back', steps: [...RUNNING, 'respond', 'turn', 'pass', 'turn'], polls: ['initialized'], cause: 'failed', outcome: 'success', reply: 'success' },
  { title: 'its init fails and is somebody’s answer', steps: [...FAILED_INIT, 'assign', 'turn'], polls: ['initFailed'], cause: 'failed', outcome: 'functionError', reply: 'functionError' },
  { title: 'its init fails and is an event’s answer', steps: [...FAILED_INIT, 'assignAsync', 'turn'], polls: ['initFailed'], cause: 'failed', outcome: 'functionError' },
  { title: 'its init fails and is nobody’s answer', steps: [...FAILED_INIT, 'tellToStop', 'turn'], polls: ['initFailed'], cause: 'stopped' },
  { title: 'its init fails and its controller is away', steps: [...FAILED_INIT, 'loseLink', 'turn'], polls: ['initFailed'], cause: 'stopped' },
  { title: 'its process ends in init', steps: ['fetch', 'turn', 'turn', 'exit', 'turn', 'turn', 'assignTail', 'turn'], polls: ['initFailed'], cause: 'failed', outcome: 'functionError', reply: 'functionError' },
  { title: 'its init does not end', steps: ['fetch', 'turn', 'turn', 'passInit', 'pass', 'assign', 'turn'], polls: ['initFailed'], cause: 'failed', outcome: 'functionError', reply: 'functionError' },
  { title: 'its init takes longer than its own limit, and succeeds', steps: ['fetch', 'turn', 'turn', 'passInit', 'next', 'tellToStop', 'turn'], polls: ['initialized'], cause: 'stopped' },
];

/** Ends of a response that its caller has the beginning of. */
const STREAMS: readonly { readonly title: string; readonly steps: readonly string[]; readonly outcome: string; readonly errorType?: string }[] = [
  { title: 'it comes to its end', steps: ['endStream'], outcome: 'success' },
  { title: 'the handler fails midway', steps: ['failStream'], outcome: 'functionError', errorType: 'OrderRefused' },
  { title: 'the runtime posts an error while it streams', steps: ['fail'], outcome: 'functionError', errorType: 'Error' },
  { title: 'it is too large', steps: ['streamTooMuch'], outcome: 'functionError', errorType: 'Function.ResponseSizeTooLarge' },
  { title: 'it takes too long', steps: ['pass', 'turn'], outcome: 'functionError', errorType: 'Sandbox.Timedout' },
  { title: 'its process ends', steps: ['exit', 'turn', 'turn'], outcome: 'functionError', errorType: 'Runtime.TruncatedResponse' },
  { title: 'the environment is stopped: it counts as run', steps: ['close', 'turn'], outcome: 'functionError', errorType: 'Sandbox.Failure' },
  { title: 'another response comes while it is streamed, and is refused', steps: ['respond', 'respondTooMuch', 'endStream'], outcome: 'success' },
];

for (const { title, steps, outcome, errorType } of STREAMS) {
  test(`a streamed response: ${title}`, async () => {
    const stage = await play([...STREAMING, ...steps]);
    await end(stage);
    check(stage);
    const [only, ...more] = stage.streams;
    assert.deepEqual([more, stage.replies], [[], []]);
    assert.equal(only?.streamed.contentType, 'text/plain');
    assert.equal((await buffer(only.streamed.body)).toString(), 'some');
    const { outcome: ended } = only.streamed.body;
    assert.deepEqual([ended?.kind, ended?.kind === 'functionError' ? ended.errorType : undefined], [outcome, errorType]);
    assert.equal(stage.completionsOf(only.id)[0]?.outcome, outcome);
  });
}

test('a streamed response brings the end of its log, where that was asked for', async () => {
  const stage = await play([...READY, 'assignStreamTail', 'turn', 'stream', 'print', 'endStream', 'turn', 'turn']);
  assert.match(String(stage.streams[0]?.streamed.body.outcome?.logTail), /^START [^]*\none line\n[^]*\nREPORT /);
  await end(stage);
  check(stage);
});

test('a response is collected for a caller that takes no stream', async () => {
  const stage = await play([...RUNNING, 'stream', 'respond']);
  await end(stage);
  check(stage);
  assert.deepEqual([stage.sink, stage.streams, stage.replies.map(({ reply }) => reply.kind)], [undefined, [], ['success']]);
});

for (const { title, steps, polls, cause, outcome, reply } of TABLE) {
  test(title, async () => {
    const stage = await play(steps);
    await end(stage);
    check(stage);
    assert.deepEqual(stage.polls.map(({ kind }) => kind), polls);
    assert.equal(stage.departures[0]?.cause.kind, cause);
    assert.equal(stage.departures[0].completion?.outcome, outcome);
    assert.equal(stage.replies[0]?.reply.kind, reply);
  });
}
