import { InvalidArgumentError, Option, type Command } from 'commander';
import type { OutputFormat } from '../context.ts';

const HIGHEST_PORT = 65_535;

/** --port and --data: which Sluice is meant. */
export function withInstanceOptions(command: Command): Command {
  return command
    .addOption(new Option('--port <number>', 'port of the Sluice that is meant (SLUICE_PORT; default 9400)').argParser(wholeNumber(0, HIGHEST_PORT)))
    .addOption(new Option('--data <folder>', 'data folder of the Sluice that is meant (SLUICE_DATA; default ~/.sluice)'));
}

export function withOutputOption(command: Command): Command {
  const formats: readonly OutputFormat[] = ['text', 'json'];
  return command.addOption(new Option('--output <format>', 'text for people, json for programs').choices(formats).default('text'));
}

/** Parses a whole number within bounds; anything else is an error of usage. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < min || number > max) throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
    return number;
  };
}

/** Collects `NAME=VALUE` given once or several times. */
export function assignment(text: string, before: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const separator = text.indexOf('=');
  if (separator < 1) throw new InvalidArgumentError('Give NAME=VALUE.');
  return { ...before, [text.slice(0, separator)]: text.slice(separator + 1) };
}
