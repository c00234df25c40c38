/** The chart's objects by themselves: valid for Kubernetes, restricted, complete, for several sets of values. */
import assert from 'node:assert/strict';
import { test, describe } from 'node:test';
import { faults, typeOf } from './kubernetes-types.ts';
import { helm, mainContainer, NAMESPACE, ofKind, one, podOf, podsOf, render, VALUE_SETS, withoutHelm, withValues, type Container, type KubernetesObject, type Labels, type Pod, type PodSpec } from './rendering.ts';

/** Kinds of other projects' APIs, whose types are not in Kubernetes' own. */
const FOREIGN = ['Certificate', 'HTTPRoute', 'PodMonitor', 'PrometheusRule'];

const containersOf = ({ containers, initContainers = [] }: PodSpec): readonly Container[] => [...initContainers, ...containers];

/** What Pod Security Admission's "restricted" refuses (Kubernetes documentation, "Pod Security Standards"), and what this chart asks of itself besides. */
function breaches({ name, spec }: Pod): readonly string[] {
  const pod = spec.securityContext ?? {};
  const found: string[] = [];
  const must = (holds: boolean, what: string): void => {
    if (!holds) found.push(`${name}: ${what}`);
  };
  must(pod['runAsNonRoot'] === true && Number(pod['runAsUser']) > 0, 'runs as a user that is not root');
  must((pod['seccompProfile'] as { type?: string } | undefined)?.type === 'RuntimeDefault', 'seccomp RuntimeDefault');
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC', 'hostUsers']) must(spec[field] === undefined, `no ${field}`);
  for (const volume of spec.volumes ?? []) must(['emptyDir', 'configMap', 'secret'].some((kind) => kind in volume), `volume ${volume.name} is of an allowed kind`);
  must(spec.enableServiceLinks === false, 'no variables of Services');
  for (const container of containersOf(spec)) {
    const own = container.securityContext ?? {};
    const says = (what: string): string => `container ${container.name}: ${what}`;
    must(own['allowPrivilegeEscalation'] === false, says('no way to more rights'));
    must(JSON.stringify(own['capabilities']) === '{"drop":["ALL"]}', says('no capabilities'));
    must(own['readOnlyRootFilesystem'] === true, says('read-only root file system'));
    must(own['privileged'] === undefined && own['runAsUser'] === undefined, says('nothing of its own'));
    must(container.resources?.requests?.['cpu'] !== undefined, says('asks for processor time'));
    // A worker's is for the controller to say.
    if (container.name !== 'worker') must(container.resources?.limits?.['memory'] !== undefined, says('has a limit of memory'));
  }
  return found;
}

const matches = (labels: Labels, selector: { readonly matchLabels?: Labels }): boolean => Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);

describe('the chart, rendered', { skip: withoutHelm }, () => {
  const sets = withoutHelm === false ? Object.entries(VALUE_SETS).map(([name, values]) => ({ name, values, objects: render(values) })) : [];
  const every = sets.flatMap(({ objects }) => objects);

  test('is rendered for several sets of values, and the sets differ', () => {
    assert.deepEqual(sets.map(({ name }) => name), ['default', 'production', 'everything', 'external', 'evaluation']);
    assert.deepEqual(sets.map(({ objects }) => ofKind(objects, 'StatefulSet').length), [3, 0, 3, 0, 3]);
    assert.ok(every.length > 100, `${every.length} objects`);
  });

  for (const { name, values, objects } of sets) {
    test(`${name}: helm lint has nothing against it`, () => {
      const { ok, said } = withValues(values, (args) => helm('lint', args));
      assert.ok(ok, said);
      assert.doesNotMatch(said, /\[(ERROR|WARNING)\]/);
    });

    test(`${name}: every object is of a type that Kubernetes has, and has that type's fields only`, () => {
      for (const object of objects) {
        const type = typeOf(object);
        if (type === undefined) assert.ok(FOREIGN.includes(object.kind), `${object.apiVersion} ${object.kind}`);
        else assert.deepEqual(faults(object, type), [], `${object.kind} ${object.metadata.name}`);
      }
      const worker = podOf(objects, 'worker');
      assert.deepEqual(faults({ metadata: { labels: worker.labels, annotations: worker.annotations }, spec: worker.spec }, 'V1PodTemplateSpec'), []);
    });

    test(`${name}: no two objects have the same name, each has its namespace and its labels`, () => {
      const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`);
      assert.equal(new Set(names).size, names.length);
      const functions = podOf(objects, 'worker').namespace;
      assert.notEqual(functions, NAMESPACE);
      for (const { kind, metadata } of objects) {
        if (kind !== 'Namespace') assert.ok([NAMESPACE, functions].includes(metadata.namespace ?? ''), `${kind} ${metadata.name}`);
        assert.ok(metadata.name.length <= 63, metadata.name);
        assert.deepEqual({ kind, part: metadata.labels?.['app.kubernetes.io/part-of'], by: metadata.labels?.['app.kubernetes.io/managed-by'] }, { kind, part: 'sluice', by: 'Helm' });
      }
    });

    test(`${name}: every pod is restricted`, () => {
      const pods = podsOf(objects);
      assert.ok(pods.length >= 4);
      assert.deepEqual(pods.flatMap(breaches), []);
    });

    test(`${name}: only controllers have a service account's token`, () => {
      for (const { labels, spec } of podsOf(objects)) {
        const controller = labels['app.kubernetes.io/component'] === 'controller';
        assert.equal(spec.automountServiceAccountToken, controller);
        if (spec.serviceAccountName !== undefined) assert.ok(ofKind(objects, 'ServiceAccount').some(({ metadata }) => metadata.name === spec.serviceAccountName));
      }
    });

    test(`${name}: what selects pods finds them, at ports that they have`, () => {
      const pods = podsOf(objects);
      const portsOf = (found: readonly Pod[]): readonly string[] => found.flatMap((pod) => (mainContainer(pod).ports ?? []).map((port) => port.name));
      for (const { metadata, spec } of ofKind(objects, 'Service')) {
        const { selector, ports } = spec as { selector: Labels; ports: readonly { targetPort: string }[] };
        const found = pods.filter(({ labels }) => matches(labels, { matchLabels: selector }));
        assert.equal(found.length, 1, metadata.name);
        for (const { targetPort } of ports) assert.ok(portsOf(found).includes(targetPort), `${metadata.name} ${targetPort}`);
      }
      for (const { kind, metadata, spec } of objects.filter((object) => ['Deployment', 'StatefulSet', 'PodDisruptionBudget'].includes(object.kind))) {
        assert.equal(pods.filter(({ labels }) => matches(labels, spec?.['selector'] as { matchLabels: Labels })).length, 1, `${kind} ${metadata.name}`);
      }
      for (const pod of pods) {
        for (const { startupProbe, livenessProbe, readinessProbe } of pod.spec.containers) {
          for (const probe of [startupProbe, livenessProbe, readinessProbe]) if (probe !== undefined) assert.ok(portsOf([pod]).includes(String((probe.httpGet ?? probe.tcpSocket)?.port)), pod.name);
        }
        for (const container of containersOf(pod.spec)) {
          // A StatefulSet's claims are volumes as well.
          const volumes = new Set([...(pod.spec.volumes ?? []).map((volume) => volume.name), 'data']);
          for (const mount of container.volumeMounts ?? []) assert.ok(volumes.has(mount.name), `${pod.name} ${mount.name}`);
        }
      }
    });

    test(`${name}: what objects refer to is rendered or the operator's`, () => {
      const has = (kind: string, objectName: string, namespace: string): boolean => objects.some((object) => object.kind === kind && object.metadata.name === objectName && object.metadata.namespace === namespace);
      const given = new Set([...JSON.stringify(values).matchAll(/"(?:existingSecret|clientCertificateSecret)":"([^"]+)"/g)].map(([, secret = '']) => secret));
      for (const { namespace, spec } of podsOf(objects)) {
        const secrets = [...JSON.stringify(spec).matchAll(/"secret(?:KeyRef":\{"n|":\{"secretN)ame":"([^"]+)"/g)].map(([, secret = '']) => secret);
        for (const secret of secrets) assert.ok(given.has(secret) || has('Secret', secret, namespace), `${namespace}/${secret}`);
        for (const [, map = ''] of JSON.stringify(spec).matchAll(/"configMap":\{"name":"([^"]+)"/g)) assert.ok(has('ConfigMap', map, namespace), `${namespace}/${map}`);
      }
      for (const object of objects.filter(({ kind }) => ['Ingress', 'HTTPRoute', 'HorizontalPodAutoscaler'].includes(kind))) {
        const [, target = ''] = /"(?:service|backendRefs|scaleTargetRef)":\[?\{[^}]*?"name":"([^"]+)"/.exec(JSON.stringify(object.spec)) ?? [];
        assert.ok(has(object.kind === 'HorizontalPodAutoscaler' ? 'Deployment' : 'Service', target, NAMESPACE), `${object.kind} ${target}`);
      }
    });

    test(`${name}: bundled services have volumes as persistence says`, () => {
      const { enabled = true, keepOnUninstall = true } = (values['persistence'] ?? {}) as { enabled?: boolean; keepOnUninstall?: boolean };
      for (const { metadata, spec } of ofKind(objects, 'StatefulSet')) {
        const claims = spec?.['volumeClaimTemplates'];
        assert.equal(claims !== undefined, enabled && !metadata.name.endsWith('-redis'), metadata.name);
        const retention = spec?.['persistentVolumeClaimRetentionPolicy'] as { whenDeleted: string } | undefined;
        if (claims !== undefined) assert.equal(retention?.whenDeleted, keepOnUninstall ? 'Retain' : 'Delete');
      }
      for (const { metadata } of ofKind(objects, 'Secret')) assert.equal(metadata.annotations?.['helm.sh/resource-policy'], metadata.name.endsWith('-s3') && enabled && keepOnUninstall ? 'keep' : undefined, metadata.name);
    });
  }

  test('what is optional is there exactly where it is asked for', () => {
    const kinds = (name: string): readonly string[] => (sets.find((set) => set.name === name)?.objects ?? []).map(({ kind }) => kind);
    const optional = ['HorizontalPodAutoscaler', 'Ingress', 'HTTPRoute', 'Certificate', 'PodMonitor', 'PrometheusRule', 'ResourceQuota', 'LimitRange'];
    assert.deepEqual(optional.filter((kind) => kinds('everything').includes(kind)), optional);
    assert.deepEqual(optional.filter((kind) => kinds('default').includes(kind)), []);
    assert.deepEqual(['NetworkPolicy', 'PodDisruptionBudget'].filter((kind) => kinds('evaluation').includes(kind)), []);
    assert.deepEqual(['NetworkPolicy', 'PodDisruptionBudget', 'Namespace'].filter((kind) => !kinds('default').includes(kind)), []);
    // Whoever makes the namespace, the HorizontalPodAutoscaler or the Secrets does not share it with the chart.
    assert.ok(!kinds('external').includes('Namespace') && !kinds('external').includes('Secret') && !kinds('production').includes('Secret'));
    const everything = sets.find((set) => set.name === 'everything')?.objects ?? [];
    assert.equal(one(everything, 'Deployment', '-gateway').spec?.['replicas'], undefined);
  });

  test('the functions\' namespace enforces "restricted"', () => {
    const { metadata } = one(sets[0]?.objects ?? [], 'Namespace', '');
    assert.equal(metadata.name, `${NAMESPACE}-functions`);
    for (const mode of ['enforce', 'audit', 'warn']) assert.equal(metadata.labels?.[`pod-security.kubernetes.io/${mode}`], 'restricted');
  });

  test('a counter-test: these checks do see what is wrong', () => {
    const gateway = one(sets[0]?.objects ?? [], 'Deployment', '-gateway');
    const spoil = (change: (object: Record<string, never>) => void): KubernetesObject => {
      const copy = structuredClone(gateway) as unknown as Record<string, never>;
      change(copy);
      return copy as unknown as KubernetesObject;
    };
    const container = (object: Record<string, never>): Record<string, unknown> => (object as unknown as { spec: { template: { spec: { containers: Record<string, unknown>[] } } } }).spec.template.spec.containers[0] ?? {};
    assert.deepEqual(faults(spoil((object) => { container(object)['livenesProbe'] = {}; }), 'V1Deployment'), ['V1Deployment.spec.template.spec.containers[0].livenesProbe is unknown']);
    assert.deepEqual(faults(spoil((object) => { container(object)['name'] = 1; }), 'V1Deployment'), ['V1Deployment.spec.template.spec.containers[0].name is not a text: 1']);
    assert.deepEqual(faults(spoil((object) => { delete container(object)['name']; }), 'V1Deployment'), ['V1Deployment.spec.template.spec.containers[0].name is missing']);
    const loose = spoil((object) => { container(object)['securityContext'] = { privileged: true }; });
    assert.deepEqual(podsOf([loose]).flatMap(breaches).length, 4);
  });
});
