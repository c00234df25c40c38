import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { Agent, request, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, describe, it } from 'node:test';
import { createS3Api, S3_OPERATIONS } from '../../../gateway/s3-api/handle.ts';
import { OPERATIONS } from '../../../gateway/s3-api/operations.ts';
import { CODE_BUCKET } from '../../../platform/model/function.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { startS3Server, type S3Server } from '../../support/s3-server.ts';

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Of an XML error. */
  readonly code: string | undefined;
}

describe('S3 API', () => {
  let s3: S3Server;
  let bucket: string;
  let buckets = 0;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });

  before(async () => {
    s3 = await startS3Server();
  });
  after(async () => {
    agent.destroy();
    await s3.stop();
  });
  beforeEach(async () => {
    bucket = `bucket-${(buckets += 1)}`;
    await s3.store.createBucket(bucket);
  });

  async function send(method: string, path: string, headers: Record<string, string | number> = {}, body: Buffer | string = ''): Promise<Answer> {
    const outgoing = request(s3.url, { method, path, agent, headers: { ...(['PUT', 'POST'].includes(method) && headers['transfer-encoding'] === undefined ? { 'content-length': Buffer.byteLength(body) } : {}), ...headers } });
    outgoing.end(body);
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    const answer = await text(incoming);
    return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: answer, code: /<Code>(.*?)<\/Code>/.exec(answer)?.[1] };
  }

  /** Nothing half-done may lie about. */
  async function keys(): Promise<readonly string[]> {
    assert.deepEqual(await readdir(join(s3.objectsDir, '.staging')), []);
    return (await s3.store.list({ bucket, limit: 1_000 })).objects.map(({ key }) => key);
  }

  it('takes only what is meant for it', () => {
    const api = createS3Api({ store: s3.store, logger: createLogger('silent'), region: 'us-east-1', signingSecret: Buffer.alloc(32) });
    const signed = (service: string): IncomingHttpHeaders => ({ authorization: `AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0` });
    const cases: readonly [string, IncomingHttpHeaders, boolean][] = [
      ['/', {}, false],
      ['/', signed('s3'), true],
      ['/?max-buckets=1', signed('s3'), true],
      ['/', signed('sts'), false],
      ['/photos', {}, true],
      ['/photos/2015-03-31/x', {}, true],
      ['/photos/cat.jpg', signed('s3'), true],
      ['/photos/cat.jpg', signed('lambda'), false],
      ['/2015-03-31/functions', {}, false],
      ['/2017-03-31/tags/x', signed('s3'), false],
      ['/2015-03-31', {}, false],
      ['/_sluice/health', {}, false],
      ['/_sluice/objects/b/k?signature=x', {}, true],
      ['/photos', { 'x-amz-target': 'Logs_20140328.FilterLogEvents' }, false],
    ];
    for (const [path, headers, expected] of cases) assert.equal(api.matches('GET', path, headers), expected, `${path} ${JSON.stringify(headers)}`);
  });

  it('answers every operation of S3 that it does not have with 501 and its name', async () => {
    const missing = OPERATIONS.filter(({ name }) => S3_OPERATIONS[name] === undefined);
    assert.ok(missing.length > 80);
    for (const { name, method, level, query, header } of missing) {
      const path = `/${bucket}${level === 'object' ? '/key' : ''}?${query.map((each) => `${each}=1`).join('&')}`;
      const answer = await send(method, path, header === undefined ? {} : { [header]: '/b/k' });
      assert.deepEqual([answer.status, answer.code, answer.body.includes(`<Operation>${name}</Operation>`)], [501, 'NotImplemented', true], name);
    }
  });

  it('names what is wrong with a request as S3 does', async () => {
    await s3.store.put({ bucket, key: 'there' }, Buffer.from('0123456789'));
    const cases: readonly [string, string, Record<string, string | number>, number, string][] = [
      ['GET', '/no-such-bucket', {}, 404, 'NoSuchBucket'],
      ['GET', '/no-such-bucket/key', {}, 404, 'NoSuchBucket'],
      ['PUT', '/no-such-bucket/key', {}, 404, 'NoSuchBucket'],
      ['DELETE', '/no-such-bucket/key', {}, 404, 'NoSuchBucket'],
      ['GET', `/${bucket}/absent`, {}, 404, 'NoSuchKey'],
      ['GET', '/Under_Score/key', {}, 400, 'InvalidBucketName'],
      ['PUT', '/ab', {}, 400, 'InvalidBucketName'],
      ['PUT', '/..', {}, 400, 'InvalidBucketName'],
      ['GET', '//key', {}, 400, 'InvalidBucketName'],
      ['GET', `/${bucket}/%zz`, {}, 400, 'InvalidURI'],
      ['GET', `/${bucket}/%ff`, {}, 400, 'InvalidURI'],
      ['PUT', `/${bucket}/${'k'.repeat(1_025)}`, {}, 400, 'KeyTooLongError'],
      ['PATCH', `/${bucket}/key`, {}, 405, 'MethodNotAllowed'],
      ['POST', `/${bucket}/key`, {}, 405, 'MethodNotAllowed'],
      ['OPTIONS', `/${bucket}/key`, {}, 403, 'AccessForbidden'],
      ['GET', `/${bucket}/there`, { range: 'bytes=10-' }, 416, 'InvalidRange'],
      ['GET', `/${bucket}/there`, { 'if-match': '"x"' }, 412, 'PreconditionFailed'],
      ['GET', `/${bucket}/there?versionId=abc`, {}, 400, 'InvalidArgument'],
      ['GET', `/${bucket}?list-type=2&max-keys=-1`, {}, 400, 'InvalidArgument'],
      ['GET', `/${bucket}?list-type=2&max-keys=many`, {}, 400, 'InvalidArgument'],
      ['GET', `/${bucket}?list-type=2&continuation-token=%21`, {}, 400, 'InvalidArgument'],
      ['GET', `/${bucket}?encoding-type=html`, {}, 400, 'InvalidArgument'],
      ['PUT', `/${bucket}/new`, { 'content-length': 6 * 1024 ** 3, expect: '100-continue' }, 400, 'EntityTooLarge'],
      ['PUT', `/${bucket}/new`, { 'content-md5': 'short' }, 400, 'InvalidDigest'],
      ['PUT', `/${bucket}/new`, { 'if-none-match': '"etag"' }, 501, 'NotImplemented'],
      ['PUT', `/${bucket}/new`, { 'if-match': '"etag"' }, 404, 'NoSuchKey'],
      ['PUT', `/${bucket}/there`, { 'if-match': '"etag"' }, 412, 'PreconditionFailed'],
      ['PUT', `/${bucket}/there`, { 'if-none-match': '*' }, 412, 'PreconditionFailed'],
      ['PUT', `/${bucket}/new`, { 'transfer-encoding': 'chunked' }, 501, 'NotImplemented'],
      ['PUT', `/${bucket}/new`, { 'x-amz-tagging': 'a=b' }, 501, 'NotImplemented'],
      ['PUT', `/${bucket}/new`, { 'x-amz-acl': 'public-read' }, 400, 'AccessControlListNotSupported'],
      ['PUT', `/${bucket}/new`, { 'x-amz-meta-long': 'x'.repeat(2_048) }, 400, 'MetadataTooLarge'],
      ['PUT', `/${bucket}/new`, { 'x-amz-copy-source': 'no-slash' }, 400, 'InvalidArgument'],
      ['PUT', `/${bucket}/new`, { 'x-amz-copy-source': `/${bucket}/absent` }, 404, 'NoSuchKey'],
      ['PUT', `/${bucket}/there`, { 'x-amz-copy-source': `/${bucket}/there` }, 400, 'InvalidRequest'],
      ['PUT', `/${bucket}/new`, { 'x-amz-copy-source': `/${bucket}/there`, 'x-amz-copy-source-if-match': 'x' }, 412, 'PreconditionFailed'],
      ['DELETE', `/${bucket}/there`, { 'if-match': 'x' }, 501, 'NotImplemented'],
    ];
    for (const [method, path, headers, status, code] of cases) {
      const answer = await send(method, path, headers);
      assert.deepEqual([answer.status, answer.code], [status, code], `${method} ${path.slice(0, 60)} ${JSON.stringify(headers).slice(0, 80)}`);
      assert.match(answer.body, /^<\?xml version="1.0" encoding="UTF-8"\?>\n<Error><Code>\w+<\/Code><Message>[^<]+<\/Message>.*<RequestId>[0-9A-F]{16}<\/RequestId><\/Error>$/s);
      assert.equal(answer.headers['content-type'], 'application/xml');
    }
    assert.deepEqual(await keys(), ['there']);
  });

  it('answers HEAD without a body, errors too', async () => {
    await s3.store.put({ bucket, key: 'there' }, Buffer.from('0123456789'), { contentType: 'text/x' });
    const found = await send('HEAD', `/${bucket}/there`);
    assert.deepEqual([found.status, found.headers['content-length'], found.headers['content-type'], found.body], [200, '10', 'text/x', '']);
    assert.deepEqual([(await send('HEAD', `/${bucket}/absent`)).status, (await send('HEAD', '/no-such-bucket')).status, (await send('HEAD', `/${bucket}`)).status], [404, 404, 200]);
    const part = await send('HEAD', `/${bucket}/there`, { range: 'bytes=2-3' });
    assert.deepEqual([part.status, part.headers['content-length'], part.headers['content-range']], [206, '2', 'bytes 2-3/10']);
  });

  it('stores a body only if it is what the headers and trailers promise', async () => {
    const sha256 = (body: string): string => createHash('sha256').update(body).digest('hex');
    const frames = (checksum: string): string => `5\r\nhello\r\n0\r\nx-amz-checksum-crc32:${checksum}\r\n\r\n`;
    const framed = { 'content-encoding': 'gzip, aws-chunked', 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'x-amz-trailer': 'x-amz-checksum-crc32', 'x-amz-decoded-content-length': 5 };
    const cases: readonly [string, Record<string, string | number>, string, string | undefined][] = [
      ['md5', { 'content-md5': createHash('md5').update('hello').digest('base64') }, 'hello', undefined],
      ['md5', { 'content-md5': createHash('md5').update('other').digest('base64') }, 'hello', 'BadDigest'],
      ['sha256', { 'x-amz-content-sha256': sha256('hello') }, 'hello', undefined],
      ['sha256', { 'x-amz-content-sha256': sha256('other') }, 'hello', 'XAmzContentSHA256Mismatch'],
      ['unsigned', { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }, 'hello', undefined],
      ['crc32', { 'x-amz-checksum-crc32': 'NhCmhg==' }, 'hello', undefined],
      ['crc32', { 'x-amz-checksum-crc32': 'AAAAAA==' }, 'hello', 'BadDigest'],
      ['crc64nvme', { 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=' }, 'hello', 'BadDigest'],
      ['trailer', framed, frames('NhCmhg=='), undefined],
      ['trailer', framed, frames('AAAAAA=='), 'BadDigest'],
      ['no trailer', framed, '5\r\nhello\r\n0\r\n\r\n', 'MalformedTrailerError'],
      ['length', { ...framed, 'x-amz-decoded-content-length': 4 }, frames('NhCmhg=='), 'IncompleteBody'],
      ['length', { ...framed, 'x-amz-decoded-content-length': 6 }, frames('NhCmhg=='), 'IncompleteBody'],
      ['length', { ...framed, 'x-amz-decoded-content-length': 'five' }, frames('NhCmhg=='), 'InvalidArgument'],
      ['frames', framed, 'hello', 'IncompleteBody'],
      ['frames', framed, '5\r\nhel', 'IncompleteBody'],
    ];
    for (const [key, headers, body, code] of cases) {
      const answer = await send('PUT', `/${bucket}/${encodeURIComponent(key)}`, headers, body);
      assert.deepEqual([answer.code, answer.status], [code, code === undefined ? 200 : 400], `${key}: ${code}`);
      assert.equal((await keys()).includes(key), code === undefined, `${key}: ${code}`);
      if (code !== undefined) continue;
      const stored = await send('GET', `/${bucket}/${encodeURIComponent(key)}`);
      assert.deepEqual([stored.body, stored.headers['content-encoding']], ['hello', key === 'trailer' ? 'gzip' : undefined]);
      await s3.store.delete({ bucket, key });
    }
  });

  it('leaves nothing of an upload whose client goes away, and serves others meanwhile', async () => {
    await s3.store.put({ bucket, key: 'kept' }, Buffer.from('before'));
    for (const key of ['kept', 'new']) {
      const socket = connect(Number(new URL(s3.url).port), '127.0.0.1');
      const served = once(s3.server, 'request');
      socket.write(`PUT /${bucket}/${key} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(100_000)}`);
      const [, response] = (await served) as [unknown, ServerResponse];
      const closed = once(response, 'close');
      assert.equal((await send('GET', `/${bucket}/kept`)).body, 'before');
      socket.destroy();
      await closed;
    }
    // The store's own clean-up is the last thing to happen to an upload; a later change of the same key waits for nothing else.
    while ((await readdir(join(s3.objectsDir, '.staging'))).length > 0) await new Promise(setImmediate);
    assert.deepEqual(await keys(), ['kept']);
    assert.equal((await send('GET', `/${bucket}/kept`)).body, 'before');
  });

  it('goes on with a connection after it refused a large body on it', async () => {
    const large = Buffer.alloc(3_000_000, 'x');
    for (const [path, headers, code] of [
      ['/no-such-bucket/key', {}, 'NoSuchBucket'],
      [`/${bucket}/key`, { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': 5 }, 'IncompleteBody'],
      [`/${bucket}?delete`, {}, 'MalformedXML'],
    ] as const) {
      assert.equal((await send(path.includes('?') ? 'POST' : 'PUT', path, headers, large)).code, code);
      assert.equal((await send('GET', `/${bucket}?list-type=2`)).status, 200);
    }
  });

  it('deletes many objects at once, and says what it could not delete', async () => {
    for (const key of ['a', 'b', 'c & <d>']) await s3.store.put({ bucket, key }, Buffer.from('x'));
    const answer = await send('POST', `/${bucket}?delete`, {}, `<Delete><Object><Key>a</Key></Object><Object><Key>never</Key></Object><Object><Key>${'x'.repeat(1_025)}</Key></Object><Object><Key>b</Key><VersionId>1</VersionId></Object></Delete>`);
    assert.match(answer.body, /<Deleted><Key>a<\/Key><\/Deleted><Deleted><Key>never<\/Key><\/Deleted><Error><Key>x+<\/Key><Code>KeyTooLongError<\/Code>.*<Error><Key>b<\/Key><Code>InvalidArgument<\/Code>/);
    assert.deepEqual(await keys(), ['b', 'c & <d>']);
    const quiet = await send('POST', `/${bucket}?delete`, {}, '<Delete><Quiet>true</Quiet><Object><Key>c &amp; &lt;d&gt;</Key></Object></Delete>');
    assert.match(quiet.body, /<DeleteResult xmlns="[^"]+"><\/DeleteResult>/);
    assert.deepEqual(await keys(), ['b']);
    const tooMany = `<Delete>${'<Object><Key>b</Key></Object>'.repeat(1_001)}</Delete>`;
    for (const body of ['', '<Delete/>', '<Delete><Object/></Delete>', '<Other><Object><Key>b</Key></Object></Other>', '<Delete><Object><Key>b</Key>', 'b', tooMany]) {
      const refused = await send('POST', `/${bucket}?delete`, {}, body);
      assert.deepEqual([refused.status, refused.code], [400, 'MalformedXML'], body.slice(0, 40));
    }
    assert.equal((await send('POST', `/${bucket}?delete`, { 'content-md5': createHash('md5').update('').digest('base64') }, '<Delete><Object><Key>b</Key></Object></Delete>')).code, 'BadDigest');
    assert.deepEqual(await keys(), ['b']);
  });

  it('creates buckets from a configuration', async () => {
    const configuration = (region: string): string => `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
    assert.deepEqual([(await send('PUT', `/${bucket}-eu`, {}, configuration('eu-west-1'))).headers.location, (await send('PUT', `/${bucket}-eu`)).status], [`/${bucket}-eu`, 200]);
    assert.equal((await send('PUT', `/${bucket}-x`, {}, configuration('nowhere'))).code, 'InvalidLocationConstraint');
    assert.equal((await send('PUT', `/${bucket}-x`, {}, '<CreateBucketConfiguration>')).code, 'MalformedXML');
    assert.equal((await send('HEAD', `/${bucket}-x`)).status, 404);
    const elsewhere = await startS3Server({ region: 'eu-central-1' });
    try {
      const statuses = [];
      for (let attempt = 0; attempt < 2; attempt += 1) statuses.push((await fetch(`${elsewhere.url}/my-bucket`, { method: 'PUT' })).status);
      assert.deepEqual(statuses, [200, 409]);
    } finally {
      await elsewhere.stop();
    }
  });

  it('hides the bucket of deployment packages from everybody', async () => {
    await s3.store.createBucket(CODE_BUCKET);
    await s3.store.put({ bucket: CODE_BUCKET, key: 'code' }, Buffer.from('secret'));
    const listed = await send('GET', '/', { authorization: 'AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0' });
    assert.match(listed.body, new RegExp(`<Name>${bucket}</Name>`));
    assert.doesNotMatch(listed.body, new RegExp(CODE_BUCKET));
    for (const [method, path, headers] of [
      ['GET', `/${CODE_BUCKET}`, {}],
      ['HEAD', `/${CODE_BUCKET}`, {}],
      ['GET', `/${CODE_BUCKET}/code`, {}],
      ['GET', `/%73luice-code/code`, {}],
      ['PUT', `/${CODE_BUCKET}/code`, {}],
      ['DELETE', `/${CODE_BUCKET}/code`, {}],
      ['POST', `/${CODE_BUCKET}?delete`, {}],
      ['PUT', `/${bucket}/copy`, { 'x-amz-copy-source': `/${CODE_BUCKET}/code` }],
      ['PUT', `/${bucket}/copy`, { 'x-amz-copy-source': '%2Fsluice-code%2Fcode' }],
    ] as const) assert.equal((await send(method, path, headers)).status, 404, `${method} ${path}`);
    assert.equal((await send('PUT', `/${CODE_BUCKET}`)).code, 'BucketAlreadyExists');
    assert.equal(await text((await s3.store.get({ bucket: CODE_BUCKET, key: 'code' })).body), 'secret');
  });

  it('serves presigned downloads until they expire, and nothing else by that path', async () => {
    await s3.store.createBucket(CODE_BUCKET);
    await s3.store.put({ bucket: CODE_BUCKET, key: 'f/1.zip' }, Buffer.from('0123456789'), { contentType: 'application/zip' });
    const url = new URL(await s3.store.presignGet({ bucket: CODE_BUCKET, key: 'f/1.zip' }, 600));
    const path = url.pathname + url.search;
    const whole = await send('GET', path);
    assert.deepEqual([whole.status, whole.body, whole.headers['content-type'], whole.headers['content-security-policy']], [200, '0123456789', 'application/zip', 'sandbox']);
    const part = await send('GET', path, { range: 'bytes=-2' });
    assert.deepEqual([part.status, part.body, part.headers['content-range']], [206, '89', 'bytes 8-9/10']);
    for (const forged of [path.replace('1.zip', '2.zip'), path.replace(/expires=\d/, 'expires=9'), path.replace(/signature=.*/, 'signature='), path.replace(/\?.*/, ''), '/_sluice/objects/', '/_sluice/objects/%zz/%zz?expires=1&signature=1']) {
      assert.deepEqual([(await send('GET', forged)).status, (await send('GET', forged)).code], [403, 'AccessDenied'], forged);
    }
    assert.equal((await send('PUT', path)).code, 'MethodNotAllowed');
    // URLs count in whole seconds, and real time passes as well.
    s3.advance(598_000);
    assert.equal((await send('GET', path)).status, 200);
    s3.advance(2_000);
    assert.match((await send('GET', path)).body, /<Code>AccessDenied<\/Code><Message>Request has expired<\/Message>/);
    s3.advance(-600_000);
  });

  it('gives a download the headers that its client asks for, but never a header more', async () => {
    await s3.store.put({ bucket, key: 'page' }, Buffer.from('x'), { contentType: 'text/html', metadata: { name: 'a\r\nSet-Cookie: b', kanji: '漢' } });
    const answer = await send('GET', `/${bucket}/page?response-content-type=text%2Fplain&response-content-disposition=attachment%0D%0ASet-Cookie%3A%20x`);
    assert.deepEqual([answer.headers['content-type'], answer.headers['set-cookie'], answer.headers['x-amz-meta-name']], ['text/plain', undefined, 'a  Set-Cookie: b']);
    assert.equal(Buffer.from(String(answer.headers['x-amz-meta-kanji']), 'latin1').toString(), '漢');
  });
});
