import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { detectFunction, type DetectionOverrides } from '../../../cli/deploy/folder.ts';
import { missingDependencies } from '../../../cli/deploy/missing-dependencies.ts';
import { CliError } from '../../../cli/errors.ts';
import { folderWith } from './capture.ts';

const ESM = 'export const handler = async () => 1;';

describe('the function in a folder', () => {
  const found: readonly (readonly [string, Readonly<Record<string, string>>, DetectionOverrides, string, string])[] = [
    ['an ES module', { 'index.mjs': ESM }, {}, 'nodejs24.x', 'index.handler'],
    ['an exported function', { 'index.js': 'export async function handler() {}' }, {}, 'nodejs24.x', 'index.handler'],
    ['a list of exports', { 'index.mjs': 'const handler = 1;\nexport { other, handler };' }, {}, 'nodejs24.x', 'index.handler'],
    ['a CommonJS module', { 'index.cjs': 'exports.handler = async () => 1;' }, {}, 'nodejs24.x', 'index.handler'],
    ['module.exports', { 'app.js': 'module.exports = { lambdaHandler };' }, {}, 'nodejs24.x', 'app.lambdaHandler'],
    ['the most usual of several files', { 'main.js': ESM, 'index.js': ESM }, {}, 'nodejs24.x', 'index.handler'],
    ['Python', { 'lambda_function.py': 'def lambda_handler(event, context):\n  pass' }, {}, 'python3.13', 'lambda_function.lambda_handler'],
    ['Python in another file', { 'app.py': 'x = 1\ndef handler(event, context): pass' }, {}, 'python3.13', 'app.handler'],
    ['the runtime asked for', { 'index.mjs': ESM, 'app.py': 'def handler(e, c): pass' }, { runtime: 'python3.10' }, 'python3.10', 'app.handler'],
    ['the language of the handler asked for', { 'index.mjs': ESM, 'app.py': 'def handler(e, c): pass' }, { handler: 'app.other' }, 'python3.13', 'app.other'],
    ['both asked for', { 'README.md': '' }, { runtime: 'provided.al2023', handler: 'bootstrap' }, 'provided.al2023', 'bootstrap'],
  ];
  for (const [what, files, overrides, runtime, handler] of found) {
    it(`is found: ${what}`, async (t) => {
      const detected = await detectFunction(await folderWith(t, files), overrides);
      assert.deepEqual({ runtime: detected.runtime, handler: detected.handler }, { runtime, handler });
    });
  }

  it('is named by the folder, by package.json or by the person', async (t) => {
    const plain = await folderWith(t, { 'index.mjs': ESM });
    assert.equal((await detectFunction(plain, {})).name, basename(plain));
    const packaged = await folderWith(t, { 'index.mjs': ESM, 'package.json': '{"name":"@shop/my fn!"}' });
    assert.equal((await detectFunction(packaged, {})).name, 'my-fn');
    assert.equal((await detectFunction(packaged, { name: 'other' })).name, 'other');
  });

  const wrong: readonly (readonly [string, Readonly<Record<string, string>>, DetectionOverrides, RegExp])[] = [
    ['there is none', { 'README.md': '' }, {}, /no file with a handler \(looked for index\.mjs/],
    ['there is only TypeScript', { 'index.ts': '' }, {}, /TypeScript has to be compiled/],
    ['there are two languages', { 'index.mjs': ESM, 'app.py': '' }, {}, /has both index\.mjs and app\.py; say with --runtime/],
    ['nothing is exported', { 'index.mjs': 'console.log("handler")' }, {}, /offers none of handler.*--handler index\.NAME/],
    ['the file of the handler is missing', { 'index.mjs': ESM }, { handler: 'nope.handler' }, /looked for nope/],
    ['the runtime is of an unknown language', { 'index.mjs': ESM }, { runtime: 'ruby3.3' }, /ruby3\.3 function cannot be detected/],
    ['package.json is broken', { 'index.mjs': ESM, 'package.json': '{' }, {}, /package\.json is not JSON/],
  ];
  for (const [what, files, overrides, message] of wrong) {
    it(`is asked for when ${what}`, async (t) => {
      const folder = await folderWith(t, files);
      await assert.rejects(detectFunction(folder, overrides), (error) => error instanceof CliError && message.test(error.message));
    });
  }
});

describe('dependencies that were never installed', () => {
  it('are told of, and only they', async (t) => {
    const manifest = '{"dependencies":{"sharp":"1"}}';
    const lacking = await folderWith(t, { 'package.json': manifest });
    assert.match(missingDependencies({ kind: 'folder', path: lacking }) ?? '', /needs sharp/);
    const installed = await folderWith(t, { 'package.json': manifest, 'node_modules/sharp/package.json': '{}' });
    assert.equal(missingDependencies({ kind: 'folder', path: installed }), undefined);
    const none = await folderWith(t, { 'package.json': '{}' });
    assert.equal(missingDependencies({ kind: 'folder', path: none }), undefined);
  });
});
