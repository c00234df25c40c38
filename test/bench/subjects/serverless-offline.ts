import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NODE_SOURCE, PYTHON_SOURCE } from '../functions/handlers.ts';
import { PEERS } from '../install.ts';
import { startChild } from './child-server.ts';
import type { Subject } from './subject.ts';

/** Four free ports that were ours a moment ago: serverless-offline wants to be told. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/**
 * serverless-offline 13 under Serverless Framework 3, the last one that runs without an account; its Lambda endpoint, on the same
 * Node as Sluice.
 */
export async function startServerlessOffline(): Promise<{ readonly node: Subject; readonly python: Subject; stop(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-offline-'));
  const [httpPort, lambdaPort, albPort, websocketPort] = await freePorts(4);
  const service = {
    service: 'bench',
    frameworkVersion: '3',
    provider: { name: 'aws', runtime: 'nodejs20.x', region: 'us-east-1' },
    plugins: ['serverless-offline'],
    custom: { 'serverless-offline': { host: '127.0.0.1', httpPort, lambdaPort, albPort, websocketPort } },
    functions: { node: { handler: 'index.handler' }, python: { handler: 'app.handler', runtime: 'python3.11' } },
  };
  await writeFile(join(folder, 'serverless.json'), JSON.stringify(service));
  await writeFile(join(folder, 'package.json'), '{"name":"bench"}');
  await writeFile(join(folder, 'index.js'), NODE_SOURCE);
  await writeFile(join(folder, 'app.py'), PYTHON_SOURCE);
  await symlink(join(PEERS, 'node_modules'), join(folder, 'node_modules'));
  const child = await startChild({
    command: [process.execPath, join(PEERS, 'node_modules', 'serverless', 'bin', 'serverless.js'), 'offline', 'start'],
    ready: /\* python: bench-dev-python/,
    cwd: folder,
    environment: { ...process.env, SLS_TELEMETRY_DISABLED: '1', SLS_NOTIFICATIONS_MODE: 'off', AWS_ACCESS_KEY_ID: 'bench', AWS_SECRET_ACCESS_KEY: 'bench' },
  });
  const stop = async (): Promise<void> => {
    await child.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const subject = (language: string, name: string): Subject => ({
    name: `serverless-offline, ${language}`,
    url: `http://127.0.0.1:${lambdaPort}`,
    path: `/2015-03-31/functions/bench-dev-${name}/invocations`,
    headers: { 'content-type': 'application/json' },
    stop,
  });
  return { node: subject('Node', 'node'), python: subject('Python', 'python'), stop };
}
