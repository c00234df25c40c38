/** `sluice deploy` of functions that are container images, against the Lambda API itself: what it asks for, and that it asks for nothing where nothing differs. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { EXIT } from '../../../cli/errors.ts';
import { openApi, type ApiUnderTest, type Wrapped } from '../gateway/lambda-api/api-under-test.ts';
import { cli, folderWith, type CliResult } from './capture.ts';

process.env.AWS_ACCESS_KEY_ID ??= 'test';
process.env.AWS_SECRET_ACCESS_KEY ??= 'test';

interface Served {
  readonly api: ApiUnderTest;
  /** Method and path of every request that may change something, in their order; emptied by asking. */
  readonly changes: () => readonly string[];
  readonly deploy: (template: string, ...options: readonly string[]) => Promise<CliResult>;
}

/** The API at an address, for as long as the test runs. */
async function serve(t: TestContext, wrapped: Wrapped = {}): Promise<Served> {
  const api = await openApi(wrapped);
  let changes: string[] = [];
  const answer = async (request: IncomingMessage) => {
    const { method = '', url = '', headers } = request;
    if (method !== 'GET') changes.push(`${method} ${url}`);
    const [path = '', query = ''] = url.split('?');
    return api.api.handle({ method, path, query: new URLSearchParams(query), headers, body: await buffer(request), requestId: randomUUID() });
  };
  const server = createServer((request, response) => {
    void answer(request).then(({ status, headers, body }) => response.writeHead(status, headers).end(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await api.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    api,
    changes: () => {
      const seen = changes;
      changes = [];
      return seen;
    },
    deploy: async (template, ...options) => {
      const folder = await folderWith(t, { 'template.yaml': template });
      return cli(['deploy', folder, '--stack', 'shop', ...options], { AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` });
    },
  };
}

const ORDERS = `
Resources:
  Orders:
    Type: AWS::Serverless::Function
    Metadata: { Dockerfile: Dockerfile, DockerContext: . }
    Properties:
      PackageType: Image
      ImageUri: registry.example.com/team/orders:1.4
      ImageConfig: { EntryPoint: [/lambda-entrypoint.sh], Command: [app.handler] }
`;
const FUNCTION = '/2015-03-31/functions/shop-Orders';

async function shown(api: ApiUnderTest): Promise<{ readonly uri: unknown; readonly configuration: Readonly<Record<string, unknown>> }> {
  const { body } = await api.call('GET', FUNCTION);
  return { uri: (body['Code'] as Record<string, unknown>)['ImageUri'], configuration: body['Configuration'] as Record<string, unknown> };
}

describe('a template with a container image', () => {
  it('is deployed, and changes nothing when it is deployed again', async (t) => {
    const { api, changes, deploy } = await serve(t);
    const first = await deploy(ORDERS);
    assert.deepEqual([first.exitCode, first.stderr], [EXIT.ok, 'Try it: npx sluice invoke shop-Orders --tail\n']);
    assert.match(first.stdout, /^✓ shop-Orders {2}created {2}image {2}registry\.example\.com\/team\/orders:1\.4 {2}128 MB {2}3 s {4}Active\n$/);
    const { uri, configuration } = await shown(api);
    assert.equal(uri, 'registry.example.com/team/orders:1.4');
    assert.deepEqual(configuration['ImageConfigResponse'], { ImageConfig: { EntryPoint: ['/lambda-entrypoint.sh'], Command: ['app.handler'] } });
    assert.deepEqual(changes(), ['POST /2015-03-31/functions']);
    const again = await deploy(ORDERS);
    assert.match(again.stdout, /^✓ shop-Orders {2}unchanged {2}image/);
    assert.deepEqual(changes(), []);
    assert.equal((await shown(api)).configuration['RevisionId'], configuration['RevisionId']);
  });

  it('is updated in what differs, and in nothing else', async (t) => {
    const { api, changes, deploy } = await serve(t);
    await deploy(ORDERS);
    changes();
    const steps: readonly (readonly [template: string, changes: readonly string[]])[] = [
      [ORDERS.replace('orders:1.4', 'orders:1.5'), [`PUT ${FUNCTION}/code`]],
      [ORDERS.replace('orders:1.4', 'orders:1.5').replace('app.handler', 'app.other'), [`PUT ${FUNCTION}/configuration`]],
      [ORDERS.replace('orders:1.4', 'orders:1.5').replace(/ +ImageConfig.*\n/, ''), [`PUT ${FUNCTION}/configuration`]],
      [ORDERS, [`PUT ${FUNCTION}/code`, `PUT ${FUNCTION}/configuration`]],
    ];
    for (const [template, expected] of steps) {
      assert.match((await deploy(template)).stdout, /updated/);
      assert.deepEqual(changes(), expected);
      assert.match((await deploy(template)).stdout, /unchanged/);
      assert.deepEqual(changes(), []);
    }
    assert.deepEqual((await shown(api)).configuration['ImageConfigResponse'], { ImageConfig: { EntryPoint: ['/lambda-entrypoint.sh'], Command: ['app.handler'] } });
  });

  it('is told in JSON with its image', async (t) => {
    const { deploy } = await serve(t);
    const [deployed] = JSON.parse((await deploy(ORDERS, '--output', 'json')).stdout) as readonly Record<string, unknown>[];
    assert.deepEqual([deployed?.['packageType'], deployed?.['imageUri'], deployed?.['runtime'], deployed?.['change']], ['Image', 'registry.example.com/team/orders:1.4', '', 'created']);
  });

  it('keeps the type of a function that is there, and says what to do', async (t) => {
    const { api, changes, deploy } = await serve(t);
    await api.create('shop-Orders');
    const { exitCode, stdout, stderr } = await deploy(ORDERS);
    assert.deepEqual([exitCode, stdout], [EXIT.failure, '']);
    assert.equal(stderr, 'sluice: Orders: shop-Orders has the package type Zip, and a function keeps its own: it cannot become Image. Delete it first with "npx sluice delete shop-Orders", or give the new one another name.\n');
    assert.deepEqual(changes(), []);
    await api.call('DELETE', FUNCTION);
    await deploy(ORDERS);
    const zip = ORDERS.replace(/ +PackageType[^]*$/, '      InlineCode: x\n      Handler: index.handler\n      Runtime: nodejs24.x\n');
    assert.match((await deploy(zip)).stderr, /^sluice: Orders: shop-Orders has the package type Image, .* cannot become Zip\./);
  });

  it('is refused by the platform in one line with the resource where workers are no pods, and leaves nothing', async (t) => {
    const { api, deploy } = await serve(t, { runsContainerImages: false });
    const { exitCode, stdout, stderr } = await deploy(ORDERS);
    assert.deepEqual([exitCode, stdout], [EXIT.failure, '']);
    assert.match(stderr, /^sluice: Orders: InvalidParameterValueException: PackageType Image needs workers that are pods of Kubernetes \(SLUICE_POOL=kubernetes:…\), .*\n$/);
    assert.equal((await api.call('GET', FUNCTION)).status, 404);
  });

  it('names the resource whose image is no reference', async (t) => {
    const { deploy } = await serve(t);
    const { stderr } = await deploy(ORDERS.replace('orders:1.4', 'orders'));
    assert.equal(stderr, 'sluice: Orders: InvalidParameterValueException: Source image registry.example.com/team/orders is not valid. Provide a valid source image.\n');
  });
});
