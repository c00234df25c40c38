import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Client } from 'minio';
import type * as AssumeRole from 'minio/dist/main/AssumeRoleProvider.js' with { 'resolution-mode': 'require' };
import { pino } from 'pino';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { PAYLOAD_BUCKET } from '../../platform/model/invocation.ts';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';
import { PreconditionFailedError, type ObjectStore, type PutOptions } from '../../platform/object-store/object-store.ts';
import { openS3ObjectStore } from '../../platform/object-store/s3.ts';
import { probeCompareAndSwap } from '../../platform/object-store/s3/compare-and-swap.ts';
import { setUpS3, type InternalBucket, type S3SetupOptions } from '../../platform/object-store/s3/setup.ts';
import { freePort, makeCertificate, NO_OPENSSL } from '../support/redis-server.ts';
import { startFakeServer, startTlsProxy } from '../support/s3-fakes.ts';
import { startS3Server } from '../support/s3-server.ts';
import { NO_S3, openTestStore, removeBuckets, S3, storeOptions, type S3Service } from '../support/s3-stores.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/** The library's main entry leaves it out. */
const { AssumeRoleProvider } = createRequire(import.meta.url)('minio/dist/main/AssumeRoleProvider.js') as typeof AssumeRole;

const SETTINGS = { endpoint: 'THE_ENDPOINT', accessKey: 'THE_ACCESS_KEY', secretKey: 'THE_SECRET_KEY', region: 'THE_REGION', bucketPrefix: 'THE_PREFIX', ca: 'THE_CA' };
const BUCKETS: readonly InternalBucket[] = [{ name: 'sluice-registry' }, { name: PAYLOAD_BUCKET, expiry: [{ prefix: '', afterDays: 8 }] }];
const SECRET = 'the-secret-key-that-nobody-may-see';

function setupOptions(service: S3Service, options: Partial<S3SetupOptions> = {}): S3SetupOptions {
  return { ...storeOptions(service), buckets: BUCKETS, settingNames: SETTINGS, ...options };
}

/** What a start that fails says: one line, no secret, a setting at its beginning. */
async function complaint(options: S3SetupOptions): Promise<string> {
  const error = await setUpS3(options).then(
    () => assert.fail('the start succeeded'),
    (reason: unknown) => reason as Error,
  );
  assert.equal(error.name, 'StoreSetupError', error.stack);
  assert.ok(!error.message.includes('\n') && !error.message.includes(options.secretKey), error.message);
  assert.match(error.message, /^THE_[A-Z_]+: .+\.$|^THE_[A-Z_]+: .+\?$/);
  return error.message;
}

function listeningLogger(): { readonly logger: Logger; readonly said: string[] } {
  const said: string[] = [];
  return { said, logger: pino({ level: 'warn' }, new Writable({ write: (line: Buffer, _, done) => (said.push(line.toString()), done()) })) };
}

describe('setting up S3 on the real server', { skip: NO_S3 }, () => {
  let service: S3Service;
  let admin: Client;
  before(() => {
    service = S3 as S3Service;
    admin = clientOf(service);
  });
  const withBuckets = (context: TestContext, options: Partial<S3SetupOptions> = {}): S3SetupOptions => {
    const all = setupOptions(service, options);
    context.after(() => removeBuckets(all));
    return all;
  };
  const rulesOf = async (options: S3SetupOptions, bucket: string): Promise<readonly unknown[]> => {
    const { Rule } = (await admin.getBucketLifecycle(`${options.bucketPrefix}${bucket}`)) as { readonly Rule: object | readonly object[] };
    return [Rule].flat().map((rule) => {
      const { ID, Status, Filter, Expiration } = rule as { ID: string; Status: string; Filter: { Prefix: string }; Expiration: { Days: number } };
      return [ID, Status, Filter.Prefix, Number(Expiration.Days)];
    });
  };

  /** Credentials for a time that may do what a policy allows. */
  const sessionWith = async (policy: object): Promise<{ readonly accessKey: string; readonly secretKey: string; readonly sessionToken: string }> => {
    const provider = new AssumeRoleProvider({ stsEndpoint: service.endpoint, accessKey: service.accessKey, secretKey: service.secretKey, action: 'AssumeRole', policy: JSON.stringify(policy) });
    const credentials = await provider.getCredentials();
    return { accessKey: credentials.getAccessKey(), secretKey: credentials.getSecretKey(), sessionToken: credentials.getSessionToken() ?? '' };
  };

  it('makes what is missing, and the second start finds it there', async (context) => {
    const { logger, said } = listeningLogger();
    const options = withBuckets(context, { logger });
    for (let start = 0; start < 2; start += 1) {
      await setUpS3(options);
      const store = openS3ObjectStore(options);
      assert.deepEqual((await store.listBuckets()).map(({ name }) => name), ['sluice-payloads', 'sluice-registry']);
      store.close();
      assert.deepEqual(await rulesOf(options, PAYLOAD_BUCKET), [['sluice-all-expire', 'Enabled', '', 8]]);
    }
    assert.deepEqual(said, []);
  });

  it('may be done by many processes at once', async (context) => {
    const options = withBuckets(context);
    await Promise.all(Array.from({ length: 8 }, () => setUpS3(options)));
    assert.deepEqual(await rulesOf(options, PAYLOAD_BUCKET), [['sluice-all-expire', 'Enabled', '', 8]]);
  });

  it("changes its own rules and leaves the operator's", async (context) => {
    const options = withBuckets(context);
    const logs = (days: number, ...prefixes: string[]): Partial<S3SetupOptions> => ({ buckets: [{ name: 'sluice-logs', expiry: prefixes.map((prefix) => ({ prefix, afterDays: days })) }] });
    await setUpS3({ ...options, ...logs(30, 'segments/', 'streams/') });
    await admin.setBucketLifecycle(`${options.bucketPrefix}sluice-logs`, { Rule: [{ ID: 'the operators & <own>', Status: 'Enabled', Filter: { Prefix: 'x&y/' }, Expiration: { Days: 3 } }] });
    await setUpS3({ ...options, ...logs(30, 'segments/', 'streams/') });
    await setUpS3({ ...options, ...logs(14, 'segments/') });
    assert.deepEqual(await rulesOf(options, 'sluice-logs'), [['the operators & <own>', 'Enabled', 'x&y/', 3], ['sluice-segments-expire', 'Enabled', 'segments/', 14]]);
  });

  it('says which credential is wrong', async () => {
    assert.match(await complaint(setupOptions({ ...service, accessKey: 'nobody-has-this-key' })), /^THE_ACCESS_KEY: .*knows no such access key/);
    assert.match(await complaint(setupOptions({ ...service, secretKey: SECRET })), /^THE_SECRET_KEY: .*not the secret of this access key/);
    assert.match(await complaint(setupOptions(service, { sessionToken: 'no-such-session' })), /^THE_ACCESS_KEY: .*temporary credentials/);
  });

  it('says that a bucket belongs to someone else', async (context) => {
    const owner = withBuckets(context);
    await setUpS3(owner);
    // Credentials that may do everything, except with buckets of this prefix.
    const policy = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: ['s3:*'], Resource: ['arn:aws:s3:::*'] }, { Effect: 'Deny', Action: ['s3:*'], Resource: [`arn:aws:s3:::${owner.bucketPrefix}*`] }] };
    const stranger = await sessionWith(policy);
    const elsewhere = withBuckets(context);
    await setUpS3({ ...elsewhere, ...stranger });
    assert.match(await complaint({ ...owner, ...stranger }), new RegExp(`^THE_PREFIX: Looking into the bucket ${owner.bucketPrefix}sluice-registry failed, since it belongs to someone else .*\\(AccessDenied\\).*choose another prefix`));
    const unborn = setupOptions(service);
    const denied = { ...policy, Statement: [policy.Statement[0], { Effect: 'Deny', Action: ['s3:CreateBucket'], Resource: [`arn:aws:s3:::${unborn.bucketPrefix}*`] }] };
    assert.match(await complaint({ ...unborn, ...(await sessionWith(denied)) }), /^THE_PREFIX: Making the bucket sluice-registry failed.*these credentials may not use it/);
  });

  it('says that a certificate is not trusted, and what speaks TLS and what does not', { skip: NO_OPENSSL }, async (context) => {
    const certificate = await makeCertificate();
    const proxy = await startTlsProxy(service.endpoint, certificate);
    context.after(async () => {
      await proxy.stop();
      await certificate.remove();
    });
    await setUpS3({ ...withBuckets(context), endpoint: proxy.url, ca: certificate.pem });
    assert.match(await complaint(setupOptions(service, { endpoint: proxy.url })), /^THE_CA: .*not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)/);
    assert.match(await complaint(setupOptions(service, { endpoint: proxy.url.replace('127.0.0.1', 'localhost'), ca: certificate.pem })), /^THE_ENDPOINT: .*does not fit \(ERR_TLS_CERT_ALTNAME_INVALID\)/);
    assert.match(await complaint(setupOptions(service, { endpoint: service.endpoint.replace('http:', 'https:') })), /^THE_ENDPOINT: .*is it one for http:/);
    assert.match(await complaint(setupOptions(service, { endpoint: proxy.url.replace('https:', 'http:') })), /^THE_ENDPOINT: .*is it one for https:/);
  });
});

describe('setting up S3 where there is none', () => {
  const service = { endpoint: 'http://127.0.0.1:1', accessKey: 'the-access-key', secretKey: SECRET };
  const before = async (context: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void, options: Partial<S3SetupOptions> = {}): Promise<S3SetupOptions> => {
    const fake = await startFakeServer(answer);
    context.after(() => fake.stop());
    return setupOptions({ ...service, endpoint: fake.url }, options);
  };

  it('says that the address is wrong', async () => {
    const port = await freePort();
    assert.match(await complaint(setupOptions({ ...service, endpoint: `http://127.0.0.1:${port}` })), new RegExp(`^THE_ENDPOINT: nobody listens at http://127.0.0.1:${port} `));
    assert.match(await complaint(setupOptions({ ...service, endpoint: 'http://no-such-host.invalid:9000' })), /^THE_ENDPOINT: the host name of http:\/\/no-such-host\.invalid:9000 cannot be resolved/);
    assert.match(await complaint(setupOptions({ ...service, endpoint: 'minio:9000' })), /^THE_ENDPOINT: "minio:9000" is no address/);
    assert.match(await complaint(setupOptions(service, { bucketPrefix: 'Bad_Prefix' })), /^THE_PREFIX: "Bad_Prefix" cannot begin/);
  });

  it('says that something else than S3 answers', async (context) => {
    for (const status of [200, 404, 403]) {
      assert.match(await complaint(await before(context, (_, response) => response.writeHead(status, { 'content-type': 'text/html' }).end('<html>hello</html>'))), /^THE_ENDPOINT: .*but not as an S3 server does/);
    }
    assert.match(await complaint(await before(context, (_, response) => response.writeHead(400).end('Client sent an HTTP request to an HTTPS server.\n'))), /^THE_ENDPOINT: .*wants TLS/);
    assert.match(await complaint(await before(context, (_, response) => void response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n'))), /^THE_ENDPOINT: .*does not speak HTTP/);
  });

  it('says what S3 says', async (context) => {
    const cases = [
      { status: 403, code: 'RequestTimeTooSkewed', complaint: /^THE_ENDPOINT: the clocks .* differ/ },
      { status: 400, code: 'AuthorizationHeaderMalformed', complaint: /^THE_REGION: .*region us-east-1/ },
      { status: 409, code: 'BucketAlreadyExists', complaint: /^THE_PREFIX: .*belongs to someone else/ },
      { status: 503, code: 'XMinioServerNotInitialized', complaint: /^THE_ENDPOINT: .*503 XMinioServerNotInitialized/ },
    ];
    for (const { status, code, complaint: expected } of cases) {
      assert.match(await complaint(await before(context, (_, response) => response.writeHead(status).end(`<Error><Code>${code}</Code><Message>Something.</Message></Error>`))), expected);
    }
  });

  it('ends within ten seconds whatever the server does not say', async (context) => {
    const asked = Promise.withResolvers<void>();
    const clock = new VirtualClock();
    const said = complaint(await before(context, () => asked.resolve(), { clock }));
    await asked.promise;
    clock.advance(10_000);
    assert.match(await said, /^THE_ENDPOINT: .*within 10 seconds/);
    assert.equal(clock.pending, 0);
    assert.match(await complaint(await before(context, () => undefined, { timeoutMs: 50 })), /^THE_ENDPOINT: .*did not take or answer a request within 50 ms/);
  });

  it('goes on with a warning where nothing expires', async (context) => {
    for (const status of [501, 403, 405, 400]) {
      const { logger, said } = listeningLogger();
      const options = await before(
        context,
        (request, response) => {
          if (request.url?.endsWith('?lifecycle') === true) response.writeHead(request.method === 'GET' ? 404 : status).end('<Error><Code>NotImplemented</Code></Error>');
          else response.end('<ListBucketResult></ListBucketResult>');
        },
        { logger },
      );
      await setUpS3(options);
      assert.equal(said.length, 1);
      assert.match(said[0] ?? '', /sluice-payloads.*does not remove old objects/);
    }
  });

  it("works on Sluice's own S3 API", async (context) => {
    const server = await startS3Server();
    context.after(() => server.stop());
    const { logger, said } = listeningLogger();
    await setUpS3(setupOptions({ ...service, endpoint: server.url }, { logger }));
    assert.equal(said.length, 1);
  });
});

describe('the probe of compare-and-swap', () => {
  let dataDir: string;
  let files: ObjectStore;
  const bucket = 'sluice-registry';
  before(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'sluice-probe-'));
    files = await fileObjectStore({ dataDir, baseUrl: () => 'http://127.0.0.1:1', signingSecret: Buffer.alloc(32) });
    await files.createBucket(bucket);
  });
  after(() => rm(dataDir, { recursive: true }));

  const leavesNothing = async (store: ObjectStore): Promise<void> => assert.deepEqual((await store.list({ bucket, limit: 10 })).objects, []);
  /** The store on files with another put. */
  const withPut = (put: ObjectStore['put']): ObjectStore => ({
    put,
    get: (location, range) => files.get(location, range),
    head: (location) => files.head(location),
    delete: (location) => files.delete(location),
    list: (query) => files.list(query),
    createBucket: (name) => files.createBucket(name),
    listBuckets: () => files.listBuckets(),
    presignGet: (location, expiresInSec) => files.presignGet(location, expiresInSec),
  });
  const without = ({ condition: _, ...options }: PutOptions = {}): PutOptions => options;
  const refusalOf = async (store: ObjectStore): Promise<string> => {
    const verdict = await probeCompareAndSwap(store, { bucket });
    await leavesNothing(files);
    assert.equal(verdict.kind, 'broken');
    const { refusal } = verdict as { readonly refusal: string };
    assert.ok(!refusal.includes('\n'));
    assert.match(refusal, /in the bucket sluice-registry: the object store .*do not run more than one gateway on it\.$/);
    return refusal;
  };

  it('holds on the real server', { skip: NO_S3 }, async (context) => {
    const { store, dispose } = openTestStore(S3 as S3Service);
    context.after(dispose);
    await store.createBucket(bucket);
    assert.deepEqual(await probeCompareAndSwap(store, { bucket }), { kind: 'holds' });
    await leavesNothing(store);
  });

  it('holds on files', async () => {
    assert.deepEqual(await probeCompareAndSwap(files, { bucket }), { kind: 'holds' });
    await leavesNothing(files);
  });

  it('finds a store that ignores conditions', async () => {
    assert.match(await refusalOf(withPut((location, body, options) => files.put(location, body, without(options)))), /^Several writers won a conditional write \(16 of 16, If-None-Match\)/);
  });

  it('finds a store that ignores just one of the conditions', async () => {
    const ignoresEtags = withPut((location, body, options) => files.put(location, body, options?.condition?.kind === 'etag' ? without(options) : options));
    assert.match(await refusalOf(ignoresEtags), /16 of 16, If-Match/);
  });

  it('finds a store that looks first and writes then', async () => {
    const hesitant = withPut(async (location, body, options) => {
      const current = await files.head(location);
      const { condition } = options ?? {};
      const holds = condition === undefined || (condition.kind === 'absent' ? current === undefined : current?.etag === condition.etag);
      if (!holds) throw new PreconditionFailedError('not so');
      return files.put(location, body, without(options));
    });
    assert.match(await refusalOf(hesitant), /^Several writers won a conditional write \(\d+ of 16/);
  });

  it('finds a store that writes what it refuses', async () => {
    const deceitful = withPut(async (location, body, options) => {
      try {
        return await files.put(location, body, options);
      } catch (error) {
        await files.put(location, body, without(options));
        throw error;
      }
    });
    assert.match(await refusalOf(deceitful), /overwritten by one that had lost/);
  });

  it('finds a store on which nobody wins', async () => {
    assert.match(await refusalOf(withPut(() => Promise.reject(new PreconditionFailedError('never')))), /^No writer won/);
  });

  it('finds a server that knows no conditions', async (context) => {
    const fake = await startFakeServer((request, response) => {
      if (request.method === 'PUT') response.writeHead(501).end('<Error><Code>NotImplemented</Code></Error>');
      else response.writeHead(204).end();
    });
    const store = openS3ObjectStore(storeOptions({ endpoint: fake.url, accessKey: 'a', secretKey: 'b' }));
    context.after(async () => {
      store.close();
      await fake.stop();
    });
    assert.match(await refusalOf(store), /^Conditional writes \(If-None-Match\) are refused \(NotImplemented\)/);
  });

  it('knows nothing of a store that cannot be reached', async () => {
    const store = openS3ObjectStore(storeOptions({ endpoint: `http://127.0.0.1:${await freePort()}`, accessKey: 'a', secretKey: 'b' }));
    await assert.rejects(probeCompareAndSwap(store, { bucket }), { name: 'StoreUnavailableError' });
    store.close();
  });
});

function clientOf({ endpoint, accessKey, secretKey }: S3Service): Client {
  const { protocol, hostname, port } = new URL(endpoint);
  return new Client({ endPoint: hostname, port: Number(port), useSSL: protocol === 'https:', accessKey, secretKey, region: 'us-east-1' });
}
