/**
 * Who may dial whom by the chart's NetworkPolicies, worked out as a network that enforces them would. The test cluster's does not: what is tested here is what is rendered.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { securityGroupLabel } from '../../../platform/worker-pool/kubernetes/labels.ts';
import { mainContainer, NAMESPACE, ofKind, podOf, podsOf, render, VALUE_SETS, withoutHelm, type KubernetesObject, type Labels, type Pod } from './rendering.ts';

interface Selector {
  readonly matchLabels?: Labels;
}
interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string };
}
interface Rule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly { readonly protocol: string; readonly port: string | number }[];
}
interface Policy {
  readonly podSelector: Selector;
  readonly policyTypes: readonly string[];
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
}
/** Where a connection begins or ends: a pod of the chart, or something else with a namespace and labels. */
interface End {
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports?: Readonly<Record<string, number>>;
}

const selects = ({ matchLabels = {} }: Selector, labels: Labels): boolean => Object.entries(matchLabels).every(([key, value]) => labels[key] === value);

function isPeer(peer: Peer, end: End, ofPolicy: string): boolean {
  if (peer.ipBlock !== undefined) return false;
  const namespace = peer.namespaceSelector === undefined ? end.namespace === ofPolicy : selects(peer.namespaceSelector, { 'kubernetes.io/metadata.name': end.namespace });
  return namespace && selects(peer.podSelector ?? {}, end.labels);
}

/** Whether the policies let `from` dial `to` at this port, a number. As Kubernetes has it: where a policy selects an end, one of those that do must allow it. */
function allows(objects: readonly KubernetesObject[], from: End, to: End, port: number): boolean {
  const policies = ofKind(objects, 'NetworkPolicy').map(({ metadata, spec }) => ({ namespace: metadata.namespace ?? '', spec: spec as unknown as Policy }));
  const permitted = (end: End, other: End, type: 'Ingress' | 'Egress'): boolean => {
    const own = policies.filter(({ namespace, spec }) => namespace === end.namespace && spec.policyTypes.includes(type) && selects(spec.podSelector, end.labels));
    return own.length === 0 || own.some(({ namespace, spec }) =>
      ((type === 'Ingress' ? spec.ingress : spec.egress) ?? []).some((rule) => {
        const peers = type === 'Ingress' ? rule.from : rule.to;
        const atPort = rule.ports === undefined || rule.ports.some((one) => (typeof one.port === 'number' ? one.port : to.ports?.[one.port]) === port);
        return atPort && (peers === undefined || peers.some((peer) => isPeer(peer, other, namespace)));
      }));
  };
  return permitted(from, to, 'Egress') && permitted(to, from, 'Ingress');
}

const asEnd = (pod: Pod, more: Labels = {}): End => ({
  namespace: pod.namespace,
  labels: { ...pod.labels, ...more },
  ports: Object.fromEntries((mainContainer(pod).ports ?? []).map(({ name, containerPort }) => [name, containerPort])),
});
const STRANGER: End = { namespace: 'elsewhere', labels: {} };
const DNS: End = { namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } };

describe('network policies', { skip: withoutHelm }, () => {
  const rendered = (name: string): readonly KubernetesObject[] => (withoutHelm === false ? render(VALUE_SETS[name] ?? {}) : []);
  const objects = rendered('default');
  const everything = rendered('everything');
  const external = rendered('external');

  /** Component by component, whom it may dial among all pods of the chart, and at which port. */
  test('who may dial whom is exactly who must', () => {
    const pods = podsOf(objects);
    const component = ({ labels }: Pod): string => labels['app.kubernetes.io/component'] ?? '';
    const found = pods.flatMap((from) => pods.flatMap((to) => Object.values(asEnd(to).ports ?? {}).filter((port) => allows(objects, asEnd(from), asEnd(to), port)).map((port) => `${component(from)} → ${component(to)}:${port}`)));
    assert.deepEqual(found.sort(), [
      'controller → gateway:9401', 'controller → kafka:9092', 'controller → minio:9000', 'controller → redis:6379',
      'gateway → kafka:9092', 'gateway → minio:9000', 'gateway → redis:6379',
      'kafka → kafka:9092',
      // The release's test is a client.
      'test → gateway:9400',
      'worker → controller:9401', 'worker → gateway:9400', 'worker → gateway:9401', 'worker → minio:9000',
    ]);
  });

  test('nobody dials a worker, whatever is in its namespace dials Sluice only, and all find DNS', () => {
    const worker = asEnd(podOf(objects, 'worker'));
    for (const from of [STRANGER, DNS, worker, ...podsOf(objects).map((pod) => asEnd(pod))]) assert.ok(!allows(objects, from, worker, 9401));
    const lost: End = { namespace: worker.namespace, labels: {} };
    for (const from of [worker, lost]) for (const port of [22, 80, 443, 5432, 9092]) assert.ok(!allows(objects, from, STRANGER, port));
    for (const name of ['worker', 'controller', 'gateway', 'kafka']) assert.ok(allows(objects, asEnd(podOf(objects, name)), DNS, 53), name);
    assert.ok(!allows(objects, asEnd(podOf(objects, 'redis')), DNS, 53));
  });

  test('anybody may be a client, unless it is said who', () => {
    assert.ok(allows(objects, { ...STRANGER, namespace: 'other' }, asEnd(podOf(objects, 'gateway')), 9400));
    const gateway = asEnd(podOf(everything, 'gateway'));
    assert.ok(!allows(everything, { ...STRANGER, namespace: 'other' }, gateway, 9400));
    for (const from of [STRANGER, asEnd(podOf(everything, 'worker')), asEnd(podOf(everything, 'test'))]) assert.ok(allows(everything, from, gateway, 9400));
  });

  test('metrics are for whom it is said', () => {
    for (const role of ['gateway', 'controller', 'worker']) {
      assert.ok(!allows(objects, STRANGER, asEnd(podOf(objects, role)), 9401), role);
      assert.ok(allows(everything, STRANGER, asEnd(podOf(everything, role)), 9401), role);
    }
  });

  test('only controllers reach the Kubernetes API', () => {
    for (const port of [443, 6443]) {
      assert.ok(allows(objects, asEnd(podOf(objects, 'controller')), STRANGER, port));
      for (const role of ['gateway', 'worker']) assert.ok(!allows(objects, asEnd(podOf(objects, role)), STRANGER, port), role);
    }
  });

  test('all functions reach what functions.egress says, those in security groups what these say besides', () => {
    const worker = (...groups: readonly string[]): End => asEnd(podOf(everything, 'worker'), Object.fromEntries(groups.map((id) => [securityGroupLabel(id), ''])));
    const reached = (from: End): readonly number[] => [25, 587, 5432, 6379].filter((port) => allows(everything, from, STRANGER, port));
    assert.deepEqual(reached(worker()), [5432], 'a pod that waits, and one whose function is in none');
    assert.deepEqual(reached(worker('sg-0a1b')), [587, 5432]);
    assert.deepEqual(reached(worker('sg-2c3d')), [5432, 6379]);
    assert.deepEqual(reached(worker('sg-0a1b', 'sg-2c3d', 'sg-none')), [587, 5432, 6379]);
    assert.deepEqual(reached(worker('sg-none')), [5432], 'one that allows nothing takes nothing away');
    assert.deepEqual(reached(worker('sg-0a1b2', 'sg-9')), [5432], 'one that nobody has said anything of adds nothing');
    assert.deepEqual(reached({ namespace: worker().namespace, labels: { [securityGroupLabel('sg-0a1b')]: '' } }), [], 'only worker pods are in groups');
    assert.deepEqual([25, 587, 5432, 6379].filter((port) => allows(objects, worker('sg-0a1b'), STRANGER, port)), [], 'nothing by default');
  });

  test('each security group is a policy of its own, for egress alone', () => {
    const policy = (ending: string): Policy => ofKind(everything, 'NetworkPolicy').find(({ metadata }) => metadata.name.endsWith(ending))?.spec as unknown as Policy;
    assert.deepEqual(policy('-workers-sg-2c3d').egress?.[1], { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] });
    for (const ending of ['-workers-egress', '-workers-sg-0a1b', '-workers-sg-2c3d', '-workers-sg-none']) assert.deepEqual(policy(ending).policyTypes, ['Egress'], ending);
    assert.deepEqual(ofKind(objects, 'NetworkPolicy').filter(({ metadata: { name } }) => /-workers-/.test(name)), []);
  });

  test('services of one\'s own are reached at their ports: from where they must be', () => {
    const ports = { kafka: [9093, 9094], s3: [443], redis: [6379] };
    const reaches = (role: string, port: number, to: End): boolean => allows(external, asEnd(podOf(external, role)), to, port);
    const other: End = { namespace: 'other', labels: {} };
    for (const role of ['gateway', 'controller', 'worker']) {
      for (const port of ports.s3) assert.ok(reaches(role, port, other), `${role} ${port}`);
      for (const port of ports.redis) assert.equal(reaches(role, port, other), role !== 'worker', `${role} ${port}`);
      // Kafka's peers are given: it is nowhere else.
      for (const port of ports.kafka) assert.deepEqual([reaches(role, port, STRANGER), reaches(role, port, other)], [role !== 'worker', false], `${role} ${port}`);
    }
    assert.ok(podsOf(external).every(({ namespace }) => namespace === NAMESPACE || namespace === 'there'));
  });
});
