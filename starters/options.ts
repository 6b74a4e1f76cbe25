import { Option } from 'commander';
import { failure } from '../core/errors';

/** Options that several commands have, so that a person need not learn them twice. */

export const limitOption = (description: string): Option =>
  new Option('-n, --limit <count>', description).default('20').argParser(wholeNumber);

export const followOption = (): Option => new Option('-f, --follow', 'stay until it ends');

export const detachOption = (): Option => new Option('--detach', 'do not wait for the end');

export const reasonOption = (): Option => new Option('--reason <text>', 'why; it stands in the report');

function wholeNumber(text: string): string {
  if (!/^[1-9]\d*$/.test(text)) throw failure('UsageInvalid', `--limit is "${text}"; write a whole number from 1`);
  return text;
}
