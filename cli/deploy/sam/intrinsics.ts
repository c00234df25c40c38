import { CliError } from '../../errors.ts';
import { isObject, splitAttribute, type TemplateObject, type TemplateValue } from './document.ts';

/** One member of a template's Resources. */
export interface Resource {
  readonly type: string;
  readonly properties: TemplateObject;
  readonly isConditional: boolean;
}

/** What references in a template may mean. */
export interface Scope {
  readonly file: string;
  readonly stack: string;
  readonly region: string;
  readonly account: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly resources: ReadonlyMap<string, Resource>;
}

interface Addressable {
  readonly nameProperty: string;
  readonly arn: (name: string, scope: Scope) => string;
}

/** Types whose name and ARN are known without asking anybody. */
const ADDRESSABLE: Readonly<Record<string, Addressable>> = {
  'AWS::Serverless::Function': { nameProperty: 'FunctionName', arn: (name, { region, account }) => `arn:aws:lambda:${region}:${account}:function:${name}` },
  'AWS::S3::Bucket': { nameProperty: 'BucketName', arn: (name) => `arn:aws:s3:::${name}` },
  'AWS::IAM::Role': { nameProperty: 'RoleName', arn: (name, { account }) => `arn:aws:iam::${account}:role/${name}` },
};

/** `AWS::NoValue` stands for a property that is not there. */
const NO_VALUE = Symbol('AWS::NoValue');

type Resolved = TemplateValue | typeof NO_VALUE;

/** Puts values in the place of `Ref`, `Fn::Sub`, `Fn::GetAtt` and `Fn::Join`. Throws a {@link CliError} for what cannot be resolved. */
export class Resolver {
  readonly #scope: Scope;
  readonly #names = new Map<string, string>();
  /** Resources whose name is just being worked out, outermost first: meeting one again is a circle. */
  readonly #open: string[] = [];

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  /** `path` says where in the template the value stands, for messages. Undefined for `AWS::NoValue`. */
  resolve(given: TemplateValue, path: string): TemplateValue | undefined {
    const resolved = this.#value(given, path);
    return resolved === NO_VALUE ? undefined : resolved;
  }

  /** The name that a resource gets: the one that its properties give, else stack and logical id. */
  nameOf(logicalId: string, path: string): string {
    const known = this.#names.get(logicalId);
    if (known !== undefined) return known;
    if (this.#open.includes(logicalId)) this.#fail(path, `circular reference ${[...this.#open, logicalId].join(' → ')}`);
    const { type, nameProperty, properties } = this.#addressable(logicalId, path);
    const given = properties[nameProperty];
    this.#open.push(logicalId);
    const resolved = given === undefined ? NO_VALUE : this.#value(given, `${logicalId}.${nameProperty}`);
    this.#open.pop();
    if (resolved !== NO_VALUE && typeof resolved !== 'string') this.#fail(`${logicalId}.${nameProperty}`, 'must be a text');
    const name = resolved === NO_VALUE ? defaultName(this.#scope.stack, logicalId, type) : resolved;
    this.#names.set(logicalId, name);
    return name;
  }

  #value(given: TemplateValue, path: string): Resolved {
    if (Array.isArray(given)) {
      return (given as readonly TemplateValue[]).map((item, index) => this.#value(item, `${path}[${index}]`)).filter((item) => item !== NO_VALUE);
    }
    if (!isObject(given)) return given;
    const [key = '', ...others] = Object.keys(given);
    if (others.length === 0 && (key === 'Ref' || key.startsWith('Fn::'))) return this.#intrinsic(key, given[key] ?? null, path);
    const resolved: Record<string, TemplateValue> = {};
    for (const [name, member] of Object.entries(given)) {
      const result = this.#value(member, `${path}.${name}`);
      if (result !== NO_VALUE) resolved[name] = result;
    }
    return resolved;
  }

  #intrinsic(key: string, argument: TemplateValue, path: string): Resolved {
    switch (key) {
      case 'Ref':
        return typeof argument === 'string' ? this.#ref(argument, path) : this.#fail(path, 'Ref takes a name');
      case 'Fn::Sub':
        return this.#sub(argument, path);
      case 'Fn::Join':
        return this.#join(argument, path);
      case 'Fn::GetAtt': {
        const [logicalId, name] = typeof argument === 'string' ? splitAttribute(argument) : listOf(argument);
        if (typeof logicalId !== 'string' || (name !== undefined && typeof name !== 'string')) this.#fail(path, 'Fn::GetAtt takes a resource and an attribute');
        return this.#attribute(logicalId, name, path);
      }
      default:
        return this.#fail(path, `${key} is not an intrinsic function that Sluice resolves (Ref, Fn::Sub, Fn::GetAtt, Fn::Join)`);
    }
  }

  #ref(name: string, path: string): Resolved {
    if (name === 'AWS::NoValue') return NO_VALUE;
    const pseudo = pseudoParameter(name, this.#scope);
    if (pseudo !== undefined) return pseudo;
    if (name.startsWith('AWS::')) this.#fail(path, `${name} is not a pseudo parameter that Sluice knows`);
    return this.#scope.parameters.get(name) ?? this.nameOf(name, path);
  }

  #attribute(logicalId: string, name: string | undefined, path: string): string {
    const { type, arn } = this.#addressable(logicalId, path);
    if (name !== 'Arn') this.#fail(path, `${logicalId} (${type}) has no attribute ${name ?? '(none given)'} here; only Arn is known`);
    return arn(this.nameOf(logicalId, path), this.#scope);
  }

  #sub(argument: TemplateValue, path: string): string {
    const [text, given] = typeof argument === 'string' ? [argument] : listOf(argument);
    if (typeof text !== 'string' || (given !== undefined && !isObject(given))) this.#fail(path, 'Fn::Sub takes a text, or a list of a text and a map');
    return text.replace(/\$\{(!?)([^}]*)\}/g, (_, literal: string, reference: string) => {
      if (literal !== '') return `\${${reference}}`;
      const name = reference.trim();
      const own = given?.[name];
      if (own !== undefined) return this.#scalar(this.#value(own, path), path);
      const [logicalId = '', attribute] = splitAttribute(name);
      return this.#scalar(attribute === undefined ? this.#ref(name, path) : this.#attribute(logicalId, attribute, path), path);
    });
  }

  #join(argument: TemplateValue, path: string): string {
    const [separator, list] = listOf(argument);
    const parts = list === undefined ? undefined : this.#value(list, path);
    if (typeof separator !== 'string' || !Array.isArray(parts)) this.#fail(path, 'Fn::Join takes a separator and a list');
    return (parts as readonly TemplateValue[]).map((part) => this.#scalar(part, path)).join(separator);
  }

  #scalar(resolved: Resolved, path: string): string {
    if (typeof resolved === 'string' || typeof resolved === 'number' || typeof resolved === 'boolean') return String(resolved);
    return this.#fail(path, 'a text is needed where a list, a map or nothing stands');
  }

  #addressable(logicalId: string, path: string): Addressable & { readonly type: string; readonly properties: TemplateObject } {
    const resource = this.#scope.resources.get(logicalId);
    if (resource === undefined) this.#fail(path, `${logicalId} is neither a parameter nor a resource of this template`);
    const known = ADDRESSABLE[resource.type];
    if (known === undefined) this.#fail(path, `${logicalId} is ${resource.type}, which Sluice does not make, so it has no name or ARN. Make its value a parameter with a Default`);
    return { ...resource, ...known };
  }

  #fail(path: string, problem: string): never {
    throw new CliError(`${this.#scope.file}: ${path}: ${problem}.`);
  }
}

function listOf(argument: TemplateValue): readonly TemplateValue[] {
  return Array.isArray(argument) ? (argument as readonly TemplateValue[]) : [];
}

/** CloudFormation user guide, "Pseudo parameters reference". */
function pseudoParameter(name: string, scope: Scope): string | undefined {
  switch (name) {
    case 'AWS::Region':
      return scope.region;
    case 'AWS::AccountId':
      return scope.account;
    case 'AWS::StackName':
      return scope.stack;
    case 'AWS::Partition':
      return 'aws';
    case 'AWS::URLSuffix':
      return 'amazonaws.com';
    default:
      return undefined;
  }
}

/** The same at every deployment, unlike CloudFormation's, which end in random letters. Names of buckets have no capitals. */
function defaultName(stack: string, logicalId: string, type: string): string {
  const name = `${stack}-${logicalId}`;
  return type === 'AWS::S3::Bucket' ? name.toLowerCase() : name;
}
