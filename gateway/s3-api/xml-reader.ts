export interface XmlElement {
  /** Without a namespace's prefix. */
  readonly name: string;
  /** Its own text, references resolved. */
  readonly text: string;
  readonly children: readonly XmlElement[];
}

/** The text is not XML, or uses what no S3 client sends: document types, deep nesting, thousands of elements beyond the limit. */
export class XmlSyntaxError extends Error {
  override readonly name = 'XmlSyntaxError';
}

/** The deepest of the documents read here has three levels. */
const MAX_DEPTH = 8;
/** DeleteObjects names 1,000 keys with up to six elements each. */
const MAX_ELEMENTS = 10_000;

const TOKEN = /<!--[^]*?-->|<\?[^]*?\?>|<!\[CDATA\[([^]*?)\]\]>|<\/([^\s<>/]+)\s*>|<([^\s<>/!?]+)((?:\s+[^\s<>/=]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y;

const REFERENCES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

interface OpenElement {
  readonly tag: string;
  text: string;
  readonly children: XmlElement[];
}

/** Reads a small XML document; attributes are dropped. Throws {@link XmlSyntaxError}. Time is linear in the length of the text. */
export function readXml(text: string): XmlElement {
  const open: OpenElement[] = [{ tag: '', text: '', children: [] }];
  let elements = 0;
  TOKEN.lastIndex = text.startsWith('\ufeff') ? 1 : 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw new XmlSyntaxError(`There is no XML at character ${at}.`);
    const [, cdata, closing, opening, , selfClosing, characters] = match;
    const inner = open.at(-1);
    if (inner === undefined) throw new XmlSyntaxError('The document has more ends than beginnings.');
    if (cdata !== undefined) inner.text += cdata;
    else if (characters !== undefined) inner.text += resolveReferences(characters);
    else if (opening !== undefined) {
      elements += 1;
      if (elements > MAX_ELEMENTS || open.length > MAX_DEPTH) throw new XmlSyntaxError(`The document has more than ${MAX_ELEMENTS} elements or ${MAX_DEPTH} levels.`);
      if (selfClosing === '/') inner.children.push({ name: localName(opening), text: '', children: [] });
      else open.push({ tag: opening, text: '', children: [] });
    } else if (closing !== undefined) {
      const outer = open.at(-2);
      if (inner.tag !== closing || outer === undefined) throw new XmlSyntaxError(`</${closing}> ends nothing that began before it.`);
      outer.children.push({ name: localName(inner.tag), text: inner.text, children: inner.children });
      open.pop();
    }
  }
  const [document] = open;
  const root = document?.children[0];
  if (open.length !== 1 || root === undefined || document?.children.length !== 1 || document.text.trim() !== '') throw new XmlSyntaxError('The document does not have just one root.');
  return root;
}

function localName(tag: string): string {
  return tag.slice(tag.indexOf(':') + 1);
}

function resolveReferences(text: string): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(/&([^;&]*);?/g, (reference: string, name: string) => {
    const code = /^#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}))$/.exec(name);
    const point = code === null ? undefined : code[1] !== undefined ? Number(code[1]) : Number.parseInt(code[2] ?? '', 16);
    const resolved = point !== undefined && point <= 0x10ffff ? String.fromCodePoint(point) : REFERENCES[name];
    if (!reference.endsWith(';') || resolved === undefined) throw new XmlSyntaxError(`${reference.slice(0, 32)} is no reference.`);
    return resolved;
  });
}
