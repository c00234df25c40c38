/** The types of bootstrap.mjs, which has to be plain JavaScript. */
export const ROOT: string;
export class BootstrapError extends Error {}
export function isInstalled(folder: string): boolean;
export function writeStamp(folder: string): void;
export function install(folder: string, options?: { readonly label?: string; readonly output?: NodeJS.WritableStream & { readonly isTTY?: boolean } }): Promise<boolean>;
export function nodeOfProject(root?: string): string;
export function runEntry(entry: string, args: readonly string[]): Promise<void>;
export function runChild(program: string, args: readonly string[]): Promise<void>;
