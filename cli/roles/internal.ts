import { networkInterfaces } from 'node:os';
import type { Settings } from '../../platform/configuration/settings.ts';
import { sendBytes, startInternalServer, type InternalRoute, type InternalServer } from '../../platform/internal-http/server.ts';
import type { Metrics } from '../../platform/telemetry/metrics.ts';
import { CliError } from '../errors.ts';
import type { RoleContext } from './context.ts';

export interface InternalListener {
  /** Where other processes reach it: `http://host:port`. */
  readonly url: string;
  readonly port: number;
}

/** Why the process is not ready, a line each; empty: it is. */
export type Readiness = () => readonly string[];

/** Starts the internal listener of a role: its own routes, health for whoever supervises it, and its metrics. */
export async function startInternalListener({ settings, logger, closers }: RoleContext, routes: readonly InternalRoute[], readiness: Readiness, metrics: Metrics): Promise<InternalListener> {
  const server = await listen(settings, [...routes, ...healthRoutes(readiness), metricsRoute(metrics)], logger);
  closers.add(() => server.stop());
  return { url: settings.internalUrl ?? `http://${reachableHost(settings.internalHost)}:${server.port}`, port: server.port };
}

/** `/healthz`: the process is alive and its event loop turns. `/readyz`: it can do its work. */
function healthRoutes(readiness: Readiness): readonly InternalRoute[] {
  return [
    { method: 'GET', path: '/healthz', handle: (_request, response) => sendBytes(response, 200, 'text/plain', 'ok\n') },
    {
      method: 'GET',
      path: '/readyz',
      handle: (_request, response) => {
        const reasons = readiness();
        sendBytes(response, reasons.length === 0 ? 200 : 503, 'text/plain', reasons.length === 0 ? 'ready\n' : `${reasons.join('\n')}\n`);
      },
    },
  ];
}

/** `/metrics`: in Prometheus' text format ({@link ../../docs/reference/metrics.md}). */
function metricsRoute(metrics: Metrics): InternalRoute {
  return { method: 'GET', path: '/metrics', handle: async (_request, response) => sendBytes(response, 200, metrics.contentType, await metrics.text()) };
}

async function listen({ internalHost, internalPort }: Settings, routes: readonly InternalRoute[], logger: RoleContext['logger']): Promise<InternalServer> {
  try {
    return await startInternalServer({ host: internalHost, port: internalPort, routes, logger });
  } catch (error) {
    throw new CliError(`The internal listener cannot start with SLUICE_INTERNAL_HOST=${internalHost} and SLUICE_INTERNAL_PORT=${internalPort}: ${(error as Error).message}.`);
  }
}

/** An address for "every address of this machine": its first that is not only its own. */
function reachableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host.includes(':') ? `[${host}]` : host;
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  return addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? '127.0.0.1';
}
