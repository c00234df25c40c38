// Usage: node cli/bin/compile.mjs ROLE: loads all that a role needs and ends, so that Node has it compiled where NODE_COMPILE_CACHE says. For the images: somebody
// may wait for the pod that is started.
const role = process.argv[2];
const modules = {
  gateway: ['../roles/gateway.ts'],
  controller: ['../roles/controller.ts', '../../platform/worker-pool/kubernetes/api-cluster.ts', '../../platform/worker-pool/kubernetes/pool.ts'],
  worker: ['../roles/worker.ts'],
}[role];
if (modules === undefined) throw new Error(`usage: node cli/bin/compile.mjs gateway|controller|worker, not ${role}`);
for (const module of ['../program.ts', '../commands/role.ts', ...modules]) await import(module);
