import { elements, elementText, escapeXml } from './xml.ts';

/** What of a bucket the server shall remove by itself. */
export interface ExpiryRule {
  /** Beginning of the keys that it is about; empty for all. */
  readonly prefix: string;
  /** A whole number of days since an object was last written, at least 1. */
  readonly afterDays: number;
}

/** Begins the ids of our rules; others are the operator's and stay as they are. */
const OWN_ID = 'sluice-';

/**
 * A bucket's lifecycle (Amazon S3 API reference, "PutBucketLifecycleConfiguration") with our rules in place of our former ones; undefined
 * where `current` has just these already.
 */
export function withExpiry(current: string | undefined, rules: readonly ExpiryRule[]): string | undefined {
  const existing = current === undefined ? [] : elements(current, 'Rule');
  const isOwn = (rule: string): boolean => elementText(rule, 'ID')?.startsWith(OWN_ID) === true;
  const own = rules.map(({ prefix, afterDays }) => ({ id: `${OWN_ID}${prefix === '' ? 'all' : prefix.replaceAll(/[^A-Za-z0-9]+/g, '-').replace(/-$/, '')}-expire`, prefix, afterDays }));
  const isThere = ({ id, prefix, afterDays }: (typeof own)[number]): boolean =>
    existing.some((rule) => elementText(rule, 'ID') === id && elementText(rule, 'Status') === 'Enabled' && (elementText(rule, 'Prefix') ?? '') === prefix && elementText(rule, 'Days') === String(afterDays));
  if (own.every(isThere) && existing.filter(isOwn).length === own.length) return undefined;
  const foreign = existing.filter((rule) => !isOwn(rule)).map((rule) => `<Rule>${rule}</Rule>`);
  const ours = own.map(({ id, prefix, afterDays }) => `<Rule><ID>${escapeXml(id)}</ID><Status>Enabled</Status><Filter><Prefix>${escapeXml(prefix)}</Prefix></Filter><Expiration><Days>${afterDays}</Days></Expiration></Rule>`);
  return `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${[...foreign, ...ours].join('')}</LifecycleConfiguration>`;
}
