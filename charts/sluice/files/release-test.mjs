/**
 * Deploys a function through the gateway, invokes it and deletes it again, with the CLI of the image that it runs in; as the text after "node --eval".
 * Arguments: the function's name.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';

const [name] = process.argv.slice(1);
const folder = `/tmp/${name}`;

function cli(...args) {
  console.log(`$ sluice ${args.join(' ')}`);
  const { status, stdout, error } = spawnSync(process.execPath, ['cli/main.ts', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  console.log(stdout.trim());
  if (error !== undefined || status !== 0) throw new Error(`sluice ${args[0]} failed: ${error?.message ?? `exit code ${status}`}`);
  return stdout;
}

mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/index.mjs`, 'export const handler = async ({ text }) => ({ turned: [...text].reverse().join("") });\n');
cli('deploy', folder, '--name', name);
try {
  const answer = JSON.parse(cli('invoke', name, '--payload', '{"text":"sluice"}'));
  if (answer.turned !== 'eciuls') throw new Error(`The function answered ${JSON.stringify(answer)}.`);
} finally {
  cli('delete', name);
}
console.log('The release deploys, invokes and deletes functions.');
