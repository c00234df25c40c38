import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { after, before, describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { openS3ObjectStore, type S3ObjectStore, type S3ObjectStoreOptions } from '../../platform/object-store/s3.ts';
import { parseEndpoint } from '../../platform/object-store/s3/endpoint.ts';
import { S3Transport } from '../../platform/object-store/s3/transport.ts';
import { compareUtf8 } from '../../platform/object-store/utf8-order.ts';
import { freePort, makeCertificate, NO_OPENSSL } from '../support/redis-server.ts';
import { startFakeServer, startLossyProxy, startTlsProxy, type FakeServer, type LossyProxy } from '../support/s3-fakes.ts';
import { startS3Server } from '../support/s3-server.ts';
import { NO_S3, openTestStore, S3, storeOptions, type S3Service } from '../support/s3-stores.ts';
import { objectStoreContract } from './object-store.contract.ts';

const MINIO_KEYS = 'MinIO refuses keys with the segments `.`, `..` and none, or with segments of more than 255 bytes, and does not list `a/b` while there is an `a`; what the driver does with such keys is tested below.';

if (S3 !== undefined) {
  const service = S3;
  objectStoreContract(
    'S3 on the real server',
    () => {
      const { store, dispose } = openTestStore(service);
      return Promise.resolve({ store, download, close: dispose });
    },
    { 'keeps any key apart from any other': MINIO_KEYS, 'lists any set of keys in UTF-8 order, by prefix, from any key on, in pages of any size': MINIO_KEYS, 'signs URLs that anyone can read from, for just one object': MINIO_KEYS },
  );
}

// The gateway's own S3 API can keep any key; so here the driver shows that it can say any.
objectStoreContract(
  "S3 on Sluice's own S3 API",
  async () => {
    const server = await startS3Server();
    const { store } = openTestStore({ endpoint: server.url, accessKey: 'x', secretKey: 'y' });
    return {
      store,
      download,
      async close() {
        store.close();
        await server.stop();
      },
    };
  },
  { 'signs URLs that anyone can read from, for just one object': "Sluice's S3 API looks at no signature yet." },
);

describe('S3 object store on the real server', { skip: NO_S3 }, () => {
  let service: S3Service;
  let store: S3ObjectStore;
  let options: S3ObjectStoreOptions;
  let dispose: () => Promise<void>;
  let buckets = 0;
  before(() => {
    service = S3 as S3Service;
    ({ store, options, dispose } = openTestStore(service));
  });
  after(() => dispose());

  const newBucket = async (): Promise<string> => {
    const bucket = `own-${(buckets += 1)}-bucket`;
    await store.createBucket(bucket);
    return bucket;
  };
  const read = async (bucket: string, key: string): Promise<string> => text((await store.get({ bucket, key })).body);
  const keysOf = async (bucket: string, query: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {}): Promise<string[]> => {
    const keys: string[] = [];
    for (let from = query.after; ; ) {
      const page = await store.list({ bucket, limit: query.limit ?? 1_000, detail: 'essential', ...(query.prefix === undefined ? {} : { prefix: query.prefix }), ...(from === undefined ? {} : { after: from }) });
      keys.push(...page.objects.map(({ key }) => key));
      if (page.next === undefined) return keys;
      from = page.next;
    }
  };

  it('keeps a key exactly or refuses it by name', async () => {
    const bucket = await newBucket();
    const odd = ['a', 'a.b', 'a-b', 'A', 'é', 'e\u0301', '😀', '\uffff', ' ', ' a ', '%', '%2F', '+', 'a+b', '"q"', "it's", '*?<>|:', '~', '\n', '0', '007', '1e5', '0x1f', 'dir/', 'x'.repeat(255), 'deep/'.repeat(100) + 'x'];
    const refused = ['.', '..', '../x', 'x/../y', './z', 'p//q', '/', '//', '\u0000', 'x'.repeat(1_024)];
    for (const key of odd) await store.put({ bucket, key }, Buffer.from(key));
    for (const key of refused) {
      await assert.rejects(store.put({ bucket, key }, Buffer.from(key)), { name: 'InvalidObjectKeyError' }, JSON.stringify(key));
      assert.equal(await store.head({ bucket, key }), undefined);
      await assert.rejects(store.get({ bucket, key }), /InvalidObjectKeyError|NoSuchObjectError/);
      await store.delete({ bucket, key });
      assert.deepEqual(await keysOf(bucket, { prefix: key }), odd.filter((each) => each.startsWith(key)).sort(compareUtf8));
    }
    for (const key of odd) assert.equal(await read(bucket, key), key);
    assert.deepEqual(await keysOf(bucket), [...odd].sort(compareUtf8));
  });

  it('never takes a key with a leading slash for the one without', async () => {
    const bucket = await newBucket();
    await store.put({ bucket, key: 'a' }, Buffer.from('without'));
    await assert.rejects(store.put({ bucket, key: '/a' }, Buffer.from('with')), { name: 'InvalidObjectKeyError', message: /would be the object "a"/ });
    assert.equal(await store.head({ bucket, key: '/a' }), undefined);
    await assert.rejects(store.get({ bucket, key: '/a' }), { name: 'NoSuchObjectError' });
    await store.delete({ bucket, key: '/a' });
    assert.equal(await read(bucket, 'a'), 'without');
    assert.deepEqual(await keysOf(bucket), ['a']);
  });

  it('lists any set of keys that the server can keep, from any key on', async () => {
    const segment = fc.constantFrom('a', 'b', 'A', 'a.b', 'a-', 'ab', '0', '00', 'é', '\uffee', '😀', '%', '+', ' ', 'x'.repeat(200));
    const key = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/'));
    // Places to begin at need not be keys that the server could keep.
    const place = fc.array(fc.oneof(segment, fc.constantFrom('.', '..', '', '\\')), { minLength: 1, maxLength: 3 }).map((segments) => segments.join('/')).filter((each) => each !== '');
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(key, { maxLength: 12 }), place, key, fc.nat({ max: 3 }), fc.integer({ min: 1, max: 13 }), async (all, afterKey, prefixKey, prefixLength, limit) => {
        const keys = all.filter((each) => !all.some((other) => each.startsWith(`${other}/`)));
        const bucket = await newBucket();
        const prefix = [...prefixKey].slice(0, prefixLength).join('');
        await Promise.all(keys.map((each) => store.put({ bucket, key: each }, Buffer.from('x'), { detail: 'essential' })));
        const expected = keys.filter((each) => each.startsWith(prefix) && compareUtf8(each, afterKey) > 0).sort(compareUtf8);
        assert.deepEqual(await keysOf(bucket, { prefix, after: afterKey, limit }), expected);
      }),
      { numRuns: 25 },
    );
  });

  it('signs URLs that anyone can read from until they expire, also at another address', async () => {
    const bucket = await newBucket();
    const port = new URL(service.endpoint).port;
    const elsewhere = openS3ObjectStore({ ...options, publicEndpoint: `http://localhost:${port}` });
    const late = openS3ObjectStore({ ...options, clock: { now: () => Date.now() - 120_000, at: () => assert.fail('nothing is timed') } });
    for (const key of ['folder/a b+c&d=é.txt', 'plain', '%2F', '😀']) {
      await store.put({ bucket, key }, Buffer.from(`content of ${key}`));
      const url = await store.presignGet({ bucket, key }, 60);
      assert.equal((await download(url))?.toString(), `content of ${key}`);
      assert.equal(await download(url.replace(/(signature=)./i, '$1z')), undefined);
      const other = await elsewhere.presignGet({ bucket, key }, 60);
      assert.equal(new URL(other).host, `localhost:${port}`);
      assert.equal((await download(other))?.toString(), `content of ${key}`);
      assert.equal(await download(await late.presignGet({ bucket, key }, 60)), undefined);
      assert.ok(await download(await late.presignGet({ bucket, key }, 300)));
    }
    assert.equal(await download((await store.presignGet({ bucket, key: 'plain' }, 60)).replace('plain', 'other')), undefined);
    for (const seconds of [0, 1.5, 7 * 24 * 3_600 + 1]) await assert.rejects(store.presignGet({ bucket, key: 'plain' }, seconds), RangeError);
    elsewhere.close();
    late.close();
  });

  it('gives back metadata and headers of any text', async () => {
    const bucket = await newBucket();
    const word = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constantFrom('', ' ', 'a  b', ' a', '=?UTF-8?B?w6k=?=', '=?utf-8?q?a_b?=', 'é', '😀', '\u0000\n', '"', '\t'));
    const file = fc.constantFrom('attachment', 'attachment; filename="é 😀.txt"', 'inline; filename="a  b"');
    await fc.assert(
      fc.asyncProperty(word, word, file, async (one, two, disposition) => {
        const details = { contentType: 'text/plain; charset=utf-8', metadata: { one, 'and-two': two }, httpHeaders: { 'content-disposition': disposition, 'cache-control': 'no-store' } };
        await store.put({ bucket, key: 'described' }, Buffer.from('x'), details);
        const summary = await store.head({ bucket, key: 'described' });
        assert.deepEqual([summary?.metadata, summary?.httpHeaders, summary?.contentType], [details.metadata, details.httpHeaders, details.contentType]);
      }),
      { numRuns: 60 },
    );
  });

  it('tells of a put and of a list without asking twice when little is wanted', async () => {
    const bucket = await newBucket();
    const body = Buffer.from('brief');
    const put = await store.put({ bucket, key: 'k' }, body, { contentType: 'text/brief', metadata: { a: '1' }, detail: 'essential' });
    const whole = await store.head({ bucket, key: 'k' });
    const [listed] = (await store.list({ bucket, limit: 1, detail: 'essential' })).objects;
    for (const summary of [put, listed]) assert.deepEqual([summary?.key, summary?.sizeBytes, summary?.etag], ['k', 5, md5(body)]);
    assert.equal(listed?.lastModifiedMs, whole?.lastModifiedMs);
    assert.ok(Math.abs(put.lastModifiedMs - (whole?.lastModifiedMs ?? 0)) <= 2_000);
  });

  it('takes a long stream of unknown length by way of a file, and leaves none behind', async (context) => {
    const bucket = await newBucket();
    const spoolDir = await mkdtemp(join(tmpdir(), 'sluice-spool-'));
    context.after(() => rm(spoolDir, { recursive: true }));
    const spooling = openS3ObjectStore({ ...options, spoolDir });
    const chunk = Buffer.alloc(700_000, 'x');
    const bodies = [12, 1, 0].map((chunks) => Array.from({ length: chunks }, (_, n) => Buffer.concat([Buffer.from(String(n)), chunk])));
    for (const chunks of bodies) {
      const whole = Buffer.concat(chunks);
      const { etag, sizeBytes } = await spooling.put({ bucket, key: 'long' }, Readable.from(chunks));
      assert.deepEqual([etag, sizeBytes], [md5(whole), whole.length]);
      assert.ok((await buffer((await spooling.get({ bucket, key: 'long' })).body)).equals(whole));
    }
    const failing = Readable.from((function* () {
      for (let n = 0; n < 5; n += 1) yield chunk;
      throw new Error('the line went dead');
    })());
    await assert.rejects(spooling.put({ bucket, key: 'long' }, failing), /the line went dead/);
    assert.equal(await read(bucket, 'long'), '');
    assert.deepEqual(await readdir(spoolDir), []);
    spooling.close();
  });

  it('keeps installations with different prefixes apart on one server', async () => {
    const other = openTestStore(service);
    try {
      await store.createBucket('shared-name');
      assert.deepEqual(await other.store.createBucket('shared-name'), { created: true });
      await store.put({ bucket: 'shared-name', key: 'k' }, Buffer.from('mine'));
      await other.store.put({ bucket: 'shared-name', key: 'k' }, Buffer.from('theirs'));
      assert.equal(await read('shared-name', 'k'), 'mine');
      assert.deepEqual((await other.store.listBuckets()).map(({ name }) => name), ['shared-name']);
      await assert.rejects(store.createBucket('x'.repeat(60)), { name: 'InvalidBucketNameError', message: /shorter prefix/ });
    } finally {
      await other.dispose();
    }
    for (const bucketPrefix of ['Upper-', '-a', 'a..', 'a'.repeat(61), 'xn--']) assert.throws(() => openS3ObjectStore({ ...options, bucketPrefix }), { name: 'InvalidBucketNameError' });
  });

  it('works over TLS with the certificate given, and not without', { skip: NO_OPENSSL }, async (context) => {
    const certificate = await makeCertificate();
    const proxy = await startTlsProxy(service.endpoint, certificate);
    context.after(async () => {
      await proxy.stop();
      await certificate.remove();
    });
    const secure = openS3ObjectStore({ ...options, endpoint: proxy.url, ca: certificate.pem });
    const bucket = await newBucket();
    await secure.put({ bucket, key: 'k' }, Readable.from(['over ', 'TLS']), { condition: { kind: 'absent' } });
    await assert.rejects(secure.put({ bucket, key: 'k' }, Buffer.from('x'), { condition: { kind: 'absent' } }), { name: 'PreconditionFailedError' });
    assert.equal(await text((await secure.get({ bucket, key: 'k' }, { start: 5 })).body), 'TLS');
    secure.close();
    const distrustful = openS3ObjectStore({ ...options, endpoint: proxy.url });
    await assert.rejects(distrustful.head({ bucket, key: 'k' }), { name: 'StoreUnavailableError', message: /self.signed certificate/ });
    distrustful.close();
  });

  describe('over a line that breaks', () => {
    let proxy: LossyProxy;
    let fragile: S3ObjectStore;
    let bucket: string;
    before(async () => {
      proxy = await startLossyProxy(service.endpoint);
      // One connection, so that the next request is on the one that breaks.
      fragile = openS3ObjectStore({ ...options, endpoint: proxy.url, maxSockets: 1, timeoutMs: 5_000 });
      bucket = await newBucket();
    });
    after(async () => {
      fragile.close();
      await proxy.stop();
    });
    /** What comes of a request that takes effect, but whose answer is lost; so are those of the next tries. */
    const withoutAnswer = async <Result>(request: () => Promise<Result>, answers = 1): Promise<Result> => {
      const lost = proxy.lost + answers;
      proxy.loseNextAnswers(answers);
      return request().finally(() => assert.equal(proxy.lost, lost));
    };

    it('asks once more what may be asked twice', async () => {
      await store.put({ bucket, key: 'k' }, Buffer.from('there'));
      assert.equal((await withoutAnswer(() => fragile.head({ bucket, key: 'k' })))?.sizeBytes, 5);
      assert.equal(await text((await withoutAnswer(() => fragile.get({ bucket, key: 'k' }))).body), 'there');
      assert.equal((await withoutAnswer(() => fragile.list({ bucket, limit: 10 }))).objects.length, 1);
      await withoutAnswer(() => fragile.put({ bucket, key: 'k' }, Buffer.from('again')));
      await withoutAnswer(() => fragile.put({ bucket, key: 'streamed' }, Readable.from([Buffer.alloc(2_000_000), 'end'])));
      assert.equal((await store.head({ bucket, key: 'streamed' }))?.sizeBytes, 2_000_003);
      await withoutAnswer(() => fragile.delete({ bucket, key: 'k' }));
      assert.equal(await store.head({ bucket, key: 'k' }), undefined);
    });

    it('does not ask a third time', async () => {
      await assert.rejects(withoutAnswer(() => fragile.head({ bucket, key: 'k' }), 2), { name: 'StoreUnavailableError' });
    });

    it('does not repeat what might take effect twice, and says that it does not know', async () => {
      const put = (): Promise<unknown> => fragile.put({ bucket, key: 'guarded' }, Buffer.from('x'), { condition: { kind: 'absent' } });
      await assert.rejects(withoutAnswer(put), { name: 'StoreUnavailableError', message: /Storing "guarded".*ECONNRESET/ });
      assert.equal(await read(bucket, 'guarded'), 'x');
      await assert.rejects(withoutAnswer(() => fragile.delete({ bucket, key: 'guarded' }, { attempts: 'once' })), { name: 'StoreUnavailableError' });
      assert.equal(await store.head({ bucket, key: 'guarded' }), undefined);
    });

    it('never uses a connection again on which a put was refused, since the server closes it', async () => {
      await store.put({ bucket, key: 'taken' }, Buffer.from('x'));
      for (let n = 0; n < 40; n += 1) {
        await assert.rejects(fragile.put({ bucket, key: 'taken' }, Buffer.from('y'), { condition: { kind: 'absent' } }), { name: 'PreconditionFailedError' });
        // Not repeated when reset: it would fail.
        await fragile.put({ bucket, key: `free ${n}` }, Buffer.from('y'), { condition: { kind: 'absent' }, detail: 'essential' });
      }
    });
  });
});

describe('S3 object store before a server that fails', () => {
  const location = { bucket: 'some-bucket', key: 'some key' };
  const SECRET = 'the-secret-key-that-nobody-may-see';
  /** Long enough for an answer on a busy machine. */
  const IMPATIENT = { timeoutMs: 500 };

  const open = async (context: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void, options: Partial<S3ObjectStoreOptions> = {}): Promise<{ readonly store: S3ObjectStore; readonly fake: FakeServer }> => {
    const fake = await startFakeServer(answer);
    const store = openS3ObjectStore(storeOptions({ endpoint: fake.url, accessKey: 'the-access-key', secretKey: SECRET }, { timeoutMs: 30_000, ...options }));
    context.after(async () => {
      store.close();
      await fake.stop();
    });
    return { store, fake };
  };
  const everyRequest = (store: S3ObjectStore): readonly (() => Promise<unknown>)[] => [
    () => store.head(location),
    () => store.get(location),
    () => store.put(location, Buffer.from('x')),
    () => store.put(location, Readable.from(['x'])),
    () => store.delete(location),
    () => store.list({ bucket: location.bucket, limit: 1 }),
    () => store.createBucket(location.bucket),
    () => store.listBuckets(),
  ];
  const isUnavailable = (cause: RegExp) => (error: unknown): boolean => {
    assert.ok(error instanceof Error);
    assert.equal(error.name, 'StoreUnavailableError', error.stack);
    assert.match(error.message, cause);
    const everything = `${error.stack}${JSON.stringify(error)}${JSON.stringify(error.cause)}${String((error.cause as Error).stack)}`;
    assert.ok(!everything.includes(SECRET) && !everything.includes('Signature='));
    return true;
  };

  it('fails where nobody listens, with the address and the cause', async () => {
    const port = await freePort();
    const store = openS3ObjectStore(storeOptions({ endpoint: `http://127.0.0.1:${port}`, accessKey: 'a', secretKey: SECRET }));
    for (const request of everyRequest(store)) await assert.rejects(request(), isUnavailable(new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED`)));
    store.close();
  });

  it('fails where no answer comes', async (context) => {
    const { store } = await open(context, () => undefined, IMPATIENT);
    await Promise.all(everyRequest(store).map((request) => assert.rejects(request(), isUnavailable(/did not take or answer a request within 500 ms/))));
  });

  it('fails where a body is not taken', async (context) => {
    const { store, fake } = await open(context, (request) => request.pause(), IMPATIENT);
    fake.server.on('connection', (socket) => socket.pause());
    await assert.rejects(store.put(location, Buffer.alloc(20_000_000)), isUnavailable(/did not take or answer/));
  });

  it('fails where an answer stops halfway', async (context) => {
    const { store } = await open(context, (_, response) => void response.writeHead(200, { 'content-length': '100' }).write('half'), IMPATIENT);
    const { body } = await store.get(location);
    await assert.rejects(text(body), isUnavailable(/sent nothing for 500 ms in the middle of an answer/));
    await assert.rejects(store.list({ bucket: location.bucket, limit: 1 }), isUnavailable(/in the middle of an answer/));
  });

  it('fails where an answer breaks off', async (context) => {
    const { store } = await open(context, (_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half', () => response.destroy());
    });
    const { body } = await store.get(location);
    await assert.rejects(text(body), isUnavailable(/Reading "some key".*aborted/));
  });

  it('does not wait for ever for a free connection, nor lets any number wait', async (context) => {
    const { store } = await open(context, () => undefined, { maxSockets: 1, timeoutMs: 300 });
    const waiting = Array.from({ length: 4_096 }, () => store.head(location).then(() => 'answered', (error: Error) => error.message));
    await assert.rejects(store.head(location), { name: 'StoreUnavailableError', message: /4096 requests .* wait already/ });
    const outcomes = await Promise.all(waiting);
    assert.ok(outcomes.every((outcome) => /did not take or answer|no connection became free within 300 ms/.test(outcome)));
    assert.ok(outcomes.some((outcome) => outcome.includes('no connection became free')));
  });

  /** An answer of some megabytes, through a transport with a short time-out. */
  const longAnswer = async (context: TestContext, maxRests: number): Promise<IncomingMessage> => {
    const fake = await startFakeServer((_, response) => response.end(Buffer.alloc(4_000_000)));
    const transport = new S3Transport({ endpoint: parseEndpoint(fake.url), maxSockets: 1, ...IMPATIENT, maxRests });
    context.after(async () => {
      transport.close();
      await fake.stop();
    });
    const answered = Promise.withResolvers<IncomingMessage>();
    const request = transport.request({ host: '127.0.0.1', port: new URL(fake.url).port, agent: transport.agent, headers: { host: 'here' } }, answered.resolve);
    request.on('error', answered.reject);
    request.end();
    return answered.promise;
  };

  it('lets a slow reader read', async (context) => {
    const response = await longAnswer(context, 20);
    for (let rests = 0; rests < 3; rests += 1) await once(response.socket, 'timeout');
    assert.equal((await buffer(response)).length, 4_000_000);
  });

  it('takes a connection back from a reader that never reads', async (context) => {
    const response = await longAnswer(context, 1);
    const [error] = (await once(response, 'error')) as [Error];
    assert.match(error.message, /in the middle of an answer/);
  });

  it('passes on why the server cannot serve, and keeps its connections', async (context) => {
    const answers = [
      { status: 503, body: '<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>', cause: /503 SlowDown \(Reduce your request rate\)/ },
      { status: 507, body: '<Error><Code>XMinioStorageFull</Code><Message>Disk is full</Message></Error>', cause: /507 XMinioStorageFull \(Disk is full\)/ },
      { status: 500, body: 'no XML', cause: /answered 500/ },
      { status: 429, body: '', cause: /answered 429/ },
    ];
    let current = answers[0];
    const { store } = await open(context, (_, response) => response.writeHead(current?.status ?? 200).end(current?.body), { maxSockets: 1 });
    for (const answer of answers) {
      current = answer;
      for (const request of [() => store.get(location), () => store.put(location, Buffer.from('x')), () => store.delete(location)]) await assert.rejects(request(), isUnavailable(answer.cause));
    }
  });

  it('asks again after a conflict that will pass, and not for ever', async (context) => {
    let conflicts = 2;
    const { store, fake } = await open(context, (_, response) => {
      if (conflicts-- > 0) response.writeHead(409).end('<Error><Code>ConditionalRequestConflict</Code><Message>A conflict occurred.</Message></Error>');
      else response.writeHead(200, { etag: `"${md5(Buffer.from('x'))}"` }).end();
    });
    const put = (): Promise<unknown> => store.put(location, Buffer.from('x'), { condition: { kind: 'absent' }, detail: 'essential' });
    await put();
    assert.equal(fake.requests.length, 3);
    conflicts = Infinity;
    await assert.rejects(put(), /ConditionalRequestConflict/);
  });

  it('says so when ETags are not the MD5 of the bytes, and goes on with them', async (context) => {
    const said: string[] = [];
    const logger = pino({ level: 'warn' }, new Writable({ write: (line: Buffer, _, done) => (said.push(line.toString()), done()) }));
    const { store } = await open(context, (_, response) => response.writeHead(200, { etag: '"encrypted-1"' }).end(), { logger });
    for (let n = 0; n < 3; n += 1) assert.equal((await store.put(location, Buffer.from('x'), { detail: 'essential' })).etag, 'encrypted-1');
    assert.equal(said.length, 1);
    assert.match(said[0] ?? '', /not the MD5/);
  });

  it('refuses addresses that are none, and shows no credentials of them', () => {
    for (const endpoint of ['', 'minio:9000', 'ftp://x', 'http://', 'https://host/path', 'http://host?x=1']) {
      assert.throws(() => openS3ObjectStore(storeOptions({ endpoint, accessKey: 'a', secretKey: 'b' })), { name: 'InvalidEndpointError' }, endpoint);
    }
    for (const endpoint of [`http://user:${SECRET}@host`, `ftp://user:${SECRET}@host`]) {
      assert.throws(() => openS3ObjectStore(storeOptions({ endpoint, accessKey: 'a', secretKey: 'b' })), (error: Error) => error.name === 'InvalidEndpointError' && !error.message.includes(SECRET));
    }
  });
});

/** What anyone gets from a URL. */
async function download(url: string): Promise<Buffer | undefined> {
  const response = await fetch(url);
  if (response.ok) return Buffer.from(await response.arrayBuffer());
  await response.arrayBuffer();
  return undefined;
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
