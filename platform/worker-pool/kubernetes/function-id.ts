import { functionKey, type ExecutionSpec } from '../../model/execution-spec.ts';

/** Names a function's incarnation, for which a pod is: one that was deleted and made again under its name is another. */
export function functionIdOf({ account, functionName, functionUid }: ExecutionSpec): string {
  return `${functionKey(account, functionName)}/${functionUid}`;
}
