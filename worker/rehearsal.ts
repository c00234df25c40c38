import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { ZipFile } from 'yazl';
import type { ExecutionSpec } from '../platform/model/execution-spec.ts';
import type { InvocationRecord } from '../platform/model/invocation.ts';
import type { Assignment, ControllerLink } from '../platform/protocol/controller-link.ts';
import type { WorkerReplies } from '../platform/protocol/reply.ts';
import { CodeCache } from './code/code-cache.ts';
import { Environment, type EnvironmentContext } from './environment/environment.ts';
import { startProcess } from './environment/start-runtime.ts';
import type { RuntimeFamily } from './runtimes/runtime.ts';

/** A file that any family of runtimes can run, by the family's name. */
const FUNCTIONS: Readonly<Record<string, { readonly file: string; readonly text: string }>> = {
  nodejs: { file: 'index.js', text: 'exports.handler = async () => ({});\n' },
  python: { file: 'index.py', text: 'def handler(event, context):\n    return {}\n' },
};

/** Twice: what Node compiles lazily it has compiled after the first, and knows the shapes of after the second. */
const INVOCATIONS = 2;
const ACCOUNT = '000000000000';
const NAME = 'rehearsal';
const TIMEOUT_SEC = 10;

/**
 * Runs a function of the platform's own, from its package to its end, so that whatever the start of an environment goes through is loaded and compiled when somebody waits for
 * it. Nobody hears of it: it has a controller, a log and a code cache of its own, whose folder, among the code that runtimes may see, is gone afterwards. Resolves when nothing of it is left, whether it
 * went well or not.
 */
export async function rehearse(context: EnvironmentContext, family: RuntimeFamily, dataDir: string): Promise<void> {
  const source = FUNCTIONS[family.name];
  const [runtime] = family.runtimes;
  if (source === undefined || runtime === undefined) return;
  const folder = join(dataDir, 'code', NAME);
  try {
    const zip = new ZipFile();
    zip.addBuffer(Buffer.from(source.text), source.file);
    zip.end();
    const archive = await buffer(zip.outputStream);
    const code = await CodeCache.open({ folder, source: () => Promise.resolve(archive), logger: context.logger });
    const spec = specOf(runtime, archive, context.region);
    let [given, succeeded] = [0, 0];
    await new Promise<void>((gone) => {
      const link: ControllerLink = {
        next: () => Promise.resolve<Assignment>(given < INVOCATIONS ? { kind: 'invoke', invocation: invocationOf(spec, given++, context.clock.now()), epoch: 0, deliveryId: given } : { kind: 'stop' }),
        responded: () => undefined,
        gone: () => undefined,
      };
      const replies: WorkerReplies = { reply: (_invocation, { kind }) => void (kind === 'success' && succeeded++), stream: () => undefined };
      const environment = new Environment(NAME, spec, { ...context, link, replies, code, functionLogs: { append: () => undefined } }, gone);
      environment.start((request) => startProcess(family, request));
    });
    if (succeeded < INVOCATIONS) throw new Error(`${succeeded} of ${INVOCATIONS} invocations have succeeded.`);
  } catch (error) {
    context.logger.warn({ err: error, family: family.name }, 'The rehearsal of a start has failed; the first start here takes longer.');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function specOf(runtime: string, archive: Buffer, region: string): ExecutionSpec {
  return {
    id: NAME, account: ACCOUNT, functionName: NAME, functionUid: NAME, version: '$LATEST', versionArn: `arn:aws:lambda:${region}:${ACCOUNT}:function:${NAME}:$LATEST`,
    configuration: {
      runtime, handler: 'index.handler', role: '', description: '', timeoutSec: TIMEOUT_SEC, memoryMiB: 128, ephemeralStorageMiB: 512, environment: undefined, architecture: 'x86_64', tracingMode: 'PassThrough', logGroup: NAME,
      code: { sha256: createHash('sha256').update(archive).digest('base64'), sizeBytes: archive.length, objectKey: NAME },
    },
  };
}

function invocationOf({ account, functionName, functionUid, version, versionArn }: ExecutionSpec, index: number, nowMs: number): InvocationRecord {
  return {
    v: 1, id: `${NAME}-${index}`, kind: 'sync', account, functionName, functionUid, version, invokedArn: versionArn, acceptedAtMs: nowMs, expiresAtMs: nowMs + TIMEOUT_SEC * 1_000, attempt: 1, throttles: 0,
    traceId: '', logTail: false, payload: Buffer.from('{}'),
  };
}
