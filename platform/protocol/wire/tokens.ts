import { createHmac, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';

/**
 * Who may speak to whom between the processes of one Sluice. All of it stands on one secret that gateways and controllers share; a worker needs only a
 * token made from it, which names that worker and ends.
 */

/** Bytes below which a secret could be guessed. */
export const MIN_SECRET_BYTES = 32;

export interface JoinClaim {
  readonly worker: string;
  readonly expiresAtMs: number;
}

/**
 * In the place of a worker's name: the token of all workers of a pool that knows each of them from elsewhere, so that none can go by another's name. No worker
 * can be called so.
 */
export const EVERY_WORKER = '*';

/** A token with which the worker of this name may open sessions until then. */
export function joinToken(secret: string, { worker, expiresAtMs }: JoinClaim): string {
  const claim = `${worker}.${Math.floor(expiresAtMs / 1_000)}`;
  return `${claim}.${sign(secret, `join ${claim}`)}`;
}

/** The worker that a token names; undefined for a forged or expired one. */
export function verifyJoinToken(secret: string, token: string, nowMs: number): string | undefined {
  const match = /^(?<claim>(?<worker>.+)\.(?<expires>\d{1,12}))\.(?<signature>[\w-]+)$/.exec(token)?.groups;
  if (match?.['claim'] === undefined || match['signature'] === undefined) return undefined;
  if (!equal(match['signature'], sign(secret, `join ${match['claim']}`))) return undefined;
  return nowMs < Number(match['expires']) * 1_000 ? match['worker'] : undefined;
}

/** A token that nothing but the one who made it knows. */
export function randomToken(): string {
  return randomBytes(MIN_SECRET_BYTES).toString('base64url');
}

/** Compares without telling by its time how much was right. */
export function equal(given: string, expected: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(expected)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** With a key object this takes a seventh of the time that it takes with bytes: Node makes one of them each time. */
export function sign(secret: string | KeyObject, text: string): string {
  return createHmac('sha256', secret).update(text).digest('base64url');
}
