import { InvalidArgumentError } from 'commander';
import { ROLES, type RoleName } from '../roles/role.ts';

/** How many processes of each role. */
export type ProcessPlan = Readonly<Record<RoleName, number>>;

/** More on one machine help nobody. */
const PROCESSES_MAX = 64;

/** Reads `gateway=2,controller=2,worker=3`; a role that is left out has one. Throws InvalidArgumentError. */
export function parseProcessPlan(text: string): ProcessPlan {
  const plan: Record<RoleName, number> = { gateway: 1, controller: 1, worker: 1 };
  for (const part of text.split(',')) {
    const [name = '', count = ''] = part.split('=');
    const role = ROLES.find((candidate) => candidate === name);
    if (role === undefined) throw new InvalidArgumentError(`${JSON.stringify(name)} is no role; write for example gateway=2,controller=2,worker=3.`);
    const number = Number(count);
    if (!/^\d+$/.test(count) || number > PROCESSES_MAX) throw new InvalidArgumentError(`${role}=${count}: give a whole number from 0 to ${PROCESSES_MAX}.`);
    plan[role] = number;
  }
  if (plan.gateway === 0) throw new InvalidArgumentError('There must be a gateway.');
  return plan;
}
