import fc from 'fast-check';

/** Any objects with these members, as JSON makes objects; where `required` is given, the other members may be missing. */
export function members<T>(model: { [Member in keyof T]: fc.Arbitrary<T[Member]> }, required?: (keyof T)[]): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true, ...(required === undefined ? {} : { requiredKeys: required }) });
}
