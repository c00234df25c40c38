import { createHash } from 'node:crypto';
import type { ImageConfig } from '@aws-sdk/client-lambda';
import type { CodeReference, ContainerImage } from '../../platform/model/function.ts';
import type { CodeSource } from './deployment-package.ts';
import { invalidParameter } from './errors.ts';

/**
 * A reference with a tag or a digest (OCI distribution specification, "Pulling manifests"; Docker's reference grammar): `host:port/path/name:tag@sha256:…`. Without
 * either it would mean whatever is newest, which Lambda does not take.
 */
const REFERENCE = /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d{1,5})?\/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+|\/)[a-z0-9]+)*(?::[\w][\w.-]{0,127}(?:@sha256:(?<both>[0-9a-f]{64}))?|@sha256:(?<digest>[0-9a-f]{64}))$/;
const MAX_REFERENCE_CHARS = 1_024;

/** Throws `LambdaApiError` where the source names no image, or more than one. */
export function imageSource(source: CodeSource, verb: 'creating' | 'updating'): Pick<ContainerImage, 'uri'> {
  if (source.ImageUri === undefined) throw invalidParameter(`Please provide ImageUri when ${verb} a function with packageType Image.`);
  if (source.ZipFile !== undefined || source.S3Bucket !== undefined || source.S3Key !== undefined || source.S3ObjectVersion !== undefined) {
    throw invalidParameter('Please do not provide other FunctionCode parameters when providing an ImageUri.');
  }
  const uri = source.ImageUri;
  if (uri.length > MAX_REFERENCE_CHARS || !REFERENCE.test(uri)) throw invalidParameter(`Source image ${uri.slice(0, 200)} is not valid. Provide a valid source image.`);
  return { uri };
}

/** What the API shows as CodeSha256: the image's digest where its reference names one, otherwise the hash of the reference. */
export function imageCode({ uri }: Pick<ContainerImage, 'uri'>): CodeReference {
  const { both, digest } = REFERENCE.exec(uri)?.groups ?? {};
  return { sha256: both ?? digest ?? createHash('sha256').update(uri).digest('hex'), sizeBytes: 0, objectKey: '' };
}

/** The image with those parts of its configuration that are given in place of its own. Lists that are empty give that part back to the image. */
export function withImageConfig({ uri }: Pick<ContainerImage, 'uri'>, config: ImageConfig): ContainerImage {
  for (const [name, list] of [['EntryPoint', config.EntryPoint], ['Command', config.Command]] as const) {
    if (list?.some((argument) => argument.includes('\0')) === true) throw invalidParameter(`ImageConfig.${name} contains a NUL character, which no process can be given.`);
  }
  return {
    uri,
    ...(config.EntryPoint !== undefined && config.EntryPoint.length > 0 && { entryPoint: [...config.EntryPoint] }),
    ...(config.Command !== undefined && config.Command.length > 0 && { command: [...config.Command] }),
    ...(config.WorkingDirectory !== undefined && config.WorkingDirectory !== '' && { workingDirectory: config.WorkingDirectory }),
  };
}

/** As the API shows it; undefined where everything is the image's own. */
export function imageConfig({ entryPoint, command, workingDirectory }: ContainerImage): ImageConfig | undefined {
  if (entryPoint === undefined && command === undefined && workingDirectory === undefined) return undefined;
  return {
    ...(entryPoint !== undefined && { EntryPoint: [...entryPoint] }),
    ...(command !== undefined && { Command: [...command] }),
    ...(workingDirectory !== undefined && { WorkingDirectory: workingDirectory }),
  };
}
