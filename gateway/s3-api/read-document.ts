import type { IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { S3Error } from './errors.ts';
import { header } from './request.ts';
import { openUpload } from './upload.ts';
import { XmlSyntaxError, readXml, type XmlElement } from './xml-reader.ts';

/** Reads a request's XML, its checksums verified; undefined where there is no body. Throws {@link S3Error}. */
export async function readDocument(incoming: IncomingMessage, limitBytes: number): Promise<XmlElement | undefined> {
  const length = header(incoming, 'x-amz-decoded-content-length') ?? header(incoming, 'content-length') ?? '0';
  if (Number(length) > limitBytes) throw new S3Error('MalformedXML');
  if (length === '0' && incoming.headers['transfer-encoding'] === undefined) return undefined;
  const bytes = await buffer(openUpload(incoming).body);
  if (bytes.length === 0) return undefined;
  try {
    return readXml(bytes.toString());
  } catch (error) {
    throw error instanceof XmlSyntaxError ? new S3Error('MalformedXML') : error;
  }
}
