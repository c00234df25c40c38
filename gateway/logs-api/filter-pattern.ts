import { invalidParameter } from './errors.ts';

/** CloudWatch Logs API reference, "FilterLogEvents". */
export const MAX_PATTERN_LENGTH = 1_024;

/** Beginnings of the syntaxes that Sluice does not read (CloudWatch Logs user guide, "Filter pattern syntax"). */
const UNREAD_SYNTAX: Readonly<Record<string, string>> = {
  '{': 'JSON patterns ({ … })',
  '[': 'space-delimited patterns ([ … ])',
  '?': 'optional terms (?term)',
  '-': 'excluded terms (-term)',
  '%': 'regular expressions (%…%)',
};

/**
 * The terms that an event must contain, all of them, case by case; none for a pattern that every event matches. Throws
 * `InvalidParameterException` for a pattern that CloudWatch Logs would refuse and for a syntax that Sluice does not read.
 */
export function parseFilterPattern(pattern: string): readonly string[] {
  const terms: string[] = [];
  const token = /\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))/y;
  const end = pattern.trimEnd().length;
  while (token.lastIndex < end) {
    const match = token.exec(pattern);
    if (match === null) throw invalidParameter('Invalid filter pattern: a double quote is not closed.');
    const [, quoted, bare] = match;
    if (bare !== undefined) checkBareTerm(bare);
    const term = bare ?? (quoted ?? '').replaceAll(/\\(.)/g, '$1');
    if (term !== '') terms.push(term);
  }
  return terms;
}

function checkBareTerm(term: string): void {
  const unread = UNREAD_SYNTAX[term.charAt(0)];
  if (unread !== undefined) throw invalidParameter(`Sluice does not support ${unread} in filter patterns; give terms, those with other characters than letters, digits and underscores in double quotes.`);
  if (!/^[\p{L}\p{N}_]+$/u.test(term)) throw invalidParameter(`Invalid character(s) in term '${term}'`);
}
