/** Functions whose PackageType is Image: what may be asked for, how it is shown, and what Lambda refuses in which words. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ACCOUNT, errorOf, messageOf, openApi, ROLE, type Answer, type ApiUnderTest } from './api-under-test.ts';

const DIGEST = 'a'.repeat(64);
const URI = 'registry.example:5000/team/function:1.2';

describe('functions that are container images', () => {
  let t: ApiUnderTest;

  before(async () => {
    t = await openApi();
  });
  after(() => t.close());

  const create = (name: string, change: Readonly<Record<string, unknown>> = {}): Promise<Answer> =>
    t.call('POST', '/2015-03-31/functions', { FunctionName: name, PackageType: 'Image', Role: ROLE, Code: { ImageUri: URI }, ...change });
  const settled = async (name: string): Promise<Answer> => {
    await t.api.idle();
    return t.call('GET', `/2015-03-31/functions/${name}`);
  };

  test('are shown with their image, and without runtime and handler', async () => {
    const ImageConfig = { EntryPoint: ['/lambda-entrypoint.sh'], Command: ['app.handler'], WorkingDirectory: '/var/task' };
    const created = await create('shown', { ImageConfig });
    assert.equal(created.status, 201, messageOf(created));
    const { body } = await settled('shown');
    assert.deepEqual(body['Code'], { RepositoryType: 'ECR', ImageUri: URI, ResolvedImageUri: URI });
    const configuration = body['Configuration'] as Record<string, unknown>;
    assert.deepEqual([configuration['PackageType'], configuration['State'], configuration['CodeSize'], configuration['ImageConfigResponse']], ['Image', 'Active', 0, { ImageConfig }]);
    for (const member of ['Runtime', 'Handler', 'RuntimeVersionConfig']) assert.ok(!(member in configuration), member);
  });

  test("have their image's digest as hash where it is known", async () => {
    await create('digest', { Code: { ImageUri: `team/function@sha256:${DIGEST}` } });
    assert.equal(((await settled('digest')).body['Configuration'] as Record<string, unknown>)['CodeSha256'], DIGEST);
  });

  test('are updated by another image and another configuration, and versions keep what they had', async () => {
    await create('updated', { ImageConfig: { Command: ['one'] }, Publish: true });
    await t.api.idle();
    const moved = await t.call('PUT', '/2015-03-31/functions/updated/code', { ImageUri: 'team/function:2' });
    assert.equal(moved.status, 200, messageOf(moved));
    await t.api.idle();
    await t.call('PUT', '/2015-03-31/functions/updated/configuration', { ImageConfig: { Command: ['two'], EntryPoint: [] } });
    const latest = (await settled('updated')).body;
    assert.equal((latest['Code'] as Record<string, unknown>)['ImageUri'], 'team/function:2');
    assert.deepEqual((latest['Configuration'] as Record<string, unknown>)['ImageConfigResponse'], { ImageConfig: { Command: ['two'] } });
    const first = (await t.call('GET', '/2015-03-31/functions/updated?Qualifier=1')).body;
    assert.equal((first['Code'] as Record<string, unknown>)['ImageUri'], URI);
    await t.call('PUT', '/2015-03-31/functions/updated/configuration', { ImageConfig: {} });
    assert.equal(((await settled('updated')).body['Configuration'] as Record<string, unknown>)['ImageConfigResponse'], undefined);
  });

  for (const [what, change, message] of [
    ['no image', { Code: {} }, 'Please provide ImageUri when creating a function with packageType Image.'],
    ['a runtime', { Runtime: 'nodejs24.x' }, "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."],
    ['a handler', { Handler: 'index.handler' }, "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."],
    ['an image and a package', { Code: { ImageUri: URI, ZipFile: 'AAAA' } }, 'Please do not provide other FunctionCode parameters when providing an ImageUri.'],
    ['an image without a tag', { Code: { ImageUri: 'registry.example/function' } }, 'Source image registry.example/function is not valid. Provide a valid source image.'],
    ['what is no reference', { Code: { ImageUri: 'https://registry.example/function:1' } }, 'Source image https://registry.example/function:1 is not valid. Provide a valid source image.'],
    ['a NUL in an argument', { ImageConfig: { Command: ['a\0b'] } }, 'ImageConfig.Command contains a NUL character, which no process can be given.'],
  ] as const) {
    test(`${what}: is refused and leaves nothing`, async () => {
      const answer = await create('refused', change);
      assert.equal(errorOf(answer), `400 InvalidParameterValueException: ${message}`);
      assert.equal(await t.catalogue.get(ACCOUNT, 'refused'), undefined);
    });
  }

  test('a function keeps the type of its package', async () => {
    await t.create('zip');
    await create('image');
    await t.api.idle();
    const image = await t.call('PUT', '/2015-03-31/functions/zip/code', { ImageUri: URI });
    assert.equal(messageOf(image), "Please don't provide ImageUri when updating a function with packageType Zip.");
    const config = await t.call('PUT', '/2015-03-31/functions/zip/configuration', { ImageConfig: { Command: ['x'] } });
    assert.equal(messageOf(config), "Please don't provide ImageConfig when the intended function PackageType is Zip.");
    const zip = await t.call('PUT', '/2015-03-31/functions/image/code', { ZipFile: 'AAAA' });
    assert.equal(messageOf(zip), 'Please provide ImageUri when updating a function with packageType Image.');
    const runtime = await t.call('PUT', '/2015-03-31/functions/image/configuration', { Runtime: 'nodejs24.x' });
    assert.equal(messageOf(runtime), "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.");
  });

  test('are refused where workers are no pods', async () => {
    const elsewhere = await openApi({ runsContainerImages: false });
    try {
      const answer = await elsewhere.call('POST', '/2015-03-31/functions', { FunctionName: 'f', PackageType: 'Image', Role: ROLE, Code: { ImageUri: URI } });
      assert.match(errorOf(answer), /^400 InvalidParameterValueException: PackageType Image needs workers that are pods of Kubernetes/);
    } finally {
      await elsewhere.close();
    }
  });
});
