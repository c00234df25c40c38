import { systemClock } from '../../clock.ts';
import { InvalidBucketNameError, StoreUnavailableError } from '../object-store.ts';
import { openS3ObjectStore, type S3ObjectStoreOptions } from '../s3.ts';
import { InvalidEndpointError, parseEndpoint } from './endpoint.ts';
import { failureCode, isReset, parseRefusal, S3RefusedError } from './failures.ts';
import { withExpiry, type ExpiryRule } from './lifecycle.ts';
import { credentialsOf, S3Requests, type S3Answer } from './requests.ts';
import { bodyOf } from './spool.ts';

/** A bucket that the platform needs for itself. */
export interface InternalBucket {
  readonly name: string;
  readonly expiry?: readonly ExpiryRule[];
}

/** What the operator calls the settings, for messages. */
export interface S3SettingNames {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
  readonly bucketPrefix: string;
  readonly ca: string;
}

export interface S3SetupOptions extends S3ObjectStoreOptions {
  readonly buckets: readonly InternalBucket[];
  readonly settingNames: S3SettingNames;
}

/** The object store cannot be used as it is set up. One line: the setting, what is wrong with it, what to do. */
export class StoreSetupError extends Error {
  override readonly name = 'StoreSetupError';
}

/** A start that waits longer for its object store is better ended with a reason. */
const SETUP_MS_MAX = 10_000;
/** So that a server that takes connections and says nothing is told from one that is slow in many steps. */
const REQUEST_MS_MAX = 5_000;

/**
 * What a start does before it uses the store: looks whether the server is there, speaks S3 and knows the credentials; makes the internal
 * buckets that are missing; gives those the expiry that they should have. Does nothing twice, so any number of processes may start at
 * once. Ends within {@link SETUP_MS_MAX}; rejects with {@link StoreSetupError}.
 *
 * A server that has no expiry, or does not let us set it, costs a warning: what should have expired stays.
 */
export async function setUpS3(options: S3SetupOptions): Promise<void> {
  const { bucketPrefix = '', region, ca } = options;
  const endpoint = endpointOf(options);
  const limits = { maxSockets: 4, timeoutMs: Math.min(REQUEST_MS_MAX, options.timeoutMs ?? REQUEST_MS_MAX) };
  const requests = new S3Requests({ endpoint, credentials: credentialsOf(options), region, ca, ...limits });
  const store = openStore({ ...options, ...limits });
  const clock = options.clock ?? systemClock;
  const tooLate = Promise.withResolvers<never>();
  const timer = clock.at(clock.now() + SETUP_MS_MAX, () => tooLate.reject(new StoreSetupError(`${options.settingNames.endpoint}: the S3 server at ${endpoint.display} did not get through with the start within ${SETUP_MS_MAX / 1_000} seconds; is it overloaded?`)));
  const work = async (): Promise<void> => {
    for (const { name, expiry } of options.buckets) {
      const bucket = bucketPrefix + name;
      if (!(await bucketExists(requests, bucket))) await store.createBucket(name);
      if (expiry !== undefined) await setExpiry(requests, bucket, expiry, options);
    }
  };
  try {
    await Promise.race([work().catch((error: unknown) => Promise.reject(explain(error, options))), tooLate.promise]);
  } finally {
    timer.cancel();
    requests.close();
    store.close();
  }
}

function endpointOf({ endpoint, settingNames }: S3SetupOptions): ReturnType<typeof parseEndpoint> {
  try {
    return parseEndpoint(endpoint);
  } catch (error) {
    if (error instanceof InvalidEndpointError) throw new StoreSetupError(`${settingNames.endpoint}: ${error.message}`, { cause: error });
    throw error;
  }
}

function openStore(options: S3SetupOptions): ReturnType<typeof openS3ObjectStore> {
  try {
    return openS3ObjectStore(options);
  } catch (error) {
    if (error instanceof InvalidBucketNameError) throw new StoreSetupError(`${options.settingNames.bucketPrefix}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** By a list, since the answer to it says why where it is none. */
async function bucketExists(requests: S3Requests, bucket: string): Promise<boolean> {
  const what = `Looking into the bucket ${bucket}`;
  const answer = await requests.ask({ method: 'GET', what, bucket, query: 'list-type=2&max-keys=1', idempotent: true });
  if (answer.status === 200 && answer.text.includes('<ListBucketResult')) return true;
  const refusal = parseRefusal(what, answer);
  if (refusal.code === 'NoSuchBucket') return false;
  if (refusal.code === '') throw new NotS3Error(refusal.status, answer.text.includes('HTTPS') && answer.status === 400);
  throw refusal;
}

class NotS3Error extends Error {
  readonly status: number;
  readonly wantsTls: boolean;
  constructor(status: number, wantsTls: boolean) {
    super(`answered ${status}`);
    this.status = status;
    this.wantsTls = wantsTls;
  }
}

async function setExpiry(requests: S3Requests, bucket: string, rules: readonly ExpiryRule[], { logger }: S3SetupOptions): Promise<void> {
  const what = `Setting the expiry of the bucket ${bucket}`;
  const refused = (answer: S3Answer): void =>
    logger.warn({ bucket, rules, err: parseRefusal(what, answer) }, 'The S3 server does not remove old objects of this bucket by itself; what Sluice leaves there stays until you remove it.');
  const current = await requests.ask({ method: 'GET', what, bucket, query: 'lifecycle', idempotent: true });
  if (current.status !== 200 && current.status !== 404) return refused(current);
  const lifecycle = withExpiry(current.status === 200 ? current.text : undefined, rules);
  if (lifecycle === undefined) return;
  const answer = await requests.ask({ method: 'PUT', what, bucket, query: 'lifecycle', body: bodyOf(Buffer.from(lifecycle)), idempotent: true });
  if (answer.status !== 200) refused(answer);
}

const UNTRUSTED = new Set(['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CERT_UNTRUSTED', 'CERT_SIGNATURE_FAILURE']);
const UNFIT = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH', 'CERT_REVOKED']);

/** What is wrong, in the words of who set it up. */
function explain(error: unknown, options: S3SetupOptions): Error {
  const { settingNames: names, region } = options;
  const { display, tls } = parseEndpoint(options.endpoint);
  const because = (text: string): StoreSetupError => new StoreSetupError(text, { cause: error });
  if (error instanceof S3RefusedError) return because(explainRefusal(error, names, display, region));
  if (error instanceof InvalidBucketNameError) return because(`${names.bucketPrefix}: ${error.message}`);
  if (error instanceof NotS3Error) {
    return because(error.wantsTls && !tls ? `${names.endpoint}: the server at ${display} wants TLS; give its address with https://.` : `${names.endpoint}: the server at ${display} answers (${error.status}), but not as an S3 server does; give the address of the S3 API, not of its console or a proxy's page.`);
  }
  if (!(error instanceof StoreUnavailableError)) return error instanceof Error ? error : new Error(String(error));
  const code = failureCode(error) ?? '';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return because(`${names.endpoint}: the host name of ${display} cannot be resolved (${code}); correct it.`);
  if (code === 'ECONNREFUSED') return because(`${names.endpoint}: nobody listens at ${display} (${code}); start the S3 server or correct the address.`);
  if (UNTRUSTED.has(code)) return because(`${names.ca}: the certificate of ${display} is not trusted (${code}); give the certificate of the authority that signed it.`);
  if (UNFIT.has(code)) return because(`${names.endpoint}: the certificate of ${display} does not fit (${code}); renew it, or give the host name that it is for.`);
  if (tls && (code === 'EPROTO' || code.startsWith('ERR_SSL_'))) return because(`${names.endpoint}: the server at ${display} does not speak TLS as we do (${code}); is it one for http://?`);
  if (!tls && (isReset(error) || code.startsWith('HPE_'))) return because(`${names.endpoint}: the server at ${display} does not speak HTTP (${code}); is it one for https://?`);
  return because(`${names.endpoint}: ${error.message}`);
}

function explainRefusal({ code, status, message }: S3RefusedError, names: S3SettingNames, display: string, region: string): string {
  switch (code) {
    case 'InvalidAccessKeyId':
      return `${names.accessKey}: the S3 server at ${display} knows no such access key (${code}); correct it.`;
    case 'SignatureDoesNotMatch':
      return `${names.secretKey}: it is not the secret of this access key at ${display} (${code}); correct it.`;
    case 'InvalidToken':
    case 'InvalidTokenId':
    case 'ExpiredToken':
      return `${names.accessKey}: the S3 server at ${display} does not take the session of these temporary credentials (${code}); get new ones.`;
    case 'RequestTimeTooSkewed':
      return `${names.endpoint}: the clocks of this machine and of ${display} differ by more than 15 minutes (${code}); set them right.`;
    case 'AuthorizationHeaderMalformed':
    case 'PermanentRedirect':
    case 'IllegalLocationConstraintException':
    case 'InvalidRegion':
    case 'InvalidLocationConstraint':
      return `${names.region}: the S3 server at ${display} does not serve the region ${region} here (${code}); correct it.`;
    case 'BucketAlreadyExists':
      return `${names.bucketPrefix}: ${message.replace(/: .*/s, '')} failed, since it belongs to someone else at ${display} (${code}); choose another prefix.`;
    default:
      if (status !== 403) return `${names.endpoint}: ${message}`;
      return `${names.bucketPrefix}: ${message.replace(/: .*/s, '')} failed, since it belongs to someone else at ${display} or these credentials may not use it (${code === '' ? status : code}); choose another prefix, or allow it to ${names.accessKey}.`;
  }
}
