/** What docker-compose.yml, the Dockerfile, Prometheus and Grafana say twice, compared with the code and with each other. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { NODE_FLAGS, ROLES } from '../../../cli/roles/role.ts';
import { readSettings, SETTINGS } from '../../../platform/configuration/settings.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { Metrics } from '../../../platform/telemetry/metrics.ts';
import { METRICS, type MetricDefinition } from '../../../platform/telemetry/metrics/catalogue.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

interface Service {
  readonly image: string;
  readonly build?: { readonly target: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly healthcheck: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly deploy: { readonly resources: { readonly limits: { readonly memory?: string; readonly cpus?: string } } };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly volumes?: readonly string[];
  readonly stop_grace_period?: string;
  readonly container_name?: string;
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const composeText = read('docker-compose.yml');
const compose = parse(composeText, { merge: true }) as Compose;
const services = Object.entries(compose.services);
const dockerfile = read('Dockerfile');
const example = read('.env.example');

const service = (name: string): Service => {
  const found = compose.services[name];
  assert.ok(found, `docker-compose.yml has the service ${name}`);
  return found;
};
/** Variables of the image, as ENV sets them. */
const imageVariables = new Map([...dockerfile.matchAll(/(SLUICE_\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]));
const internalPort = imageVariables.get('SLUICE_INTERNAL_PORT') ?? '';
const port = imageVariables.get('SLUICE_PORT') ?? '';
/** `${NAME}`, `${NAME:-default}` and `${NAME:?message}` of a text. */
const substitutions = (text: string): readonly { readonly name: string; readonly operator: string; readonly rest: string }[] =>
  [...text.matchAll(/(?<!\$)\$\{(\w+)(?:(:[-?])([^}]*))?\}/g)].map(([, name = '', operator = '', rest = '']) => ({ name, operator, rest }));

describe('docker-compose.yml', () => {
  test('has the services of a whole Sluice', () => {
    assert.deepEqual(Object.keys(compose.services).sort(), ['controller', 'front', 'gateway', 'grafana', 'kafka', 'minio', 'prometheus', 'redis', 'worker']);
  });

  test('every SLUICE_ variable that a role gets is a setting', () => {
    const known = new Set(Object.values(SETTINGS).map(({ variable }) => variable));
    const given = ROLES.flatMap((role) => Object.keys(service(role).environment ?? {}));
    assert.ok(given.length > 20);
    assert.deepEqual([...given, ...imageVariables.keys()].filter((name) => name.startsWith('SLUICE_') && !known.has(name)), []);
  });

  for (const role of ROLES) {
    test(`the ${role}'s settings are valid together`, () => {
      const values = Object.entries(service(role).environment ?? {}).map(([name, value]): [string, string] => [
        name,
        value.replace(/\$\{\w+(?::-([^}]*))?(?::\?[^}]*)?\}/g, (_match, fallback: string | undefined) => fallback ?? 'x'.repeat(64)),
      ]);
      const settings = readSettings(Object.fromEntries([...imageVariables, ...values]));
      assert.equal(settings.internalHost, '0.0.0.0');
      if (role === 'worker') {
        assert.deepEqual([settings.controllers, settings.s3SecretKey, settings.redisPassword], ['http://controller:9401', undefined, undefined], 'it runs other people\'s code');
        return;
      }
      assert.ok(settings.store.startsWith('s3://minio:') && settings.cache.startsWith('redis://redis:'));
      assert.equal(settings.log, 'kafka://kafka:9092');
    });

    test(`the ${role} is built from its own target, unprivileged, and is given the time that it takes to stop`, () => {
      const { build, image, read_only, cap_drop, stop_grace_period = '', healthcheck, container_name, ports } = service(role);
      assert.equal(build?.target, role);
      assert.match(dockerfile, new RegExp(`^FROM \\w+ AS ${role}$`, 'm'));
      assert.match(image, new RegExp(`^sluice/${role}:`));
      // A worker keeps code and temporary folders in its container.
      assert.equal(read_only, role !== 'worker');
      assert.deepEqual(cap_drop, ['ALL']);
      const patienceSec = role === 'worker' ? SETTINGS.stopPatienceMs.parse(SETTINGS.stopPatienceMs.defaultText) / 1_000 : role === 'gateway' ? 30 : 10;
      assert.ok(Number.parseInt(stop_grace_period, 10) > patienceSec + 5, `${stop_grace_period} for ${patienceSec} s`);
      assert.deepEqual(healthcheck.test, ['CMD', 'node', 'cli/bin/health.mjs', '/readyz']);
      // Otherwise it could not be scaled.
      assert.equal(container_name, undefined);
      assert.equal(ports, undefined);
    });
  }

  test('a worker has no volume: one with a name would be that of all workers, one without stays behind', () => {
    assert.equal(service('worker').volumes, undefined);
    assert.doesNotMatch(dockerfile, /^VOLUME/m);
  });

  test('only the front, Prometheus and Grafana are published, and only to this machine', () => {
    const published = services.filter(([, { ports }]) => ports !== undefined);
    assert.deepEqual(published.map(([name]) => name).sort(), ['front', 'grafana', 'prometheus']);
    for (const [name, { ports = [] }] of published) for (const mapping of ports) assert.match(mapping, /^\$\{\w+:-127\.0\.0\.1:\d+\}:\d+$/, name);
    assert.deepEqual(service('front').ports, [`\${SLUICE_FRONT_PORT:-127.0.0.1:${port}}:${port}`]);
  });

  test('every service has a health check and a memory limit, and none asks for processors that a machine may not have', () => {
    for (const [name, { healthcheck, deploy }] of services) {
      assert.ok(healthcheck.test.length > 1, name);
      assert.match(deploy.resources.limits.memory ?? '', /^\d+[MG]$/, name);
      assert.equal(deploy.resources.limits.cpus, undefined, name);
    }
  });

  test('a stop ends gateways, then the front, then controllers, then workers, then services', () => {
    // Compose stops what depends on others first.
    const before = (name: string): readonly string[] => Object.keys(service(name).depends_on ?? {});
    assert.ok(['front', 'controller', 'kafka', 'minio', 'redis'].every((other) => before('gateway').includes(other)));
    assert.ok(['worker', 'kafka', 'minio', 'redis'].every((other) => before('controller').includes(other)));
    assert.deepEqual(before('worker').toSorted(), ['minio', 'redis']);
    for (const role of ROLES) for (const name of ['kafka', 'minio', 'redis']) assert.ok([undefined, 'service_healthy'].includes(service(role).depends_on?.[name]?.condition), `${role} ${name}`);
  });

  test('no secret is in the file: each is required of .env, and nothing that looks like one has a value', () => {
    for (const [name, { environment = {} }] of services) {
      for (const [variable, value] of Object.entries(environment)) {
        if (!/SECRET|PASSWORD|TOKEN/.test(variable)) continue;
        assert.match(value, /^\$\{\w+:\?[^}]+\}$/, `${name} ${variable}`);
      }
    }
    assert.doesNotMatch(composeText + dockerfile + example, /[0-9a-f]{32,}|[A-Za-z0-9+/]{40,}={1,2}/);
  });

  test('every choice in docker-compose.yml is in .env.example, with the same default, and the other way round', () => {
    const used = substitutions(composeText);
    const offered = new Map([...example.matchAll(/^(#?)(\w+)=(.*)$/gm)].map(([, comment = '', name = '', value = '']) => [name, { optional: comment === '#', value }]));
    assert.deepEqual([...new Set(used.map(({ name }) => name))].sort(), [...offered.keys()].sort());
    for (const { name, operator, rest } of used) {
      const { optional, value } = offered.get(name) ?? { optional: false, value: undefined };
      if (operator === ':?') assert.deepEqual({ name, optional, value }, { name, optional: false, value: '' });
      else assert.deepEqual({ name, value }, { name, value: rest });
    }
  });

  test('what is mounted is there', () => {
    for (const [name, { volumes = [] }] of services) {
      for (const [source = ''] of volumes.filter((volume) => volume.includes(':')).map((volume) => volume.split(':'))) {
        if (source.startsWith('./')) assert.ok(existsSync(join(ROOT, source)), `${name}: ${source}`);
        else assert.ok(source in compose.volumes, `${name}: ${source}`);
      }
    }
  });
});

describe('the Dockerfile', () => {
  const stages = new Map([...dockerfile.matchAll(/^FROM (\S+) AS (\w+)\n([\s\S]*?)(?=^FROM |$(?![\s\S]))/gm)].map(([, from = '', name = '', body = '']) => [name, { from, body }]));
  /** Everything that a stage says, with what it stands on. */
  const whole = (name: string): string => {
    const stage = stages.get(name);
    return stage === undefined ? '' : `${whole(stage.from)}\n${stage.body}`;
  };

  for (const role of ROLES) {
    test(`${role}: a fixed user who is not root, signals that reach it, a health check`, () => {
      const text = whole(role);
      assert.deepEqual([...text.matchAll(/^USER (.+)$/gm)].map(([, user]) => user).at(-1), '10001:10001');
      assert.ok(text.includes(`\nENTRYPOINT ${JSON.stringify(['tini', '--', 'node', ...NODE_FLAGS, 'cli/main.ts']).replaceAll(',', ', ')}\n`));
      assert.match(text, new RegExp(`^CMD \\["${role}"\\]$`, 'm'));
      assert.match(text, /^STOPSIGNAL SIGTERM$/m);
      assert.match(text, /^HEALTHCHECK .* CMD \["node", "cli\/bin\/health\.mjs", "\/readyz"\]$/m);
      assert.match(text, new RegExp(`^EXPOSE ${internalPort}$`, 'm'));
    });
  }

  test('says the release of package.json', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    assert.match(dockerfile, new RegExp(`^ARG VERSION=${version.replaceAll('.', '\\.')}$`, 'm'));
  });

  test('leaves tests, documents and what this machine has out of its context', () => {
    const ignored = read('.dockerignore').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    assert.equal(ignored[0], '*');
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' ')).map((source) => source.split('/')[0] ?? '');
    assert.deepEqual([...new Set(copied)].sort(), ignored.filter((line) => line.startsWith('!')).map((line) => line.slice(1)).sort());
  });
});

describe('deploy/prometheus.yml', () => {
  interface Scrape {
    readonly job_name: string;
    readonly dns_sd_configs?: readonly { readonly names: readonly string[]; readonly type: string; readonly port: number }[];
  }
  const { scrape_configs, global } = parse(read('deploy/prometheus.yml')) as { readonly scrape_configs: readonly Scrape[]; readonly global: Readonly<Record<string, string>> };

  test('finds every replica of every role at its internal port', () => {
    const found = scrape_configs.filter(({ dns_sd_configs }) => dns_sd_configs !== undefined);
    assert.deepEqual(found.map(({ job_name }) => job_name).sort(), [...ROLES].sort());
    for (const { job_name, dns_sd_configs: [by] = [] } of found) assert.deepEqual({ names: by?.names, type: by?.type, port: String(by?.port) }, { names: [job_name], type: 'A', port: internalPort });
  });

  test('waits longer than a controller may wait for the log', () => {
    assert.ok(Number.parseInt(global['scrape_timeout'] ?? '', 10) > 1);
  });
});

describe('the dashboard', () => {
  interface Panel {
    readonly id: number;
    readonly title: string;
    readonly type: string;
    readonly description?: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly datasource?: { readonly uid: string };
    readonly targets?: readonly { readonly expr: string }[];
  }
  const { panels } = JSON.parse(read('deploy/grafana/dashboards/sluice.json')) as { readonly panels: readonly Panel[] };
  const expressions = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
  const catalogue = METRICS as Readonly<Record<string, MetricDefinition>>;
  const metricNames = (expr: string): readonly string[] => [...expr.matchAll(/\b((?:sluice|nodejs|process)_\w+)/g)].map(([, name = '']) => name);
  const nameOf = (sample: string): string => (catalogue[sample] === undefined ? sample.replace(/_(bucket|sum|count)$/, '') : sample);

  test('shows only metrics that exist', () => {
    const known = new Set([...Object.keys(METRICS), ...new Metrics({ role: 'gateway', version: '0', logger: createLogger('silent') }).names]);
    assert.ok(expressions.length > 30);
    assert.deepEqual(expressions.flatMap(({ title, expr }) => metricNames(expr).map((name) => ({ title, name: nameOf(name) }))).filter(({ name }) => !known.has(name)), []);
  });

  test('asks for labels and values that the metrics have', () => {
    for (const { title, expr } of expressions) {
      const names = metricNames(expr).filter((name) => name.startsWith('sluice_'));
      const labels = new Set(['job', 'instance', 'le', ...names.flatMap((name) => Object.keys(catalogue[nameOf(name)]?.labels ?? {}))]);
      for (const [, list = ''] of expr.matchAll(/\bby \(([^)]*)\)/g)) for (const label of list.split(',').map((text) => text.trim())) assert.ok(labels.has(label), `${title}: by ${label}`);
      for (const [, name = '', selector = ''] of expr.matchAll(/(sluice_\w+)\{([^}]*)\}/g)) {
        for (const [, label = '', value = ''] of selector.matchAll(/(\w+)="([^"]*)"/g)) assert.ok(catalogue[nameOf(name)]?.labels?.[label]?.includes(value), `${title}: ${label}=${value}`);
      }
    }
  });

  test('takes rates of counters and quantiles of histograms, as they are meant', () => {
    for (const { title, expr } of expressions) {
      for (const name of metricNames(expr).filter((candidate) => candidate.startsWith('sluice_'))) {
        const { type } = catalogue[nameOf(name)] ?? {};
        assert.equal(type !== 'gauge', new RegExp(`rate\\(${name}[{[]`).test(expr), `${title}: ${name} is a ${type}`);
      }
    }
  });

  test('shows every metric of the catalogue', () => {
    const shown = new Set(expressions.flatMap(({ expr }) => metricNames(expr).map(nameOf)));
    // The same as others by another way, or constant.
    const elsewhere = ['sluice_functions', 'sluice_worker_room_environments', 'sluice_worker_room_bytes', 'sluice_worker_invocations_total'];
    assert.deepEqual(Object.keys(METRICS).filter((name) => !shown.has(name)), elsewhere);
  });

  test('its panels explain themselves, do not overlap, and ask the provisioned data source', () => {
    const { datasources } = parse(read('deploy/grafana/provisioning/datasources/prometheus.yml')) as { readonly datasources: readonly { readonly uid: string; readonly url: string }[] };
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const taken = new Set<string>();
    for (const { title, type, description, datasource, gridPos } of panels) {
      if (type !== 'row') assert.deepEqual({ title, described: description !== undefined, uid: datasource?.uid }, { title, described: true, uid: datasources[0]?.uid });
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x},${y}`), `${title} lies on another panel`);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});

describe('deploy/make-env.sh', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-env-'));
  });
  after(() => rmSync(folder, { recursive: true }));
  const make = (file: string): string => execFileSync('sh', [join(ROOT, 'deploy', 'make-env.sh'), file], { encoding: 'utf8' });

  test('gives every secret a value of its own, for its owner\'s eyes only, and says none of them', () => {
    const file = join(folder, 'made');
    const said = make(file);
    const secrets = [...readFileSync(file, 'utf8').matchAll(/^\w+=([0-9a-f]{64})$/gm)].map(([, value = '']) => value);
    assert.equal(secrets.length, [...example.matchAll(/^\w+=$/gm)].length);
    assert.equal(new Set(secrets).size, secrets.length);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    for (const secret of secrets) assert.ok(!said.includes(secret));
  });

  test('leaves one that is there as it is', () => {
    const file = join(folder, 'kept');
    make(file);
    const first = readFileSync(file, 'utf8');
    assert.match(make(file), /stays as it is/);
    assert.equal(readFileSync(file, 'utf8'), first);
  });
});
