import { LambdaClient } from '@aws-sdk/client-lambda';

/** Where the machine's Python runtimes are and which Python to take: what a test may inherit of the caller's settings. */
export function sluiceVariables(): Record<string, string> {
  const inherited = ['SLUICE_CACHE_DIR', 'SLUICE_PYTHON'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(inherited);
}

/** The environment for a Sluice in a process of its own: the caller's, since it may hold what package managers need here, without other settings of Sluice. */
export function inheritedVariables(): Record<string, string | undefined> {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_'));
  return { ...Object.fromEntries(others), ...sluiceVariables() };
}

export const CREDENTIALS = { accessKeyId: 'sluice', secretAccessKey: 'sluice-test' };

/** The AWS SDK pointed at a Sluice and otherwise as it comes, but for repeats. */
export function lambdaClient(endpoint: string, options: { readonly maxAttempts?: number } = {}): LambdaClient {
  return new LambdaClient({
    endpoint,
    region: 'us-east-1',
    credentials: CREDENTIALS,
    maxAttempts: options.maxAttempts ?? 1,
    requestHandler: { httpAgent: { keepAlive: true, maxSockets: 256 }, requestTimeout: 120_000 },
  });
}
