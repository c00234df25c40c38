import { randomUUID } from 'node:crypto';
import type { FunctionCatalogue } from '../../../platform/functions/function-catalogue.ts';
import type { FunctionRecord, FunctionVersion, VersionConfiguration } from '../../../platform/model/function.ts';
import { LambdaApiError } from '../errors.ts';
import { MAX_PUBLISHED_VERSIONS } from '../limits.ts';

export interface Publication {
  /** To be stored; the same record where nothing is to be published. */
  readonly record: FunctionRecord;
  readonly version: FunctionVersion;
}

/**
 * Makes a version of `$LATEST` as it is in `record`, unless the last version is the same already: "Lambda doesn't publish a version if
 * the function's configuration and code haven't changed since the last version" (PublishVersion API). The body is stored; the version
 * exists once the caller has stored the returned record.
 */
export async function publish(record: FunctionRecord, description: string | undefined, catalogue: FunctionCatalogue): Promise<Publication> {
  const last = record.publishedVersions.at(-1);
  const previous = last && (await catalogue.getVersion(record, last.version));
  if (previous !== undefined && isUnchanged(record.latest, previous)) return { record, version: previous };
  if (record.publishedVersions.length >= MAX_PUBLISHED_VERSIONS) {
    throw new LambdaApiError('CodeStorageExceededException', `The function ${record.name} has ${MAX_PUBLISHED_VERSIONS} versions, which is the limit. Delete versions that are not needed any more.`);
  }
  const { configuration, lastModifiedMs } = record.latest;
  const version: FunctionVersion = {
    version: String(record.nextVersion),
    configuration: { ...configuration, description: description ?? configuration.description },
    revisionId: randomUUID(),
    lastModifiedMs,
    // Its package is that of $LATEST, and a version never changes.
    state: 'Active',
    lastUpdateStatus: 'Successful',
  };
  await catalogue.putVersionBody(record, version);
  const publishedVersions = [...record.publishedVersions, { version: version.version, revisionId: version.revisionId }];
  return { record: { ...record, publishedVersions, nextVersion: record.nextVersion + 1 }, version };
}

/** A version may have been given a description of its own; then it counts as unchanged as long as `$LATEST` was not touched. */
function isUnchanged(latest: FunctionVersion, previous: FunctionVersion): boolean {
  if (!sameBesidesDescription(latest.configuration, previous.configuration)) return false;
  return latest.configuration.description === previous.configuration.description || latest.lastModifiedMs === previous.lastModifiedMs;
}

function sameBesidesDescription(a: VersionConfiguration, b: VersionConfiguration): boolean {
  return canonical({ ...a, description: '' }) === canonical({ ...b, description: '' });
}

/** JSON with members in order of their names, without those that are undefined. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner);
}
