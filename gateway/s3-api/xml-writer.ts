export const XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

/** An element with text. */
export function leaf(name: string, value: string | number | boolean): string {
  return `<${name}>${escape(String(value))}</${name}>`;
}

/** An element with elements, which are rendered already. */
export function group(name: string, children: readonly string[]): string {
  return `<${name}>${children.join('')}</${name}>`;
}

/** A whole answer. */
export function xmlDocument(name: string, children: readonly string[]): string {
  return `${XML_DECLARATION}<${name} xmlns="${NAMESPACE}">${children.join('')}</${name}>`;
}

/** The form of times in S3's XML: whole seconds. */
export function xmlTime(ms: number): string {
  return new Date(Math.floor(ms / 1_000) * 1_000).toISOString();
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Control characters become references as in S3's answers, though XML 1.0 has none for most: `encoding-type=url` is for keys with them. */
function escape(text: string): string {
  return text.replaceAll(/[&<>"\p{Cc}]/gu, (character) => ENTITIES[character] ?? (character === '\n' || character === '\t' ? character : `&#x${character.charCodeAt(0).toString(16)};`));
}
