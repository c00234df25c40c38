/**
 * The reference pages, made from the code; `npm run docs` writes them. A test compares them, so that page and code cannot drift apart.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMap, isScalar, parseDocument, type YAMLMap } from 'yaml';
import { SETTINGS } from '../platform/configuration/settings.ts';
import { ERRORS } from '../gateway/lambda-api/errors.ts';
import { SERVED_ELSEWHERE } from '../gateway/lambda-api/handle.ts';
import { OPERATIONS } from '../gateway/lambda-api/model.ts';
import { OPERATION_HANDLERS } from '../gateway/lambda-api/operations/index.ts';
import { RUNTIMES } from '../platform/model/runtimes.ts';
import { METRICS, PER_PROCESS, type MetricDefinition } from '../platform/telemetry/metrics/catalogue.ts';
import { chartSchema } from './chart-schema.ts';

const GENERATED = '<!-- Written by docs/generate.ts from the code; change it there and run `npm run docs`. -->';

/** Path below docs/ and text of every generated page. */
export function generatedPages(): ReadonlyMap<string, string> {
  return new Map([
    ['reference/configuration.md', configuration()],
    ['reference/errors.md', errors()],
    ['reference/metrics.md', metrics()],
    ['lambda-compatibility.md', compatibility()],
    ['../charts/sluice/README.md', chart()],
    ['../charts/sluice/values.schema.json', chartSchema()],
    // A chart holds only what is below it: the dashboard of deploy/, on one line.
    ['../charts/sluice/files/dashboard.json', `${JSON.stringify(JSON.parse(repositoryFile('deploy/grafana/dashboards/sluice.json')))}\n`],
  ]);
}

function configuration(): string {
  const rows = Object.values(SETTINGS).map(({ variable, machineDefault, defaultText, description }) => `| \`${variable}\` | ${machineDefault ?? (defaultText === '' ? 'none' : `\`${defaultText}\``)} | ${description} |`);
  return page('Configuration', [
    'Every setting is an environment variable. A value out of bounds and an unknown `SLUICE_` variable stop the start with a message that names it. `sluice up --port` and `--data` stand for `SLUICE_PORT` and `SLUICE_DATA`.',
    table(['variable', 'default', 'meaning'], rows),
  ]);
}

function errors(): string {
  const rows = Object.entries(ERRORS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { status, type, retryable }]) => `| \`${code}\` | ${status} | ${type ?? ''} | ${retryable ? 'yes' : 'no'} |`);
  return page('Errors of the Lambda API', [
    'Every error that the gateway answers: its code is in the header `x-amzn-ErrorType`, its message in the body. Codes, statuses and messages are Lambda\'s own, but for `NotImplementedException`, which names an operation that Sluice does not have yet.',
    table(['code', 'status', 'whose fault', 'worth sending again'], rows),
    'A function that fails is not an error of the API: the answer is 200 with the header `X-Amz-Function-Error`, and the body is the function\'s error object.',
  ]);
}

function metrics(): string {
  const entries = Object.entries(METRICS) as [string, MetricDefinition][];
  const sections = (['gateway', 'controller', 'worker'] as const).flatMap((role) => {
    const rows = entries
      .filter(([, { roles }]) => roles.includes(role))
      .map(([name, { type, labels = {}, help }]) => `| \`${name}\` | ${type} | ${Object.entries(labels).map(([label, values]) => `\`${label}\`: ${values === PER_PROCESS ? values : values.join(', ')}`).join('; ')} | ${help} |`);
    return [`## ${role[0]?.toUpperCase()}${role.slice(1)}`, table(['metric', 'type', 'labels and all their values', 'meaning'], rows)];
  });
  return page('Metrics', [
    'Each process of a role answers `GET /metrics` on its internal listener (`SLUICE_INTERNAL_HOST`, `SLUICE_INTERNAL_PORT`) in Prometheus\' text format. What every Node process has (memory, processor time, delay of the event loop, garbage collection) is there under the names that `prom-client` gives it: `process_…` and `nodejs_…`.',
    'Labels have a closed set of values, so the number of time series is known: no metric is labelled with functions. How a function does is in its log.',
    ...sections,
  ]);
}

function compatibility(): string {
  const has = (operation: string): boolean => SERVED_ELSEWHERE.has(operation) || OPERATION_HANDLERS.has(operation);
  const names = [...OPERATIONS.keys()].sort();
  const here = names.filter(has);
  const rows = names.map((name) => `| ${name} | ${has(name) ? 'works' : 'answers 501'} |`);
  return page('Compatibility with Lambda', [
    `${here.length} of the ${names.length} operations of Lambda's service model work; each of the others answers 501 and its name.`,
    `Runtimes: ${RUNTIMES.map(({ name }) => `\`${name}\``).join(', ')}. They run on the Node and the Python of the machine, whatever minor version they name.`,
    'Parameters of the operations that work but that are not there yet (layers, file systems, dead letter queues, SnapStart, code signing, KMS keys) are refused with `InvalidParameterValueException`, never ignored.',
    'Functions that are container images run [where workers are pods of Kubernetes](kubernetes.md#functions-that-are-container-images), and are refused elsewhere. `ResolvedImageUri` is the `ImageUri`, and `CodeSha256` its digest, or the hash of a reference that names none: what a tag means is found out by the node that pulls it.',
    '',
    'What is taken and does not mean quite the same: `VpcConfig` is kept and shown everywhere, and its security groups decide what a function may reach [where functions run in pods of Kubernetes](kubernetes.md#security-groups), and nowhere else: in one process, with `docker compose` and with workers on machines of your own it isolates nothing. There is one network, `vpc-00000000000000001`, so subnets are kept and shown only. Ids of security groups are `sg-` and up to 60 lower-case letters and digits; a group that nobody has said anything of is taken, and allows nothing. Resource-based policies are kept and shown, and refuse nobody as long as requests are not authenticated. Event invoke configs say how often and how long events are tried; a destination in one is refused.',
    '`InvokeWithResponseStream` passes a response on while the function writes it, up to 200 MiB and without Lambda\'s limit of bandwidth; a function that does not stream answers with all of it. `InvokeComplete` has an `ErrorCode` where that fails: `Unhandled` before the function has begun to stream (`ErrorDetails` is its error object); then the type that the handler threw, `Sandbox.Timedout`, `Runtime.TruncatedResponse` (its process ended), `Function.ResponseSizeTooLarge`, or `Sandbox.Failure` (the environment was lost). `ResponseStreamContentType` is the type that the handler has named, otherwise `application/vnd.amazon.eventstream`.',
    table(['operation', 'state'], rows),
  ]);
}

function chart(): string {
  const { contents } = parseDocument(repositoryFile('charts/sluice/values.yaml'));
  const rows = isMap(contents) ? chartValues(contents, []).map(({ path, value, description }) => `| \`${path}\` | \`${JSON.stringify(value)}\` | ${description} |`) : [];
  return page('The Helm chart', [
    '`helm install sluice charts/sluice --namespace sluice --create-namespace` installs gateways, controllers, the namespace that worker pods run in, and one each of Kafka, MinIO and Redis for evaluation. How to go on from there, and what is where: [docs/kubernetes.md](../../docs/kubernetes.md). With services of your own: [values-production.yaml](values-production.yaml).',
    'A value of the wrong form and an unknown name are refused before anything is installed (`values.schema.json`), likewise settings that Sluice itself would refuse at its start.',
    table(['value', 'default', 'meaning'], rows),
  ]);
}

/** Every value that has a description (a comment that begins with `--`), in the order of the file. One that has is shown whole. */
export function chartValues(map: YAMLMap, above: readonly string[]): readonly { readonly path: string; readonly value: unknown; readonly description: string | undefined }[] {
  // The comment before the first key of a map is the map's own.
  return map.items.flatMap(({ key, value }, index) => {
    if (!isScalar(key)) return [];
    const path = [...above, String(key.value)];
    const comment = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined);
    const description = /(?:^|\n) -- ([\s\S]*)/.exec(comment ?? '')?.[1]?.replaceAll(/\n ?/g, ' ');
    if (description === undefined && isMap(value) && value.items.length > 0) return chartValues(value, path);
    return [{ path: path.join('.'), value: (value as YAMLMap).toJSON() as unknown, description }];
  });
}

function repositoryFile(path: string): string {
  return readFileSync(join(import.meta.dirname, '..', path), 'utf8');
}

function table(head: readonly string[], rows: readonly string[]): string {
  return [`| ${head.join(' | ')} |`, `|${head.map(() => ' --- |').join('')}`, ...rows].join('\n');
}

function page(title: string, parts: readonly string[]): string {
  return `${[`# ${title}`, GENERATED, ...parts].join('\n\n')}\n`;
}
