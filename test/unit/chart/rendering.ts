/** The chart as Helm renders it, as objects. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

export const ROOT = join(import.meta.dirname, '..', '..', '..');
export const CHART = join(ROOT, 'charts', 'sluice');
export const RELEASE = 'sluice';
export const NAMESPACE = 'here';

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Labels; readonly annotations?: Labels };
  readonly spec?: Record<string, unknown>;
  readonly data?: Labels;
  readonly [other: string]: unknown;
}
export type Labels = Readonly<Record<string, string>>;
export interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean } };
}
export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string | number };
  readonly tcpSocket?: { readonly port: string | number };
}
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly env?: readonly Variable[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly resources?: { readonly requests?: Labels; readonly limits?: Labels };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
}
export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly emptyDir?: { readonly medium?: string } }[];
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly restartPolicy?: string;
  readonly [other: string]: unknown;
}
/** Everything that pods are made from, with the namespace that they come to. */
export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly spec: PodSpec;
}

/** The oldest that the chart takes; an older Helm would ask for one that is older still. */
const KUBERNETES_MIN = '1.33.0';
/** Kubernetes reads YAML 1.1, in which `on` and `off` without quotes are no texts. */
const AS_KUBERNETES = { version: '1.1' } as const;

const found = spawnSync('helm', ['version', '--short'], { encoding: 'utf8' });
/** Why tests that render the chart are skipped, or false. */
export const withoutHelm = found.status === 0 ? false : 'NOT TESTED: helm is not on PATH, so the chart cannot be rendered. Install Helm 3.14 or newer, or run this where the test cluster\'s tools are on PATH.';

export function helm(command: 'template' | 'lint', args: readonly string[]): { readonly ok: boolean; readonly stdout: string; readonly said: string } {
  const where = command === 'template' ? [RELEASE, CHART, '--namespace', NAMESPACE] : [CHART, '--strict', '--namespace', NAMESPACE];
  const { status, stdout, stderr } = spawnSync('helm', [command, ...where, '--kube-version', KUBERNETES_MIN, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return { ok: status === 0, stdout, said: stdout + stderr };
}

export type Values = Readonly<Record<string, unknown>>;

/** Calls with the arguments that give Helm these values. */
export function withValues<Result>(values: Values, call: (args: readonly string[]) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-chart-'));
  try {
    const file = join(folder, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    return call(['--values', file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Throws with what Helm says where it refuses. */
export function render(values: Values): readonly KubernetesObject[] {
  const { ok, stdout, said } = withValues(values, (args) => helm('template', args));
  if (!ok) throw new Error(said);
  return objectsOf(stdout);
}

export function objectsOf(text: string): readonly KubernetesObject[] {
  return parseAllDocuments(text, AS_KUBERNETES).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.toJS() as KubernetesObject;
  }).filter((object) => object !== null);
}

export function ofKind(objects: readonly KubernetesObject[], kind: string): readonly KubernetesObject[] {
  return objects.filter((object) => object.kind === kind);
}

/** The object of this kind whose name ends so. */
export function one(objects: readonly KubernetesObject[], kind: string, ending: string): KubernetesObject {
  const [object, ...others] = ofKind(objects, kind).filter(({ metadata }) => metadata.name.endsWith(ending));
  if (object === undefined || others.length > 0) throw new Error(`${others.length + (object === undefined ? 0 : 1)} objects of kind ${kind} end with ${ending}`);
  return object;
}

interface Template {
  readonly metadata: { readonly labels: Labels; readonly annotations?: Labels };
  readonly spec: PodSpec;
}

/** What the controller makes worker pods from. */
export function workerTemplate(objects: readonly KubernetesObject[]): Template {
  return parse(one(objects, 'ConfigMap', '-workers').data?.['pod.yaml'] ?? '', AS_KUBERNETES) as Template;
}

export function podsOf(objects: readonly KubernetesObject[]): readonly Pod[] {
  const pod = (name: string, namespace: string | undefined, { metadata, spec }: Template): Pod => ({ name, namespace: namespace ?? '', labels: metadata.labels, annotations: metadata.annotations ?? {}, spec });
  return objects.flatMap((object) => {
    const { kind, metadata } = object;
    if (kind === 'Pod') return [pod(metadata.name, metadata.namespace, object as unknown as Template)];
    if (kind === 'Deployment' || kind === 'StatefulSet') return [pod(metadata.name, metadata.namespace, object.spec?.['template'] as Template)];
    if (kind === 'ConfigMap' && metadata.name.endsWith('-workers')) return [pod(metadata.name, metadata.namespace, workerTemplate(objects))];
    return [];
  });
}

export function podOf(objects: readonly KubernetesObject[], component: string): Pod {
  const pod = podsOf(objects).find(({ labels }) => labels['app.kubernetes.io/component'] === component);
  if (pod === undefined) throw new Error(`no pod of ${component}`);
  return pod;
}

export function mainContainer({ spec, name }: Pod): Container {
  const [container] = spec.containers;
  if (container === undefined) throw new Error(`${name} has no container`);
  return container;
}

export function variable({ env = [] }: Container, name: string): string | undefined {
  return env.find((candidate) => candidate.name === name)?.value;
}

export function readChart(path: string): string {
  return readFileSync(join(CHART, path), 'utf8');
}

/** A certificate, for what wants the text of one. */
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const SOMEBODY = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'elsewhere' } } }];
const PLACED = {
  podLabels: { team: 'a' }, podAnnotations: { note: '1' }, nodeSelector: { disk: 'fast' }, tolerations: [{ key: 'dedicated', operator: 'Exists' }],
  affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, preference: { matchExpressions: [{ key: 'disk', operator: 'Exists' }] } }] } }, priorityClassName: 'high',
};
const WATCHED = { podMonitor: { enabled: true, labels: { prometheus: 'main' } }, prometheusRule: { enabled: true }, dashboard: { enabled: true, datasource: 'metrics-1' } };

/** Everything on, with the bundled services. */
const EVERYTHING: Values = {
  image: { registry: 'registry.example.com:5000', tag: 'v1', pullSecrets: ['pull'] },
  settings: { SLUICE_TOPIC_RETENTION_MS: 604_800_000, SLUICE_REGION: 'eu-central-1' },
  gateway: {
    ...PLACED,
    autoscaling: { enabled: true },
    ingress: { enabled: true, className: 'nginx', host: 'lambda.example.com', annotations: { note: '1' } },
    certificate: { enabled: true, issuerRef: { name: 'letsencrypt', kind: 'ClusterIssuer' } },
    httpRoute: { enabled: true, parentRefs: [{ name: 'public', namespace: 'gateways' }], hostnames: ['lambda.example.com'] },
    service: { type: 'LoadBalancer', port: 80, annotations: { note: '1' } },
  },
  controller: { ...PLACED, replicas: 2 },
  functions: {
    ...PLACED, runtimeClassName: 'gvisor', settings: { SLUICE_FUNCTION_LOG_DAYS: 3 }, resourceQuota: { enabled: true }, limitRange: { enabled: true }, environmentsPerWorker: 4, stopPatienceMs: 60_500,
    egress: [{ to: SOMEBODY, ports: [{ protocol: 'TCP', port: 5432 }] }],
    securityGroups: {
      'sg-0a1b': [{ to: SOMEBODY, ports: [{ protocol: 'TCP', port: 587 }] }],
      'sg-2c3d': [{ to: SOMEBODY, ports: [{ protocol: 'TCP', port: 6379 }] }, { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] }],
      'sg-none': [],
    },
  },
  networkPolicy: { clientsFrom: SOMEBODY, metricsFrom: SOMEBODY, kubernetesApiTo: [{ ipBlock: { cidr: '192.0.2.1/32' } }] },
  monitoring: WATCHED,
  persistence: { storageClass: 'fast', keepOnUninstall: false },
};
/** Services of one's own, with every way of proving who is who. */
const EXTERNAL: Values = {
  nameOverride: 'lambda',
  secret: { existingSecret: 'shared' },
  kafka: { bundled: { enabled: false }, brokers: ['a:9093', 'b:9094'], tls: { enabled: true, ca: PEM, clientCertificateSecret: 'kafka-client' }, sasl: { mechanism: 'scram-sha-256', existingSecret: 'kafka' } },
  s3: { bundled: { enabled: false }, url: 'https://s3.example.com', ca: PEM, existingSecret: 's3', publicUrl: 'https://public.example.com', region: 'eu-central-1' },
  redis: { bundled: { enabled: false }, url: 'rediss://redis.example.com/2', ca: PEM, existingSecret: 'redis' },
  functions: { namespace: 'there', createNamespace: false },
  networkPolicy: { kafkaTo: SOMEBODY },
};

export const VALUE_SETS: Readonly<Record<string, Values>> = {
  default: {},
  production: parse(readChart('values-production.yaml')) as Values,
  everything: EVERYTHING,
  external: EXTERNAL,
  evaluation: { persistence: { enabled: false }, networkPolicy: { enabled: false }, gateway: { podDisruptionBudget: { enabled: false } }, controller: { podDisruptionBudget: { enabled: false } }, functions: { warmPods: { nodejs: 0, python: 0 } } },
};

/** Files of the repository, for what is said in both. */
export const trackedFiles = (under: string): readonly string[] => execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', under], { cwd: ROOT, encoding: 'utf8' }).split('\n').filter((file) => file !== '');
