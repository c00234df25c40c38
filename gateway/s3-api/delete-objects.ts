import type { ServerResponse } from 'node:http';
import { S3Error } from './errors.ts';
import { requireBucket } from './objects.ts';
import { readDocument } from './read-document.ts';
import { checkKey, sendXml, type S3Context, type S3Request } from './request.ts';
import type { XmlElement } from './xml-reader.ts';
import { group, leaf, xmlDocument } from './xml-writer.ts';

/** S3 API reference, "DeleteObjects". */
const MAX_KEYS = 1_000;
/** A thousand keys of 1,024 bytes with their elements, twice. */
const MAX_REQUEST_BYTES = 2 * 1024 * 1024;
/** Objects deleted side by side. */
const PARALLEL_DELETES = 16;

export async function deleteObjects({ store, logger }: S3Context, { bucket, incoming, id }: S3Request, response: ServerResponse): Promise<void> {
  const document = await readDocument(incoming, MAX_REQUEST_BYTES);
  const { keys, isQuiet } = parse(document);
  await requireBucket(store, bucket);
  const results: string[] = [];
  const deleteOne = async ({ key, version }: Target): Promise<string | undefined> => {
    try {
      checkKey(key);
      if (version !== undefined && version !== 'null') throw new S3Error('InvalidArgument', { message: 'Invalid version id specified' });
      await store.delete({ bucket, key });
      return isQuiet ? undefined : group('Deleted', [leaf('Key', key)]);
    } catch (error) {
      if (!(error instanceof S3Error)) logger.error({ err: error, requestId: id }, 'an object could not be deleted');
      const known = error instanceof S3Error ? error : new S3Error('InternalError');
      return group('Error', [leaf('Key', key), leaf('Code', known.code), leaf('Message', known.message)]);
    }
  };
  for (let start = 0; start < keys.length; start += PARALLEL_DELETES) {
    const done = await Promise.all(keys.slice(start, start + PARALLEL_DELETES).map(deleteOne));
    results.push(...done.filter((each) => each !== undefined));
  }
  sendXml(response, xmlDocument('DeleteResult', results));
}

interface Target {
  readonly key: string;
  readonly version: string | undefined;
}

function parse(document: XmlElement | undefined): { readonly keys: readonly Target[]; readonly isQuiet: boolean } {
  const objects = document?.children.filter(({ name }) => name === 'Object') ?? [];
  if (document?.name !== 'Delete' || objects.length === 0 || objects.length > MAX_KEYS) throw new S3Error('MalformedXML');
  const textOf = (element: XmlElement, name: string): string | undefined => element.children.find((child) => child.name === name)?.text;
  const keys = objects.map((object) => {
    const key = textOf(object, 'Key');
    if (key === undefined || key === '') throw new S3Error('MalformedXML');
    return { key, version: textOf(object, 'VersionId') };
  });
  return { keys, isQuiet: textOf(document, 'Quiet')?.trim() === 'true' };
}
