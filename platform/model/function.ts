/**
 * The function model: what the registry keeps and what every role speaks about.
 *
 * Terminology (one word for one thing, everywhere):
 * - *function*: a name in an account that owns code, configuration, versions and aliases.
 * - *version*: `$LATEST`, which changes, or a published number, which never does.
 * - *alias*: a name that points at one version, or splits by weight between two.
 * - *qualifier*: what a caller writes after the function name: a version or an alias.
 * - *revision*: one state of a version's code and configuration; `$LATEST` gets a new one with every update.
 * - *execution environment* (short: environment): one runtime process that holds one revision and runs one invocation at a time.
 * - *worker*: the process that hosts environments.
 * - *invocation*: one request to run a function, from acceptance to its last attempt.
 */

/** A version's code: immutable bytes addressed by their hash. */
export interface CodeReference {
  /** SHA-256 of the deployment package, base64: the API's `CodeSha256`. */
  readonly sha256: string;
  /** Size of the deployment package in bytes: the API's `CodeSize`. */
  readonly sizeBytes: number;
  /** Key of the package in the object store's bucket {@link CODE_BUCKET}. */
  readonly objectKey: string;
}

/** A container image that brings a version's code and runtime (Lambda guide, "Create a Lambda function using a container image"). */
export interface ContainerImage {
  /** As a registry knows it: `registry/repository:tag` or `…@sha256:…`. */
  readonly uri: string;
  /** What takes the place of the image's own; each undefined: the image's. */
  readonly entryPoint?: readonly string[];
  readonly command?: readonly string[];
  readonly workingDirectory?: string;
}

/** The object store's bucket that holds deployment packages; not reachable through the S3 API. */
export const CODE_BUCKET = 'sluice-code';

/** Everything about a version that decides how its environments are built. */
export interface VersionConfiguration {
  /** There exactly where PackageType is Image: `runtime` and `handler` are empty then, and `code` is the hash alone. */
  readonly image?: ContainerImage;
  readonly runtime: string;
  /** `file.export`, as the runtime reads it. */
  readonly handler: string;
  /** ARN of the execution role. */
  readonly role: string;
  readonly description: string;
  /** 1 to 900. */
  readonly timeoutSec: number;
  /** 128 to 10,240. The API calls it MemorySize and counts in "MB", meaning MiB. */
  readonly memoryMiB: number;
  /** Size of /tmp: 512 to 10,240. */
  readonly ephemeralStorageMiB: number;
  /** The function owner's variables; undefined where none were ever set. */
  readonly environment: Readonly<Record<string, string>> | undefined;
  readonly architecture: 'x86_64' | 'arm64';
  readonly tracingMode: 'PassThrough' | 'Active';
  readonly logGroup: string;
  /** Undefined where none was ever given; with empty lists where it was taken away again. */
  readonly vpc?: VpcSettings;
  readonly code: CodeReference;
}

/** Which networks a version's environments are in (Lambda guide, "Giving Lambda functions access to resources in an Amazon VPC"). Both lists are empty, or neither is. */
export interface VpcSettings {
  /** Kept and shown: there is one network. */
  readonly subnetIds: readonly string[];
  /** What decides what an environment may reach, where the platform can: pods of Kubernetes. */
  readonly securityGroupIds: readonly string[];
  readonly ipv6AllowedForDualStack: boolean;
}

/** Lambda guide, "Lambda function states". */
export type FunctionState = 'Pending' | 'Active' | 'Inactive' | 'Failed';
export type LastUpdateStatus = 'Successful' | 'InProgress' | 'Failed';

/** One version as stored. Published versions differ from `$LATEST` only in that `configuration` never changes again. */
export interface FunctionVersion {
  /** `$LATEST` or a decimal number from 1. */
  readonly version: string;
  readonly configuration: VersionConfiguration;
  /** UUID, new with every change of this version: the API's `RevisionId` ({@link shownRevision}). */
  readonly revisionId: string;
  /** Milliseconds since the epoch of the last change. */
  readonly lastModifiedMs: number;
  readonly state: FunctionState;
  readonly stateReason?: string;
  readonly stateReasonCode?: string;
  readonly lastUpdateStatus: LastUpdateStatus;
  readonly lastUpdateStatusReason?: string;
  readonly lastUpdateStatusReasonCode?: string;
}

export interface FunctionAlias {
  readonly name: string;
  readonly functionVersion: string;
  readonly description: string;
  /** At most one entry: a second version and the share of invocations (0 to 1) that it gets. */
  readonly additionalVersionWeights: Readonly<Record<string, number>>;
  readonly revisionId: string;
}

/** Where a published version's body lies: published versions are registry entries of their own, named by their revision. */
export interface PublishedVersion {
  readonly version: string;
  readonly revisionId: string;
}

/** What becomes of a qualifier's asynchronous invocations (Lambda guide, "Configuring error handling settings for Lambda asynchronous invocations"). What is undefined is Lambda's default. */
export interface EventInvokeConfig {
  /** 0 to 2. */
  readonly maximumRetryAttempts?: number;
  /** 60 to 21,600. */
  readonly maximumEventAgeSec?: number;
  readonly lastModifiedMs: number;
}

/** Who may call a function by a resource-based policy (Lambda guide, "Working with resource-based IAM policies in Lambda"). */
export interface ResourcePolicy {
  /** In the order in which they were added. None are left where the last was taken away. */
  readonly statements: readonly PolicyStatement[];
  /**
   * A change of a policy is a change of its version as far as the API shows: `shown` is its `RevisionId` then, as long as its own revision is `of`, by which its environments are known and which
   * such a change leaves alone. Undefined for aliases, which run nothing.
   */
  readonly revision?: { readonly of: string; readonly shown: string };
}

/** As the API shows it: an element of an IAM policy document. */
export interface PolicyStatement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Principal: '*' | { readonly Service: string } | { readonly AWS: string };
  readonly Action: string;
  readonly Resource: string;
  /** By operator and condition key. */
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/**
 * One function as the registry stores it. Every change of a function is one compare-and-swap of this document; a published version
 * exists exactly if it is named in `publishedVersions`, so a publish that fails half-way leaves nothing to be seen.
 */
export interface FunctionRecord {
  readonly account: string;
  readonly name: string;
  /** UUID of this incarnation: a function deleted and created again under its name has another. */
  readonly uid: string;
  readonly latest: FunctionVersion;
  /** Oldest first. Deleting a version removes its entry. */
  readonly publishedVersions: readonly PublishedVersion[];
  /** The number that the next published version gets; numbers are never used twice. */
  readonly nextVersion: number;
  readonly aliases: readonly FunctionAlias[];
  readonly tags: Readonly<Record<string, string>>;
  /** Resource-based policies, by what they are of: a version's number, an alias's name, or `$LATEST` for the function as it is called without a qualifier. */
  readonly policies?: Readonly<Record<string, ResourcePolicy>>;
  /** By the qualifier with which a caller invokes; `$LATEST` also for none. */
  readonly eventInvokeConfigs?: Readonly<Record<string, EventInvokeConfig>>;
  /** Reserved concurrency; undefined: takes from the account's unreserved pool. */
  readonly reservedConcurrency?: number;
}

/** What belonged to a version or alias goes with it. */
export function withoutQualifier(record: FunctionRecord, qualifier: string): FunctionRecord {
  const { policies, eventInvokeConfigs } = record;
  return {
    ...record,
    ...(policies !== undefined && { policies: withoutKey(policies, qualifier) }),
    ...(eventInvokeConfigs !== undefined && { eventInvokeConfigs: withoutKey(eventInvokeConfigs, qualifier) }),
  };
}

export function withoutKey<Value>(entries: Readonly<Record<string, Value>>, key: string): Readonly<Record<string, Value>> {
  const { [key]: _, ...others } = entries;
  return others;
}

/** An entry by version or alias, whose names may be those of members that every object has. */
export function entryOf<Value>(entries: Readonly<Record<string, Value>> | undefined, qualifier: string): Value | undefined {
  return entries !== undefined && Object.hasOwn(entries, qualifier) ? entries[qualifier] : undefined;
}

/** `$LATEST` or a published version by its number; undefined: there is none. */
export function findVersion({ latest, publishedVersions }: FunctionRecord, version: string): Pick<FunctionVersion, 'version' | 'revisionId'> | undefined {
  return version === '$LATEST' ? latest : publishedVersions.find((published) => published.version === version);
}

/** The `RevisionId` of a version as the API shows it. */
export function shownRevision({ policies }: FunctionRecord, { version, revisionId }: Pick<FunctionVersion, 'version' | 'revisionId'>): string {
  const changed = policies?.[version]?.revision;
  return changed?.of === revisionId ? changed.shown : revisionId;
}

export function findAlias(record: FunctionRecord, name: string): FunctionAlias | undefined {
  return record.aliases.find((alias) => alias.name === name);
}
