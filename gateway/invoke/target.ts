import { findAlias, type FunctionAlias, type FunctionRecord } from '../../platform/model/function.ts';

/**
 * Which version a qualifier means: itself, or what its alias points at. An alias with a second version picks it with the probability
 * of its weight, anew for each invocation (Lambda guide, "Implement Lambda canary deployments using a weighted alias").
 * Undefined: there is no such version or alias.
 */
export function targetVersion(record: FunctionRecord, qualifier: string | undefined, random: () => number): string | undefined {
  if (qualifier === undefined || qualifier === '$LATEST') return '$LATEST';
  if (/^\d+$/.test(qualifier)) {
    return record.publishedVersions.some(({ version }) => version === qualifier) ? qualifier : undefined;
  }
  const alias = findAlias(record, qualifier);
  return alias && pickVersion(alias, random);
}

function pickVersion(alias: FunctionAlias, random: () => number): string {
  for (const [version, weight] of Object.entries(alias.additionalVersionWeights)) {
    if (random() < weight) return version;
  }
  return alias.functionVersion;
}
