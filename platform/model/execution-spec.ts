import type { FunctionRecord, FunctionVersion, VersionConfiguration } from './function.ts';

/** What an environment is built from: one revision of one version of one function. */
export interface ExecutionSpec {
  /** Names this revision among all: `account/name/uid/version/revisionId`. Two specs are interchangeable exactly if their ids are equal. */
  readonly id: string;
  readonly account: string;
  readonly functionName: string;
  /** {@link FunctionRecord.uid}. */
  readonly functionUid: string;
  /** `$LATEST` or a number. */
  readonly version: string;
  /** ARN with the version as qualifier. */
  readonly versionArn: string;
  readonly configuration: VersionConfiguration;
}

/** Names a function across accounts: `account/name`. The partition key of its invocations. */
export type FunctionKey = string;

export function functionKey(account: string, functionName: string): FunctionKey {
  return `${account}/${functionName}`;
}

/**
 * Names what a dedicated worker is dedicated to: a function's incarnation (one that was deleted and made again under its name is another), as `account/name/uid`, and where it is in
 * security groups those too: `account/name/uid/sg-…,sg-…`. What one revision may reach is so never open to another, which may not.
 */
export function functionIdOf(spec: ExecutionSpec): string {
  const groups = securityGroupsOf(spec);
  return `${functionKey(spec.account, spec.functionName)}/${spec.functionUid}${groups.length === 0 ? '' : `/${groups.join(',')}`}`;
}

/** Each once, and in the same order however they were given. */
export function securityGroupsOf({ configuration }: Pick<ExecutionSpec, 'configuration'>): readonly string[] {
  return [...new Set(configuration.vpc?.securityGroupIds)].sort();
}

export function executionSpec(record: FunctionRecord, version: FunctionVersion, region: string): ExecutionSpec {
  return {
    id: `${record.account}/${record.name}/${record.uid}/${version.version}/${version.revisionId}`,
    account: record.account,
    functionName: record.name,
    functionUid: record.uid,
    version: version.version,
    versionArn: `arn:aws:lambda:${region}:${record.account}:function:${record.name}:${version.version}`,
    configuration: version.configuration,
  };
}
