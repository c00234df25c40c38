import { readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { CliError } from '../errors.ts';

/** What a folder of code says of the function in it. */
export interface DetectedFunction {
  readonly name: string;
  readonly runtime: string;
  readonly handler: string;
}

/** What the person says instead of what would be detected. */
export interface DetectionOverrides {
  readonly name?: string;
  readonly runtime?: string;
  readonly handler?: string;
}

interface Language {
  readonly runtime: string;
  /** Runtime names of this language begin with it. */
  readonly runtimePrefix: string;
  /** Usual names of the file with the handler, the most usual first. */
  readonly modules: readonly string[];
  readonly extensions: readonly string[];
  /** Usual names of the handler, the most usual first. */
  readonly exports: readonly string[];
  /** Whether the text of a module offers `name` to its importers. */
  readonly offers: (source: string, name: string) => boolean;
}

const LANGUAGES: readonly Language[] = [
  {
    runtime: 'nodejs24.x',
    runtimePrefix: 'nodejs',
    modules: ['index', 'app', 'handler', 'main', 'lambda'],
    extensions: ['.mjs', '.js', '.cjs'],
    exports: ['handler', 'lambdaHandler', 'main'],
    offers: (source, name) => new RegExp(`\\bexport\\s+(?:async\\s+)?(?:const|let|var|function)\\s*\\*?\\s*${name}\\b|\\bexport\\s*\\{[^}]*\\b${name}\\b|\\bexports\\.${name}\\b|\\bmodule\\.exports\\s*=\\s*\\{[^}]*\\b${name}\\b`).test(source),
  },
  {
    runtime: 'python3.13',
    runtimePrefix: 'python',
    modules: ['lambda_function', 'app', 'main', 'handler', 'index'],
    extensions: ['.py'],
    exports: ['lambda_handler', 'handler', 'main'],
    offers: (source, name) => new RegExp(`^(?:async\\s+)?def\\s+${name}\\s*\\(|^${name}\\s*=`, 'm').test(source),
  },
];

/** Lambda API, CreateFunction, "FunctionName". */
const NAME_MAX_LENGTH = 64;

/** Finds name, runtime and handler of the function in `folder`. Rejects with a {@link CliError} that says which flag tells what is missing. */
export async function detectFunction(folder: string, overrides: DetectionOverrides): Promise<DetectedFunction> {
  const files = new Set(await readdir(folder));
  const name = overrides.name ?? (await detectName(folder, files));
  if (overrides.runtime !== undefined && overrides.handler !== undefined) return { name, runtime: overrides.runtime, handler: overrides.handler };
  const { language, file } = findModule(folder, files, overrides);
  const runtime = overrides.runtime ?? language.runtime;
  const handler = overrides.handler ?? `${file.slice(0, file.lastIndexOf('.'))}.${await findExport(join(folder, file), language)}`;
  return { name, runtime, handler };
}

function findModule(folder: string, files: ReadonlySet<string>, overrides: DetectionOverrides): { language: Language; file: string } {
  const candidates = LANGUAGES.filter((language) => overrides.runtime?.startsWith(language.runtimePrefix) ?? true);
  if (candidates.length === 0) throw new CliError(`The handler of a ${overrides.runtime ?? ''} function cannot be detected; name it with --handler.`);
  // With --handler the file is known, and its ending tells the language.
  const named = overrides.handler?.split('.')[0];
  const found = candidates.flatMap((language) => {
    const modules = named === undefined ? language.modules : [named];
    const file = modules.flatMap((module) => language.extensions.map((extension) => module + extension)).find((candidate) => files.has(candidate));
    return file === undefined ? [] : [{ language, file }];
  });
  const [first, second] = found;
  if (first === undefined) {
    const sought = candidates.map(({ modules, extensions }) => (named === undefined ? modules.slice(0, 3) : [named]).map((module) => module + (extensions[0] ?? '')).join(', ')).join(', ');
    const hint = [...files].some((file) => /^(index|app|handler|main)\.ts$/.test(file)) ? ' TypeScript has to be compiled to JavaScript first.' : ' Name it with --handler (and --runtime).';
    throw new CliError(`${folder} has no file with a handler (looked for ${sought}, …).${hint}`);
  }
  if (second !== undefined) throw new CliError(`${folder} has both ${first.file} and ${second.file}; say with --runtime or --handler which one is the function.`);
  return first;
}

async function findExport(file: string, language: Language): Promise<string> {
  const source = await readFile(file, 'utf8');
  const found = language.exports.find((name) => language.offers(source, name));
  if (found === undefined) throw new CliError(`${file} offers none of ${language.exports.join(', ')}; name its handler with --handler ${basename(file).split('.')[0]}.NAME.`);
  return found;
}

async function detectName(folder: string, files: ReadonlySet<string>): Promise<string> {
  const manifest = files.has('package.json') ? await readManifest(join(folder, 'package.json')) : {};
  const given = typeof manifest.name === 'string' ? manifest.name.replace(/^@[^/]*\//, '') : basename(resolve(folder));
  const name = given.replaceAll(/[^A-Za-z0-9_-]+/g, '-').replaceAll(/^-+|-+$/g, '').slice(0, NAME_MAX_LENGTH);
  if (name === '') throw new CliError(`${folder} gives no name for the function; name it with --name.`);
  return name;
}

async function readManifest(file: string): Promise<{ name?: unknown }> {
  try {
    return (JSON.parse(await readFile(file, 'utf8')) ?? {}) as { name?: unknown };
  } catch (error) {
    if (error instanceof SyntaxError) throw new CliError(`${file} is not JSON: ${error.message}.`);
    throw error;
  }
}
