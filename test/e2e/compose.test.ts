/**
 * `docker compose up` for real: the images of the Dockerfile beside real Kafka, MinIO and Redis, scaled, with a container of each role killed under way, stopped
 * gracefully and taken away without a trace.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { CREDENTIALS, inheritedVariables, lambdaClient } from '../support/access.ts';
import { ROLES } from '../../cli/roles/role.ts';
import { ComposedSluice, whyNoCompose } from '../support/compose.ts';
import { deploy, invoke, result } from '../support/functions.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const SCALE = { worker: 3, controller: 2, gateway: 2 };
/** So many invocations while containers die. */
const EVENTS = 200;
const SENDERS = 4;

/** What a function finds around it in a worker's container; an event's mark it leaves in a bucket, since log lines go with a worker that is killed. */
const LOOKS_AROUND = `
const { execFileSync } = require('node:child_process');
const { writeFileSync, chmodSync } = require('node:fs');
const attempt = (action) => { try { return action(); } catch (error) { return error.code; } };
exports.handler = async (event) => {
  if (event.mark) {
    const { status } = await fetch(process.env.AWS_ENDPOINT_URL + '/marks/' + event.mark, { method: 'PUT', body: 'ran' });
    if (status !== 200) throw new Error('The mark was not taken: ' + status);
  }
  return {
    uid: process.getuid(),
    image: attempt(() => writeFileSync('/opt/sluice/package.json', '')),
    tmp: attempt(() => { writeFileSync('/tmp/program', '#!/bin/sh\\necho ran\\n'); chmodSync('/tmp/program', 0o755); return execFileSync('/tmp/program').toString().trim(); }),
  };
};`;

const reason = await whyNoCompose();
if (reason !== undefined) process.stderr.write(`NOT TESTED: docker-compose.yml, since ${reason}.\n`);

describe('docker compose up', { skip: reason ?? false, timeout: 900_000 }, () => {
  let sluice: ComposedSluice;
  let lambda: LambdaClient;
  let s3: S3Client;

  const command = async (...args: readonly string[]): Promise<string> => {
    const env = { ...inheritedVariables(), AWS_ENDPOINT_URL: sluice.url, AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId, AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey, AWS_REGION: 'us-east-1' };
    const { stdout } = await run(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...args], { env });
    return stdout;
  };

  before(async () => {
    sluice = await ComposedSluice.prepare();
    lambda = lambdaClient(sluice.url, { maxAttempts: 5 });
    s3 = new S3Client({ endpoint: sluice.url, region: 'us-east-1', credentials: CREDENTIALS, forcePathStyle: true });
    await sluice.up(SCALE);
  });
  after(async () => {
    lambda.destroy();
    s3.destroy();
    assert.deepEqual(await sluice.down(), []);
  });

  test('the command deploys and invokes as with sluice up', async () => {
    await command('deploy', join(ROOT, 'examples', 'hello-node'));
    assert.match(await command('invoke', 'hello-node', '-p', '{"name":"compose"}'), /Hello, compose!/);
    await command('deploy', join(ROOT, 'examples', 'hello-python'));
    assert.match(await command('invoke', 'hello-python', '-p', '{"name":"compose"}'), /Hello, compose!/);
    const mark = randomUUID();
    await command('invoke', 'hello-node', '-p', JSON.stringify({ name: mark }), '--async');
    await until('the line is in the log', async () => ((await command('logs', 'hello-node')).includes(mark) ? true : undefined));
  });

  test('functions run unprivileged, cannot change the image, and may run what they write to /tmp', async () => {
    await deploy(lambda, { name: 'looks-around', files: { 'index.js': LOOKS_AROUND } });
    assert.deepEqual(await result(lambda, 'looks-around'), { uid: 10_001, image: 'EACCES', tmp: 'ran' });
  });

  test('Prometheus finds every replica, and every query of the dashboard works', async (t) => {
    await until('Prometheus finds every replica', async () => {
      const up = await sluice.query('sum by (job) (up{job=~"gateway|controller|worker"})');
      return ROLES.every((role) => up.find(({ metric }) => metric['job'] === role)?.value === SCALE[role]) ? true : undefined;
    });
    // Rates need two scrapes of what was there before.
    await until('rates of what was called', async () => {
      await invoke(lambda, 'looks-around', {}, { InvocationType: 'Event' });
      return (await sluice.query('sum(rate(sluice_event_append_duration_seconds_count[1m])) > 0')).length > 0 ? true : undefined;
    });
    const { panels } = JSON.parse(await readFile(join(ROOT, 'deploy', 'grafana', 'dashboards', 'sluice.json'), 'utf8')) as { readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[] };
    const expressions = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr: expr.replaceAll('$__rate_interval', '1m') })));
    for (const { title, expr } of expressions) {
      await until(`${title} has data`, async () => ((await sluice.query(expr)).length > 0 ? true : undefined));
    }
    t.diagnostic(`${expressions.length} queries of the dashboard return data`);
    assert.deepEqual((await sluice.query('max(sluice_partitions) - sum(sluice_owned_partitions)')).map(({ value }) => value), [0]);
  });

  test('a killed container of each role loses nothing that was accepted', async (t) => {
    await s3.send(new CreateBucketCommand({ Bucket: 'marks' }));
    const marks = Array.from({ length: EVENTS }, (_, index) => `${index}-${randomUUID()}`);
    const victims = await Promise.all(ROLES.map(async (role) => (await sluice.containers(role))[0] ?? ''));
    let next = 0;
    let broken = 0;
    const send = async (): Promise<void> => {
      while (next < marks.length) {
        const mark = marks[next++] ?? '';
        // Where a gateway dies with a request nobody knows whether it was accepted: the same event is sent again.
        for (;;) {
          try {
            await invoke(lambda, 'looks-around', { mark }, { InvocationType: 'Event' });
            break;
          } catch {
            broken++;
          }
        }
      }
    };
    const killing = (async () => {
      for (const [index, victim] of victims.entries()) {
        await until('so many events are sent', () => Promise.resolve(next >= ((index + 1) * EVENTS) / (victims.length + 1) ? true : undefined));
        await sluice.kill(victim);
      }
    })();
    await Promise.all([...Array.from({ length: SENDERS }, send), killing]);
    for (const victim of victims) await sluice.start(victim);
    await sluice.up(SCALE);
    await until('every accepted event has run', async () => {
      const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: 'marks' }));
      const ran = new Set(Contents.map(({ Key }) => Key));
      return marks.every((mark) => ran.has(mark)) ? true : undefined;
    });
    assert.equal((await result<{ uid: number }>(lambda, 'looks-around')).uid, 10_001);
    t.diagnostic(`${EVENTS} events accepted and run; ${broken} requests broke off and were sent again`);
    await until('nothing is accounted for nowhere or twice', async () => {
      const drift = await sluice.query('sluice_invocation_drift');
      return drift.length === SCALE.controller && drift.every(({ value }) => value === 0) ? true : undefined;
    });
  });

  test('a stop ends every role by itself with exit code 0, and what was deployed is there after the next start', async () => {
    await sluice.compose('stop');
    for (const service of ['front', ...ROLES]) for (const container of await sluice.containers(service)) assert.equal(await sluice.exitCode(container), 0, container);
    await sluice.up({ worker: 1, controller: 1, gateway: 1 });
    assert.equal((await result<{ uid: number }>(lambda, 'looks-around')).uid, 10_001);
  });
});
