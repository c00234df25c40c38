import type { Settings } from '../../platform/configuration/settings.ts';

export const ROLES = ['gateway', 'controller', 'worker'] as const;
export type RoleName = (typeof ROLES)[number];

/**
 * What Node is started with for each role. Short-lived objects get three times 16 MiB and not three times 64, which V8 grows to where the machine has the memory:
 * a controller under a backlog stays a third smaller, and is as fast.
 */
export const NODE_FLAGS = ['--max-semi-space-size=16'] as const;

/** One role in this process, running. */
export interface RunningRole {
  readonly role: RoleName;
  /** Where clients reach it; only gateways have such an address. */
  readonly url?: string;
  /** Of its internal listener. */
  readonly internalUrl: string;
  /** What this machine cannot give, for the person who starts it. */
  readonly notes: readonly string[];
  /** Takes no new work, finishes or hands over what it has, and ends. Idempotent. */
  stop(): Promise<void>;
}

export type StartRole = (settings: Settings) => Promise<RunningRole>;
