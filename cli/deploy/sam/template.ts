import { readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { CliError } from '../../errors.ts';
import type { FunctionPlan } from '../plan.ts';
import { isObject, parseTemplate, type TemplateObject, type TemplateValue } from './document.ts';
import { functionPlan, functionProperties } from './function-resource.ts';
import { Resolver, type Resource, type Scope } from './intrinsics.ts';

/** A function and the resource that it comes from. */
export type PlannedFunction = FunctionPlan & { readonly logicalId: string };

/** What a template asks for, and what of it Sluice leaves out. */
export interface TemplatePlan {
  readonly functions: readonly PlannedFunction[];
  readonly buckets: readonly string[];
  /** One line each for what the template has and the deployment does not do. */
  readonly notes: readonly string[];
}

export interface TemplateOptions {
  readonly account: string;
  readonly region: string;
  /** Undefined: the name of the template's folder. */
  readonly stack?: string;
  readonly parameters?: Readonly<Record<string, string>>;
}

/** Sections that need no action to be honoured. */
const HARMLESS_SECTIONS = new Set(['AWSTemplateFormatVersion', 'Transform', 'Description', 'Metadata', 'Parameters', 'Globals', 'Resources', 'Outputs']);
const TEMPLATE_MAX_BYTES = 1024 * 1024; // CloudFormation user guide, "Quotas": a template of 1 MB

/** Reads a SAM template. Rejects with a {@link CliError} for what is wrong in it. */
export async function readTemplate(path: string, options: TemplateOptions): Promise<TemplatePlan> {
  const text = await readFile(path, 'utf8');
  if (Buffer.byteLength(text) > TEMPLATE_MAX_BYTES) throw new CliError(`${path} is larger than the ${TEMPLATE_MAX_BYTES} bytes that a template may have.`);
  return planTemplate(parseTemplate(text, path), path, options);
}

export function planTemplate(template: TemplateObject, path: string, options: TemplateOptions): TemplatePlan {
  const resources = readResources(template, path);
  const scope: Scope = {
    file: path,
    stack: options.stack ?? stackName(path),
    region: options.region,
    account: options.account,
    parameters: readParameters(template, path, options.parameters ?? {}),
    resources,
  };
  const resolver = new Resolver(scope);
  const notes = Object.keys(template).filter((section) => !HARMLESS_SECTIONS.has(section)).map((section) => `the section ${section} is not acted on`);
  const functions: PlannedFunction[] = [];
  const buckets: string[] = [];
  for (const [logicalId, resource] of resources) {
    if (resource.isConditional) notes.push(`${logicalId}: its Condition is not evaluated; it is deployed in any case`);
    switch (resource.type) {
      case 'AWS::Serverless::Function': {
        const properties = resolver.resolve(functionProperties(template, resource.properties), logicalId);
        const planned = functionPlan({ logicalId, name: resolver.nameOf(logicalId, logicalId), file: path, folder: dirname(resolve(path)), properties: isObject(properties) ? properties : {} });
        functions.push({ ...planned.plan, logicalId });
        notes.push(...planned.notes);
        break;
      }
      case 'AWS::S3::Bucket':
        buckets.push(resolver.nameOf(logicalId, logicalId));
        break;
      default:
        notes.push(`${logicalId} (${resource.type}) is not made: Sluice deploys AWS::Serverless::Function and AWS::S3::Bucket`);
    }
  }
  if (functions.length === 0) throw new CliError(`${path} has no AWS::Serverless::Function.`);
  refuseSameNames(functions, path);
  return { functions, buckets, notes };
}

function readResources(template: TemplateObject, path: string): Map<string, Resource> {
  if (!isObject(template.Resources)) throw new CliError(`${path} is not a template: it has no Resources.`);
  return new Map(
    Object.entries(template.Resources).map(([logicalId, resource]) => {
      if (!isObject(resource) || typeof resource.Type !== 'string') throw new CliError(`${path}: ${logicalId} has no Type.`);
      return [logicalId, { type: resource.Type, properties: isObject(resource.Properties) ? resource.Properties : {}, isConditional: resource.Condition !== undefined }];
    }),
  );
}

function readParameters(template: TemplateObject, path: string, given: Readonly<Record<string, string>>): Map<string, string> {
  const declared = isObject(template.Parameters) ? template.Parameters : {};
  for (const name of Object.keys(given)) {
    if (declared[name] === undefined) throw new CliError(`${path} has no parameter ${name}. It has: ${Object.keys(declared).join(', ') || 'none'}.`);
  }
  return new Map(
    Object.entries(declared).map(([name, declaration]) => {
      const value: TemplateValue | undefined = given[name] ?? (isObject(declaration) ? declaration.Default : undefined);
      if (value === undefined || value === null || typeof value === 'object') throw new CliError(`${path}: the parameter ${name} has no Default; give it with --parameter ${name}=VALUE.`);
      refuseOtherValues(path, name, declaration, String(value));
      return [name, String(value)];
    }),
  );
}

function refuseOtherValues(path: string, name: string, declaration: TemplateValue | undefined, value: string): void {
  const allowed = isObject(declaration) ? declaration.AllowedValues : undefined;
  if (!Array.isArray(allowed) || allowed.map(String).includes(value)) return;
  throw new CliError(`${path}: the parameter ${name} may be ${allowed.map(String).join(', ')}, not ${value}.`);
}

function refuseSameNames(functions: readonly FunctionPlan[], path: string): void {
  const names = functions.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new CliError(`${path}: two functions are named ${twice}.`);
}

function stackName(path: string): string {
  return basename(dirname(resolve(path))).replaceAll(/[^A-Za-z0-9-]+/g, '-').replaceAll(/^-+|-+$/g, '') || 'stack';
}
