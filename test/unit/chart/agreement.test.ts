/** What the chart says twice, once more than the code, the Dockerfile or docker-compose.yml: ports, variables, limits, rights, images. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { NODE_FLAGS, ROLES } from '../../../cli/roles/role.ts';
import { readSettings, SETTINGS } from '../../../platform/configuration/settings.ts';
import { RUNTIMES } from '../../../platform/model/runtimes.ts';
import { METRICS } from '../../../platform/telemetry/metrics/catalogue.ts';
import { workerVariables } from '../../../platform/worker-pool/kubernetes/manifests.ts';
import { COMPONENT, LABEL, PART_OF, TMP_VOLUME, WORKER_CONTAINER } from '../../../platform/worker-pool/kubernetes/labels.ts';
import { permissions } from '../../../platform/worker-pool/kubernetes/permissions.ts';
import { mainContainer, NAMESPACE, ofKind, one, podOf, podsOf, readChart, render, ROOT, VALUE_SETS, variable, withoutHelm, workerTemplate, type Container, type KubernetesObject, type Labels, type Variable } from './rendering.ts';

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const dockerfile = read('Dockerfile');
/** Variables of the image, as ENV sets them. */
const imageVariables = new Map([...dockerfile.matchAll(/(SLUICE_\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]));
const port = Number(imageVariables.get('SLUICE_PORT'));
const internalPort = Number(imageVariables.get('SLUICE_INTERNAL_PORT'));
const defaultOf = (name: keyof typeof SETTINGS): unknown => SETTINGS[name].parse(SETTINGS[name].defaultText);
const values = parse(readChart('values.yaml')) as { readonly functions: Readonly<Record<string, unknown>>; readonly settings: Labels };

/** The environment of a role's process: secrets as something that is long enough, the pod's address as one. */
function environment({ env = [] }: Container): ReadonlyMap<string, string> {
  const text = ({ name, value, valueFrom }: Variable): string | undefined => {
    if (valueFrom?.secretKeyRef !== undefined) return valueFrom.secretKeyRef.optional === true ? undefined : 'x'.repeat(48);
    return name === 'POD_IP' ? '192.0.2.7' : value?.replace('$(POD_IP)', '192.0.2.7');
  };
  return new Map([...imageVariables, ...env.flatMap((one): [string, string][] => (text(one) === undefined ? [] : [[one.name, text(one) ?? '']]))]);
}

describe('the chart and the code', { skip: withoutHelm }, () => {
  const sets = withoutHelm === false ? Object.entries(VALUE_SETS).map(([name, given]) => ({ name, objects: render(given) })) : [];
  const objects = sets[0]?.objects ?? [];
  const everything = sets.find(({ name }) => name === 'everything')?.objects ?? [];

  for (const { name, objects: rendered } of sets) {
    for (const role of ROLES) {
      test(`${name}: the ${role} gets settings that Sluice has, each once, and they are valid together`, () => {
        const container = mainContainer(podOf(rendered, role));
        const names = (container.env ?? []).map((one) => one.name);
        assert.equal(new Set(names).size, names.length);
        const settings = readSettings(Object.fromEntries([...environment(container)]));
        assert.equal(settings.internalHost, '0.0.0.0');
        if (role === 'worker') return;
        assert.ok(settings.store.startsWith('s3') && settings.cache.startsWith('redis'));
        assert.ok(settings.log.startsWith('kafka://'));
        assert.equal(settings.internalUrl, `http://192.0.2.7:${internalPort}`);
      });
    }

    test(`${name}: no secret outside of Secrets`, () => {
      const secretSettings = new Set(Object.values(SETTINGS).filter((setting) => setting.secret === true).map((setting) => setting.variable));
      for (const pod of podsOf(rendered)) {
        for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
          for (const { name: variableName, value } of container.env ?? []) {
            // The test's keys are no secrets: no gateway looks at them.
            if (secretSettings.has(variableName) || (/SECRET|PASSWORD|TOKEN|ACCESS_KEY$/.test(variableName) && !variableName.startsWith('AWS_'))) assert.equal(value, undefined, `${pod.name} ${variableName}`);
          }
        }
      }
      const text = JSON.stringify(rendered.filter(({ kind }) => kind !== 'Secret'));
      const secrets = ofKind(rendered, 'Secret').flatMap(({ data = {} }) => Object.values(data).map((value) => Buffer.from(value, 'base64').toString()));
      for (const secret of secrets.filter((value) => value !== 'sluice')) {
        assert.match(secret, /^[A-Za-z0-9]{40,48}$/);
        assert.ok(!text.includes(secret) && !text.includes(Buffer.from(secret).toString('base64')));
      }
    });

    test(`${name}: worker pods, which run other people's code, get no key to anything`, () => {
      const fromSecrets = (role: string): readonly string[] => (mainContainer(podOf(rendered, role)).env ?? []).filter(({ valueFrom }) => JSON.stringify(valueFrom ?? {}).includes('secretKeyRef')).map((one) => one.name);
      assert.deepEqual(fromSecrets('worker'), []);
      // The twin: a controller gets some.
      assert.ok(fromSecrets('controller').includes('SLUICE_SECRET'));
      assert.deepEqual(ofKind(rendered, 'Secret').filter(({ metadata }) => metadata.namespace !== NAMESPACE), []);
    });

    test(`${name}: ports are the image's`, () => {
      for (const role of ROLES) {
        const ports = Object.fromEntries((mainContainer(podOf(rendered, role)).ports ?? []).map((one) => [one.name, one.containerPort]));
        assert.deepEqual(ports, role === 'gateway' ? { http: port, internal: internalPort } : { internal: internalPort });
        const { startupProbe, livenessProbe, readinessProbe } = mainContainer(podOf(rendered, role));
        assert.deepEqual([startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet), [{ path: '/healthz', port: 'internal' }, { path: '/healthz', port: 'internal' }, { path: '/readyz', port: 'internal' }]);
      }
      const worker = mainContainer(podOf(rendered, 'worker'));
      const controllers = one(rendered, 'Service', '-controller');
      assert.equal(variable(worker, 'SLUICE_CONTROLLERS'), `http://${controllers.metadata.name}.${NAMESPACE}.svc:${internalPort}`);
      assert.equal(controllers.spec?.['clusterIP'], 'None');
      const gateways = one(rendered, 'Service', '-gateway');
      const [{ port: servicePort }] = gateways.spec?.['ports'] as [{ port: number }];
      assert.equal(variable(worker, 'SLUICE_ENDPOINT_URL'), `http://${gateways.metadata.name}.${NAMESPACE}.svc:${servicePort}`);
      assert.equal(variable(mainContainer(podOf(rendered, 'test')), 'AWS_ENDPOINT_URL'), variable(worker, 'SLUICE_ENDPOINT_URL'));
    });

    test(`${name}: the controller is told of the ConfigMap that is there`, () => {
      const map = one(rendered, 'ConfigMap', '-workers');
      assert.equal(variable(mainContainer(podOf(rendered, 'controller')), 'SLUICE_POOL'), `kubernetes:${map.metadata.namespace}/${map.metadata.name}`);
      assert.equal(map.metadata.namespace, podOf(rendered, 'worker').namespace);
    });

    test(`${name}: everybody is given the time to stop`, () => {
      const gateway = podOf(rendered, 'gateway').spec;
      const drainSeconds = gateway.containers[0]?.lifecycle?.preStop.sleep.seconds ?? 0;
      // A gateway lets its callers finish for 30 s.
      assert.ok((gateway.terminationGracePeriodSeconds ?? 0) >= 30 + drainSeconds + 10);
      const worker = podOf(rendered, 'worker');
      const patienceMs = Number(variable(mainContainer(worker), 'SLUICE_STOP_PATIENCE_MS'));
      assert.equal(worker.spec.terminationGracePeriodSeconds, Math.ceil(patienceMs / 1_000) + 20);
    });

    test(`${name}: rights are those that the pool needs, in the functions' namespace only`, () => {
      assert.deepEqual(rendered.filter(({ kind }) => kind.startsWith('ClusterRole')), []);
      const functions = podOf(rendered, 'worker').namespace;
      const [role, ...others] = ofKind(rendered, 'Role');
      assert.deepEqual({ others, namespace: role?.metadata.namespace }, { others: [], namespace: functions });
      const workers = one(rendered, 'ConfigMap', '-workers').metadata.name;
      assert.deepEqual(role?.['rules'], permissions(workers));
      const [binding] = ofKind(rendered, 'RoleBinding');
      assert.deepEqual(binding?.['subjects'], [{ kind: 'ServiceAccount', name: podOf(rendered, 'controller').spec.serviceAccountName, namespace: NAMESPACE }]);
      assert.deepEqual({ role: (binding?.['roleRef'] as { name: string }).name, namespace: binding?.metadata.namespace }, { role: role?.metadata.name, namespace: functions });
    });
  }

  test('the template of worker pods leaves to the controller what is the controller\'s', () => {
    const { metadata, spec } = workerTemplate(objects);
    assert.deepEqual(spec.containers.map(({ name }) => name), [WORKER_CONTAINER]);
    assert.deepEqual({ restartPolicy: spec.restartPolicy, patience: spec.terminationGracePeriodSeconds }, { restartPolicy: 'Always', patience: 45 });
    assert.deepEqual(spec.volumes?.map(({ name, emptyDir }) => ({ name, medium: emptyDir?.medium })), [{ name: TMP_VOLUME, medium: 'Memory' }, { name: 'data', medium: undefined }]);
    assert.deepEqual(spec.containers[0]?.volumeMounts, [{ name: TMP_VOLUME, mountPath: '/tmp' }, { name: 'data', mountPath: imageVariables.get('SLUICE_DATA') }]);
    assert.deepEqual(spec.containers[0]?.resources, { requests: { cpu: '50m' } });
    assert.deepEqual(Object.keys(metadata.labels).filter((label) => label.startsWith('sluice.dev/')), []);
    assert.deepEqual([metadata.labels[LABEL.partOf], metadata.labels[LABEL.component]], [PART_OF, COMPONENT]);
    const given = new Set(spec.containers[0]?.env?.map(({ name }) => name));
    assert.deepEqual(workerVariables({ configMap: 'workers', environmentsPerPod: 1 }, 'nodejs').filter(({ name }) => given.has(name)), []);
  });

  test('defaults are the code\'s', () => {
    const controller = mainContainer(podOf(objects, 'controller'));
    const pool = ['SLUICE_WARM_PODS', 'SLUICE_WARM_POD_MEMORY_MIB', 'SLUICE_MAX_PODS', 'SLUICE_MAX_STARTING_PODS', 'SLUICE_ENVIRONMENTS_PER_WORKER'];
    const defaults = new Map(Object.values(SETTINGS).map((setting) => [setting.variable, setting.defaultText]));
    for (const name of pool) if (defaults.has(name)) assert.equal(variable(controller, name), defaults.get(name), name);
    assert.equal(values.functions['stopPatienceMs'], defaultOf('stopPatienceMs'));
    assert.deepEqual(Object.keys(values.functions['warmPods'] as object).sort(), [...new Set(RUNTIMES.map(({ family }) => family))].sort());
    assert.equal(variable(mainContainer(podOf(sets.find(({ name }) => name === 'evaluation')?.objects ?? [], 'controller')), 'SLUICE_WARM_PODS'), 'nodejs=0,python=0');
  });

  test('numbers are written out, and a role\'s own setting goes before that of all', () => {
    assert.equal(variable(mainContainer(podOf(everything, 'gateway')), 'SLUICE_TOPIC_RETENTION_MS'), '604800000');
    const rendered = render({ settings: { SLUICE_LOG_LEVEL: 'warn' }, functions: { settings: { SLUICE_LOG_LEVEL: 'debug', SLUICE_FUNCTION_LOG_DAYS: 3 } } });
    assert.deepEqual(ROLES.map((role) => variable(mainContainer(podOf(rendered, role)), 'SLUICE_LOG_LEVEL')), ['warn', 'warn', 'debug']);
    assert.deepEqual(ROLES.map((role) => variable(mainContainer(podOf(rendered, role)), 'SLUICE_FUNCTION_LOG_DAYS')), [undefined, undefined, '3']);
  });

  test('images: one per role, and for the services those of docker-compose.yml', () => {
    const { services } = parse(read('docker-compose.yml'), { merge: true }) as { services: Readonly<Record<string, { image: string; environment: Labels }>> };
    const { version } = JSON.parse(read('package.json')) as { version: string };
    const { appVersion } = parse(readChart('Chart.yaml')) as { appVersion: string };
    assert.equal(appVersion, version);
    for (const role of ROLES) assert.equal(mainContainer(podOf(objects, role)).image, `sluice/${role}:${version}`);
    assert.equal(mainContainer(podOf(everything, 'worker')).image, 'registry.example.com:5000/sluice/worker:v1');
    for (const service of ['kafka', 'minio', 'redis']) assert.equal(mainContainer(podOf(objects, service)).image, services[service]?.image);
    // Addresses and folders differ by nature.
    const own = ['KAFKA_ADVERTISED_LISTENERS', 'KAFKA_LOG_DIRS'];
    for (const [name, value] of Object.entries(services['kafka']?.environment ?? {})) if (!own.includes(name)) assert.equal(variable(mainContainer(podOf(objects, 'kafka')), name), value, name);
  });

  test('no command is replaced but for waiting and testing, which run as the image does', () => {
    for (const role of ROLES) assert.equal(mainContainer(podOf(objects, role)).command, undefined);
    const command = mainContainer(podOf(objects, 'test')).command ?? [];
    assert.deepEqual(command.slice(0, 3), ['tini', '--', 'node']);
    assert.ok(NODE_FLAGS.length > 0 && dockerfile.includes('"tini", "--", "node"'));
    assert.match(command.join(' '), /cli\/main\.ts/);
  });

  test('controllers start again when the template of worker pods changes, and nobody does where nothing has changed', () => {
    const deployments = (rendered: readonly KubernetesObject[]): readonly KubernetesObject[] => ofKind(rendered, 'Deployment');
    const annotation = (rendered: readonly KubernetesObject[]): string | undefined => podOf(rendered, 'controller').annotations['checksum/workers'];
    // Generated secrets differ from rendering to rendering; no pod may start again for it.
    const again = render({});
    assert.notDeepEqual(ofKind(again, 'Secret'), ofKind(objects, 'Secret'));
    assert.deepEqual(deployments(again), deployments(objects));
    const changed = render({ functions: { runtimeClassName: 'gvisor' } });
    assert.notEqual(annotation(changed), annotation(objects));
    assert.deepEqual(podOf(changed, 'gateway'), podOf(objects, 'gateway'));
  });

  test('alerts ask for metrics and labels that there are', () => {
    const { groups } = parse(readChart('files/alerts.yaml')) as { groups: readonly { rules: readonly { alert: string; expr: string }[] }[] };
    const rules = groups.flatMap(({ rules: all }) => all);
    assert.ok(rules.length > 4);
    for (const { alert, expr } of rules) {
      const names = [...expr.matchAll(/\bsluice_\w+/g)].map(([name]) => name);
      assert.ok(names.length > 0 && names.every((name) => name in METRICS), alert);
      for (const [, name = '', label = '', value = ''] of expr.matchAll(/(sluice_\w+)\{(\w+)="([^"]*)"\}/g)) {
        const { labels = {} } = METRICS[name as keyof typeof METRICS] as { labels?: Readonly<Record<string, readonly string[]>> };
        assert.ok(labels[label]?.includes(value), `${alert}: ${label}=${value}`);
      }
    }
    assert.deepEqual(one(everything, 'PrometheusRule', '').spec, { groups });
  });

  test('the dashboard is that of deploy/, with the data source that is asked for', () => {
    const { 'sluice.json': json = '' } = one(everything, 'ConfigMap', '-dashboard').data ?? {};
    assert.deepEqual(JSON.parse(json.replaceAll('"metrics-1"', '"prometheus"')), JSON.parse(read('deploy/grafana/dashboards/sluice.json')));
    assert.ok(json.includes('"uid":"metrics-1"') && !json.includes('"uid":"prometheus"'));
  });
});
