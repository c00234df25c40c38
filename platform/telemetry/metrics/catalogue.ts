/**
 * Every metric of Sluice's own. A **label** has a closed set of values, so that the number of time series is known before the first one is stored: functions are
 * not labels, since there is no bound on them. Names end with their unit as Prometheus wants it: seconds, bytes, and `_total` for what only grows.
 */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly roles: readonly MetricRole[];
  /** Every value that each label can have; {@link PER_PROCESS} for one that a process never changes. */
  readonly labels?: Readonly<Record<string, readonly string[] | typeof PER_PROCESS>>;
  /** Upper bounds; exactly for histograms. */
  readonly buckets?: readonly number[];
}

export type MetricRole = 'gateway' | 'controller' | 'worker';

/** One value for as long as a process lives. */
export const PER_PROCESS = 'one per process';

/** From the fastest warm invocation to Lambda's longest (900 s). */
const INVOCATION_BUCKETS_SEC = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900];
/** An append takes less than a millisecond on a healthy log; a client gives up at some tens of seconds. */
const APPEND_BUCKETS_SEC = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

const KINDS = ['sync', 'async'] as const;
const ALL_ROLES = ['gateway', 'controller', 'worker'] as const;

export const INVOCATION_TYPES = ['RequestResponse', 'Event', 'DryRun', 'unknown'] as const;
export const INVOCATION_OUTCOMES = ['accepted', 'succeeded', 'function_error', 'throttled', 'refused', 'failed', 'abandoned'] as const;

export const METRICS = {
  sluice_build_info: {
    type: 'gauge', roles: ALL_ROLES, labels: { role: ALL_ROLES, version: PER_PROCESS },
    help: 'Always 1; says which role and release of Sluice the process is.',
  },

  sluice_invocations_total: {
    type: 'counter', roles: ['gateway'], labels: { type: INVOCATION_TYPES, outcome: INVOCATION_OUTCOMES },
    help: 'Requests of Invoke and InvokeWithResponseStream by InvocationType and outcome: accepted (202 or 204), succeeded, function_error (200 with X-Amz-Function-Error, or a stream that ends with the function\'s error), throttled (429), refused (another 4xx), failed (5xx, or a stream that the platform cut short), abandoned (the caller broke off its request).',
  },
  sluice_invocation_duration_seconds: {
    type: 'histogram', roles: ['gateway'], buckets: INVOCATION_BUCKETS_SEC,
    help: 'Synchronous invocations that ran: from the request at the gateway until the first byte of the answer is sent.',
  },
  sluice_event_append_duration_seconds: {
    type: 'histogram', roles: ['gateway'], buckets: APPEND_BUCKETS_SEC,
    help: 'Asynchronous invocations: how long the invocation log took until it had the event for good, which is what a 202 waits for.',
  },
  sluice_waiting_callers: {
    type: 'gauge', roles: ['gateway'],
    help: 'Synchronous callers that wait for their answer or whose answer is being streamed. At SLUICE_MAX_WAITING_SYNC further ones are throttled.',
  },
  sluice_rate_refusals_total: {
    type: 'counter', roles: ['gateway'], labels: { reason: ['FunctionInvocationRateLimitExceeded', 'ReservedFunctionInvocationRateLimitExceeded', 'CallerRateLimitExceeded'] },
    help: 'Synchronous invocations that were throttled at the gateway by Lambda\'s request rates, by the Reason that the caller is told.',
  },
  sluice_rate_limiter_alone: {
    type: 'gauge', roles: ['gateway'],
    help: '1 while the cache is away and the gateway goes by the whole request rate, without the others.',
  },

  sluice_invocations_held: {
    type: 'gauge', roles: ['controller'], labels: { kind: KINDS, state: ['waiting', 'running', 'retrying', 'concluded'] },
    help: 'Invocations that the controller knows of: waiting for an environment, running, retrying (back in the log until later), concluded (ended under an earlier owner, before the log has delivered them here).',
  },
  sluice_invocations_ended_total: {
    type: 'counter', roles: ['controller'], labels: { kind: KINDS, outcome: ['succeeded', 'failed', 'rejected', 'dead_lettered', 'expired', 'released'] },
    help: 'Invocations that are over for this controller: failed is the function\'s error (sync), rejected was not run or lost (sync), dead_lettered used up its attempts (async), expired is past its age, released was left to another owner.',
  },
  sluice_invocation_drift: {
    type: 'gauge', roles: ['controller'],
    help: 'Invocations that are accounted for nowhere or twice. Always 0; anything else is a bug in Sluice.',
  },
  sluice_throttled_total: {
    type: 'counter', roles: ['controller'],
    help: 'Invocations that found no concurrency left: sync callers were told 429, async ones wait and come back.',
  },
  sluice_duplicate_deliveries_total: {
    type: 'counter', roles: ['controller'],
    help: 'Deliveries of invocations that the controller had already, which it did not run again.',
  },
  sluice_stale_reports_total: {
    type: 'counter', roles: ['controller'],
    help: 'Reports of environments about an earlier ownership or attempt, which were not believed.',
  },
  sluice_leases_ended_total: {
    type: 'counter', roles: ['controller'],
    help: 'Invocations given up because their environment said nothing until past the function\'s time-out.',
  },
  sluice_environments: {
    type: 'gauge', roles: ['controller'], labels: { state: ['idle', 'in_use', 'leaving'] },
    help: 'Execution environments by state; in_use are those that start or run an invocation.',
  },
  sluice_environments_memory_bytes: {
    type: 'gauge', roles: ['controller'],
    help: 'Sum of MemorySize over the environments of the controller.',
  },
  sluice_environment_starts_total: {
    type: 'counter', roles: ['controller'],
    help: 'Environments that were started: cold starts.',
  },
  sluice_environment_start_failures_total: {
    type: 'counter', roles: ['controller'],
    help: 'Environments that did not become ready: a failing init, no room, no code.',
  },
  sluice_environment_evictions_total: {
    type: 'counter', roles: ['controller'], labels: { reason: ['room', 'gave_way'] },
    help: 'Environments that stopped for the sake of another function: idle ones to make room, and those that gave way after an invocation to one that waited longer.',
  },
  sluice_environments_waiting_for_room: {
    type: 'gauge', roles: ['controller'],
    help: 'Environments that no worker has room for at present.',
  },
  sluice_versions_without_room: {
    type: 'gauge', roles: ['controller'],
    help: 'Function versions that want another environment and wait for room in the pool.',
  },
  sluice_functions: {
    type: 'gauge', roles: ['controller'],
    help: 'Functions that have invocations or environments at the controller.',
  },
  sluice_workers: {
    type: 'gauge', roles: ['controller'],
    help: 'Workers that have a session with the controller.',
  },
  sluice_pods: {
    type: 'gauge', roles: ['controller'], labels: { state: ['warm', 'spare', 'serving', 'troubled'] },
    help: 'Worker pods in Kubernetes: waiting for any function, made for one that waits, serving one, kept from starting. Every controller sees all of them.',
  },
  sluice_pod_changes_total: {
    type: 'counter', roles: ['controller'], labels: { change: ['created', 'refused', 'assigned', 'resized', 'removed', 'lost'] },
    help: 'What this controller has done about worker pods, what Kubernetes has refused it, and pods that ended with environments of its in them.',
  },
  sluice_kubernetes_requests_total: {
    type: 'counter', roles: ['controller'],
    help: 'Requests to the Kubernetes API server, watches included.',
  },
  sluice_worker_capacity_environments: {
    type: 'gauge', roles: ['controller'],
    help: 'Environments that the workers have room for: the part of their room that they give to this controller.',
  },
  sluice_worker_capacity_bytes: {
    type: 'gauge', roles: ['controller'],
    help: 'MemorySize of environments that the workers have room for: the part that they give to this controller.',
  },
  sluice_owned_partitions: {
    type: 'gauge', roles: ['controller'],
    help: 'Partitions of the invocation log whose functions are dispatched from this controller. Over all controllers the sum is sluice_partitions.',
  },
  sluice_partitions: {
    type: 'gauge', roles: ['controller'],
    help: 'Partitions of the invocation log.',
  },
  sluice_log_backlog: {
    type: 'gauge', roles: ['controller'], labels: { state: ['waiting', 'delayed'] },
    help: 'Events in the invocation log that are not settled, as this controller sees the whole log (take the maximum, not the sum): waiting, and delayed until later. Absent while the log cannot say.',
  },
  sluice_log_backlog_failures_total: {
    type: 'counter', roles: ['controller'],
    help: 'Times that the invocation log could not say how much waits.',
  },

  sluice_worker_environments: {
    type: 'gauge', roles: ['worker'],
    help: 'Execution environments on the worker.',
  },
  sluice_worker_sessions: {
    type: 'gauge', roles: ['worker'],
    help: 'Controllers that the worker has a session with: all of them, when all is well.',
  },
  sluice_worker_room_environments: {
    type: 'gauge', roles: ['worker'],
    help: 'Environments that the worker may host: SLUICE_MAX_ENVIRONMENTS.',
  },
  sluice_worker_room_bytes: {
    type: 'gauge', roles: ['worker'],
    help: 'MemorySize of environments that the worker may host: SLUICE_MAX_ENVIRONMENT_MEMORY_MIB.',
  },
  sluice_worker_invocations_total: {
    type: 'counter', roles: ['worker'], labels: { outcome: ['success', 'function_error', 'not_run'] },
    help: 'Invocations that ended on the worker; not_run: the payload could not be had.',
  },
  sluice_worker_invocation_duration_seconds: {
    type: 'histogram', roles: ['worker'], buckets: INVOCATION_BUCKETS_SEC,
    help: 'Duration of invocations as in their REPORT lines: the function\'s own time.',
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export type MetricName = keyof typeof METRICS;

type NameOfType<Type extends MetricDefinition['type']> = { [Name in MetricName]: (typeof METRICS)[Name]['type'] extends Type ? Name : never }[MetricName];
/** Those that are read when somebody asks. */
export type ReadMetricName = NameOfType<'counter' | 'gauge'>;
export type HistogramName = NameOfType<'histogram'>;

type LabelValue<Values> = Values extends readonly (infer Value)[] ? Value : string;
export type LabelsOf<Name extends MetricName> = (typeof METRICS)[Name] extends { readonly labels: infer Labels } ? { readonly [Label in keyof Labels]: LabelValue<Labels[Label]> } : Readonly<Record<never, string>>;

/** How many time series a metric has in one process at most. */
export function seriesMax({ labels = {}, buckets }: MetricDefinition): number {
  const combinations = Object.values(labels).reduce((product, values) => product * (values === PER_PROCESS ? 1 : values.length), 1);
  // A histogram also has a bucket without bound, a sum and a count.
  return combinations * (buckets === undefined ? 1 : buckets.length + 3);
}
