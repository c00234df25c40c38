import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { CliError } from '../../errors.ts';
import type { CodeSource, ContainerImage, FunctionPlan, VpcPlan, ZipPackage } from '../plan.ts';
import { isObject, type TemplateObject, type TemplateValue } from './document.ts';

/** CloudFormation sets these where a template says nothing (Lambda API, CreateFunction). */
const DEFAULT_MEMORY_MIB = 128;
const DEFAULT_TIMEOUT_SEC = 3;
const DEFAULT_EPHEMERAL_STORAGE_MIB = 512;

/** Properties that decide how the function is deployed, and of which there is no more to say. */
const ACTED_ON = new Set(['FunctionName', 'Description', 'CodeUri', 'InlineCode', 'Handler', 'Runtime', 'MemorySize', 'Timeout', 'Environment', 'Role', 'Tags', 'Architectures', 'EphemeralStorage', 'Tracing', 'PackageType', 'ImageUri', 'ImageConfig']);
/** What belongs to one type of package only (SAM guide, "AWS::Serverless::Function": CodeUri, Handler, ImageConfig, ImageUri, InlineCode, Layers, Runtime). */
const ZIP_ONLY = ['Runtime', 'Handler', 'CodeUri', 'InlineCode', 'Layers'] as const;
const IMAGE_ONLY = ['ImageUri', 'ImageConfig'] as const;
const IMAGE_CONFIG = ['EntryPoint', 'Command', 'WorkingDirectory'] as const;
/** Globals that are merged with the function's own; all others give way to them (SAM guide, "Globals section of the AWS SAM template"). */
const MERGED_GLOBALS = new Set(['Environment', 'Tags', 'VpcConfig']);

/** The properties of a function with those of `Globals.Function` that it does not give itself. */
export function functionProperties(template: TemplateObject, own: TemplateObject): TemplateObject {
  const globals = isObject(template.Globals) && isObject(template.Globals.Function) ? template.Globals.Function : {};
  const merged: Record<string, TemplateValue> = { ...globals, ...own };
  for (const name of MERGED_GLOBALS) {
    const [global, local] = [globals[name], own[name]];
    if (isObject(global) && isObject(local)) merged[name] = mergeMaps(global, local);
  }
  return merged;
}

function mergeMaps(below: TemplateObject, above: TemplateObject): TemplateObject {
  const merged: Record<string, TemplateValue> = { ...below };
  for (const [name, value] of Object.entries(above)) {
    const under = below[name];
    // "Lists are additive", those of Globals first.
    if (Array.isArray(under) && Array.isArray(value)) merged[name] = [...(under as readonly TemplateValue[]), ...(value as readonly TemplateValue[])];
    else merged[name] = name === 'Variables' && isObject(under) && isObject(value) ? { ...under, ...value } : value;
  }
  return merged;
}

export interface FunctionResource {
  readonly logicalId: string;
  readonly name: string;
  readonly file: string;
  /** What relative paths in the template begin at. */
  readonly folder: string;
  /** With all references resolved. */
  readonly properties: TemplateObject;
}

/** A function of the template as a plan, with a note for each property that the deployment leaves out. */
export function functionPlan(resource: FunctionResource): { plan: FunctionPlan; notes: string[] } {
  const read = reader(resource);
  const tracing = read.text('Tracing') ?? 'PassThrough';
  const plan: FunctionPlan = {
    name: resource.name,
    ...packagePlan(resource, read),
    role: read.text('Role'),
    description: read.text('Description') ?? '',
    memoryMiB: read.number('MemorySize') ?? DEFAULT_MEMORY_MIB,
    timeoutSec: read.number('Timeout') ?? DEFAULT_TIMEOUT_SEC,
    ephemeralStorageMiB: read.number('EphemeralStorage', 'Size') ?? DEFAULT_EPHEMERAL_STORAGE_MIB,
    environment: read.texts('Environment', 'Variables') ?? {},
    tracingMode: tracing === 'Active' ? 'Active' : 'PassThrough',
    architecture: read.architecture(),
    vpc: vpcPlan(read),
    tags: read.texts('Tags') ?? {},
  };
  return { plan, notes: notesOn(resource) };
}

function packagePlan(resource: FunctionResource, read: PropertyReader): ZipPackage | ContainerImage {
  const { file, logicalId, properties } = resource;
  const type = properties.PackageType ?? 'Zip';
  const given = (names: readonly string[]): string => names.filter((name) => (properties[name] ?? null) !== null).join(', ');
  if (type === 'Zip') {
    const misplaced = given(IMAGE_ONLY);
    if (misplaced !== '') throw new CliError(`${file}: ${logicalId}: ${misplaced} cannot be given where PackageType is Zip${properties.PackageType === undefined ? ', as it is by default' : ''}; a function that is a container image needs PackageType: Image.`);
    const runtime = read.required('Runtime');
    return { packageType: type, runtime, handler: read.required('Handler'), code: codeSource(resource, runtime) };
  }
  if (type !== 'Image') throw new CliError(`${file}: ${logicalId}.PackageType must be Zip or Image, not ${JSON.stringify(type)}.`);
  const misplaced = given(ZIP_ONLY);
  if (misplaced !== '') throw new CliError(`${file}: ${logicalId}: ${misplaced} cannot be given where PackageType is Image, neither there nor in Globals.Function; what the image runs is its own, or ImageConfig.Command.`);
  const imageUri = read.text('ImageUri') ?? '';
  if (imageUri === '') throw new CliError(`${file}: ${logicalId} has no ImageUri, which PackageType Image needs: registry/name:tag or registry/name@sha256:… of an image that nodes can pull. Sluice builds none from Metadata; "sam build" and "docker push" do.`);
  return { packageType: type, imageUri, imageConfig: imageConfigPlan(resource, read) };
}

/** Closed: a misspelt member would leave the function to start what the image starts. */
function imageConfigPlan({ file, logicalId, properties }: FunctionResource, read: PropertyReader): ContainerImage['imageConfig'] {
  const config = properties.ImageConfig ?? {};
  const known: readonly string[] = IMAGE_CONFIG;
  if (!isObject(config) || Object.keys(config).some((name) => !known.includes(name))) throw new CliError(`${file}: ${logicalId}.ImageConfig must be a map with ${known.join(', ')}, not ${JSON.stringify(config)}.`);
  const filled = (list: readonly string[] | undefined): readonly string[] | undefined => (list?.length === 0 ? undefined : list);
  return {
    entryPoint: filled(read.words('ImageConfig', 'EntryPoint')),
    command: filled(read.words('ImageConfig', 'Command')),
    workingDirectory: read.text('ImageConfig', 'WorkingDirectory') || undefined,
  };
}

function notesOn({ logicalId, properties }: FunctionResource): string[] {
  return Object.entries(properties).flatMap(([name, value]) => {
    if (ACTED_ON.has(name)) return [];
    if (name === 'VpcConfig') return [`${logicalId}: VpcConfig decides what the function may reach where functions run in pods of Kubernetes; anywhere else it is kept and shown only`];
    if (name === 'Events' && isObject(value)) return Object.entries(value).map(([event, source]) => `${logicalId}: the event ${event} (${isObject(source) && typeof source.Type === 'string' ? source.Type : 'without a Type'}) is read, but does not trigger the function`);
    if (name === 'Policies') return [`${logicalId}: Policies are read, but not enforced`];
    return [`${logicalId}: the property ${name} is not acted on`];
  });
}

/** A template that says nothing of a VPC takes the function out of the one that it was in. */
function vpcPlan(read: PropertyReader): VpcPlan {
  return {
    subnetIds: read.list('VpcConfig', 'SubnetIds') ?? [],
    securityGroupIds: read.list('VpcConfig', 'SecurityGroupIds') ?? [],
    ipv6AllowedForDualStack: read.flag('VpcConfig', 'Ipv6AllowedForDualStack') ?? false,
  };
}

function codeSource({ logicalId, file, folder, properties }: FunctionResource, runtime: string): CodeSource {
  const { CodeUri: uri, InlineCode: inline } = properties;
  if (typeof inline === 'string') return { kind: 'inline', fileName: runtime.startsWith('python') ? 'index.py' : 'index.js', text: inline };
  if (isObject(uri)) {
    if (typeof uri.Bucket === 'string' && typeof uri.Key === 'string') return { kind: 'object', bucket: uri.Bucket, key: uri.Key };
    throw new CliError(`${file}: ${logicalId}.CodeUri needs a Bucket and a Key.`);
  }
  if (typeof uri !== 'string') throw new CliError(`${file}: ${logicalId} has neither CodeUri nor InlineCode.`);
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
  if (bucket !== undefined && key !== undefined) return { kind: 'object', bucket, key };
  const path = resolve(folder, uri);
  if (!existsSync(path)) throw new CliError(`${file}: ${logicalId}.CodeUri: ${path}: no such file or folder.`);
  return { kind: statSync(path).isDirectory() ? 'folder' : 'zip', path };
}

interface PropertyReader {
  text(...path: string[]): string | undefined;
  required(name: string): string;
  number(...path: string[]): number | undefined;
  texts(...path: string[]): Record<string, string> | undefined;
  /** Of a command line: in their order, as often as they stand there. A parameter's list is a text with commas. */
  words(...path: string[]): string[] | undefined;
  /** Each once. A parameter's list is a text with commas. */
  list(...path: string[]): string[] | undefined;
  flag(...path: string[]): boolean | undefined;
  architecture(): 'x86_64' | 'arm64' | undefined;
}

function reader({ logicalId, file, properties }: FunctionResource): PropertyReader {
  const at = (path: readonly string[]): TemplateValue | undefined => path.reduce<TemplateValue | undefined>((value, name) => (isObject(value) ? value[name] : undefined), properties);
  const wrong = (path: readonly string[], form: string, value: TemplateValue): CliError => new CliError(`${file}: ${logicalId}.${path.join('.')} must be ${form}, not ${JSON.stringify(value)}.`);
  const text = (...path: string[]): string | undefined => {
    const value = at(path);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'object') throw wrong(path, 'a text', value);
    return String(value);
  };
  const separated = (list: string): string[] => list.split(',').map((item) => item.trim()).filter((item) => item !== '');
  return {
    text,
    required(name) {
      const value = text(name);
      if (value === undefined || value === '') throw new CliError(`${file}: ${logicalId} has no ${name}; give it there or in Globals.Function.`);
      return value;
    },
    number(...path) {
      const value = at(path);
      if (value === undefined || value === null) return undefined;
      const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
      if (typeof number !== 'number' || !Number.isInteger(number)) throw wrong(path, 'a whole number', value);
      return number;
    },
    texts(...path) {
      const value = at(path);
      if (value === undefined || value === null) return undefined;
      if (!isObject(value)) throw wrong(path, 'a map of texts', value);
      return Object.fromEntries(
        Object.entries(value).map(([name, member]) => {
          if (member === null || typeof member === 'object') throw wrong([...path, name], 'a text', member);
          return [name, String(member)];
        }),
      );
    },
    words(...path) {
      const value = at(path);
      if (value === undefined || value === null) return undefined;
      if (typeof value === 'string') return separated(value);
      if (!Array.isArray(value)) throw wrong(path, 'a list of texts', value);
      return (value as readonly TemplateValue[]).map((word) => {
        if (word === null || typeof word === 'object') throw wrong(path, 'a list of texts', value);
        return String(word);
      });
    },
    list(...path) {
      const value = at(path);
      if (value === undefined || value === null) return undefined;
      const items = typeof value === 'string' ? separated(value) : value;
      if (!Array.isArray(items) || !items.every((item) => typeof item === 'string')) throw wrong(path, 'a list of texts', value);
      return [...new Set(items)];
    },
    flag(...path) {
      const value = at(path);
      if (value === undefined || value === null) return undefined;
      if (value !== true && value !== false && value !== 'true' && value !== 'false') throw wrong(path, 'true or false', value);
      return String(value) === 'true';
    },
    architecture() {
      const value = at(['Architectures']);
      if (value === undefined || value === null) return undefined;
      const [only, ...others] = Array.isArray(value) ? (value as readonly TemplateValue[]) : [];
      if (others.length > 0 || (only !== 'x86_64' && only !== 'arm64')) throw wrong(['Architectures'], 'a list of either x86_64 or arm64', value);
      return only;
    },
  };
}
