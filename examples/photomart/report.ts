import { printLine, type CommandContext } from '../../cli/context.ts';
import { formatBytes, formatTable } from '../../cli/terminal/format.ts';
import { painter } from '../../cli/terminal/paint.ts';
import type { Demonstration } from './demonstration.ts';

/** Tells what came out of the functions. */
export function printDemonstration(context: CommandContext, demonstration: Demonstration): void {
  const paint = painter(context.stdout, context.environment);
  const section = (title: string, lines: readonly string[]): void => {
    printLine(context.stdout, `\n${paint('bold', title)}`);
    for (const line of lines) printLine(context.stdout, `  ${line}`);
  };
  const { photo, thumbnails, metadata, moderation, catalogEntry, tookMs } = demonstration;
  section('Photograph', [`s3://${photo.bucket}/${photo.key}`]);
  section('Thumbnails', formatTable(thumbnails.map(({ width, height, bytesOnDisk, file }) => [`${width} × ${height}`, formatBytes(bytesOnDisk), file])));
  section('Metadata', formatTable(Object.entries(metadata).map(([name, value]) => [name, display(value)])));
  section('Moderation', [
    `${paint(moderation.verdict === 'approved' ? 'green' : 'yellow', moderation.verdict)}: ${moderation.reason}`,
    Object.entries(moderation.measured).map(([name, value]) => `${name} ${value}`).join(', '),
  ]);
  section('Catalog entry', [`s3://${catalogEntry.bucket}/${catalogEntry.key}`, ...JSON.stringify(catalogEntry.entry, undefined, 2).split('\n')]);
  section('Invocations', formatTable([...tookMs].map(([name, ms]) => [name, `${ms.toFixed(0)} ms`])));
}

/** Tells how to go on from another terminal. */
export function printNextSteps(context: CommandContext, url: string, envCommand: string): void {
  const paint = painter(context.stdout, context.environment);
  const steps = [
    [`eval "$(${envCommand})"`, 'point the AWS tools of that terminal here'],
    ['aws lambda list-functions', 'the AWS CLI, unchanged'],
    ['npx sluice deploy examples/hello-node', 'a function of your own'],
    [`npx sluice invoke hello-node -p '{"name":"Ada"}' --tail`, ''],
    ['npx sluice logs photomart-catalog', 'what a function printed'],
  ];
  printLine(context.stdout, `\n${paint('green', '✓')} Sluice goes on serving the Lambda API at ${paint('bold', url)}. In another terminal, in this folder:\n`);
  for (const line of formatTable(steps.map(([command = '', why = '']) => [command, why === '' ? '' : `# ${why}`]))) printLine(context.stdout, `  ${paint('cyan', line)}`);
  printLine(context.stdout, '\nCtrl-C stops it.');
}

function display(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value).map(([name, member]) => `${name} ${String(member)}`).join(', ');
}
