import type { FunctionCatalogue } from '../platform/functions/function-catalogue.ts';
import type { InvocationHead } from '../platform/invocation-log/invocation-log.ts';
import type { FunctionRecord } from '../platform/model/function.ts';
import type { Target } from './scheduler/messages.ts';

/** Names a version of one incarnation of a function: what an invocation or an environment is of. */
type Wanted = Pick<InvocationHead, 'account' | 'functionName' | 'functionUid' | 'version'>;

/** What an invocation is to run on, from memory; undefined where the registry has to be asked. */
export function knownTarget(catalogue: FunctionCatalogue, head: Wanted): Target | undefined {
  const record = catalogue.peek(head.account, head.functionName);
  return record?.uid === head.functionUid ? targetOf(record, catalogue, head.version) : undefined;
}

/**
 * What an invocation is to run on, from the registry; undefined when the function's incarnation or its version does not exist any more.
 * Nothing is called gone on the word of a view, which may be older than the invocation.
 */
export async function findTarget(catalogue: FunctionCatalogue, head: Wanted): Promise<Target | undefined> {
  const viewed = await catalogue.view(head.account, head.functionName);
  const record = viewed?.uid === head.functionUid ? viewed : await catalogue.get(head.account, head.functionName);
  if (record === undefined || record.uid !== head.functionUid) return undefined;
  const spec = await catalogue.viewSpec(record, head.version);
  // The function may have changed in between; the newest that is known counts.
  return knownTarget(catalogue, head) ?? (spec === undefined ? undefined : { spec, reservedConcurrency: record.reservedConcurrency });
}

function targetOf(record: FunctionRecord, catalogue: FunctionCatalogue, version: string): Target | undefined {
  const spec = catalogue.peekSpec(record, version);
  return spec === undefined ? undefined : { spec, reservedConcurrency: record.reservedConcurrency };
}
