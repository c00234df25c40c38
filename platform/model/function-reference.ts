/** A function as a caller wrote it, taken apart. What the caller left out is undefined. */
export interface FunctionReference {
  readonly name: string;
  /** A version, `$LATEST`, or an alias. */
  readonly qualifier: string | undefined;
  readonly account: string | undefined;
  readonly region: string | undefined;
}

/** Where the functions of this gateway live. */
export interface Home {
  readonly account: string;
  readonly region: string;
}

/** What a reference means at a gateway that serves one account in one region. */
export type Resolution =
  | { readonly kind: 'here'; readonly name: string; readonly qualifier: string | undefined }
  | { readonly kind: 'malformed' }
  /** The reference carries a qualifier, and the caller specified another one beside it. */
  | { readonly kind: 'qualifierMismatch' }
  | { readonly kind: 'otherAccount'; readonly account: string; readonly name: string }
  | { readonly kind: 'otherRegion'; readonly region: string };

/** Lambda API reference, "Invoke", FunctionName: 256 characters including a namespace; a longer text is no reference. */
const MAX_REFERENCE_CHARS = 256;

/**
 * The forms of Lambda's API reference: `name`, `name:qualifier`, `account:function:name[:qualifier]` and the full ARN. Each part is
 * delimited by characters that the next cannot begin with, so matching takes linear time.
 */
const REFERENCE =
  /^(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?(?:(?<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?<account>\d{12}):)?(?:function:)?(?<name>[a-zA-Z0-9-_.]+)(?::(?<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?$/;

/** Takes a reference apart; undefined where it has none of Lambda's forms. */
export function parseFunctionReference(text: string): FunctionReference | undefined {
  if (text.length > MAX_REFERENCE_CHARS) return undefined;
  const groups = REFERENCE.exec(text)?.groups;
  if (groups?.['name'] === undefined) return undefined;
  return { name: groups['name'], qualifier: groups['qualifier'], account: groups['account'], region: groups['region'] };
}

/**
 * Resolves a reference together with a `Qualifier` that was specified beside it; the two must agree where both are given
 * (Lambda answers "The derived qualifier from the function name does not match the specified qualifier.").
 */
export function resolveFunctionReference(text: string, specifiedQualifier: string | undefined, home: Home): Resolution {
  const reference = parseFunctionReference(text);
  if (reference === undefined) return { kind: 'malformed' };
  if (reference.region !== undefined && reference.region !== home.region) return { kind: 'otherRegion', region: reference.region };
  if (reference.account !== undefined && reference.account !== home.account) {
    return { kind: 'otherAccount', account: reference.account, name: reference.name };
  }
  if (reference.qualifier !== undefined && specifiedQualifier !== undefined && reference.qualifier !== specifiedQualifier) {
    return { kind: 'qualifierMismatch' };
  }
  return { kind: 'here', name: reference.name, qualifier: reference.qualifier ?? specifiedQualifier };
}

/** `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, with `:QUALIFIER` where one is given. */
export function functionArn(home: Home, name: string, qualifier?: string): string {
  const arn = `arn:aws:lambda:${home.region}:${home.account}:function:${name}`;
  return qualifier === undefined ? arn : `${arn}:${qualifier}`;
}
