import { join } from 'node:path';
import type { LoadResult } from '../load.ts';
import { startChild } from './child-server.ts';
import type { Subject } from './subject.ts';

const READY = /ready (http:\S+)/;
const INVOCATIONS = '/2015-03-31/functions/floor/invocations';

export async function startBareHttp(options: { readonly express: boolean }): Promise<Subject> {
  const child = await startChild({ command: [process.execPath, join(import.meta.dirname, 'bare-http-server.ts'), ...(options.express ? ['--express'] : [])], ready: READY });
  return { name: options.express ? 'bare Node HTTP with express 5' : 'bare Node HTTP', url: child.ready, path: INVOCATIONS, headers: {}, stop: () => child.stop() };
}

/** A bare front before as many runtime processes as given. */
export async function startRuntimeApiFloor(name: string, runtimes: number): Promise<Subject> {
  const child = await startChild({ command: [process.execPath, join(import.meta.dirname, 'runtime-api-server.ts'), '--front', String(runtimes)], ready: READY });
  return { name, url: child.ready, path: INVOCATIONS, headers: {}, stop: () => child.stop() };
}

/** The Runtime API without even a front. */
export async function runtimeApiLoop(runtimes: number, durationMs: number): Promise<LoadResult> {
  const command = [process.execPath, join(import.meta.dirname, 'runtime-api-server.ts'), '--loop', String(runtimes), String(durationMs)];
  const child = await startChild({ command, ready: /result (\{.*\})/ });
  await child.stop();
  return JSON.parse(child.ready) as LoadResult;
}
