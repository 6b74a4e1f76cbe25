import { parseArgs } from 'node:util';
import { table } from '../lab/demo/measured';
import type { Bench } from './bench';
import type { Figure } from './figure';
import { company, type Company, isQuiet, machineFacts } from './machine';
import { benches } from './registry';
import { saveResult } from './results-file';

const NAMES = Object.entries(benches)
  .flatMap(([name, { summary, parts }]) => [
    `  ${name.padEnd(14)} ${summary}`,
    ...(parts ? [`  ${''.padEnd(14)} parts: ${parts.join(', ')}`] : []),
  ])
  .join('\n');

const USAGE = `usage: npm run bench -- NAME [--rounds N] [--only PART,…] [--megabytes N] [--output json] [--save]

Measures ours and its peer in one run on real servers and prints each figure with its peer, ratio and aim.

${NAMES}

  --rounds N      how often each is measured; the figures are medians (default 3)
  --only PARTS    of a benchmark with parts only these, separated by commas
  --megabytes N   with another amount of data, to try it out: the aims are for the benchmark's own
  --output json   a list of {name, value, unit, peer, peerValue, ratio, aim, met, note} on standard output
  --save          also write bench/results/<date>-NAME.json`;

/** What a person got wrong on the command line. */
class UsageError extends Error {}

interface Options {
  readonly name: string;
  readonly bench: Bench;
  readonly rounds: number;
  readonly parts: readonly string[];
  readonly megabytes: number | null;
  readonly json: boolean;
  readonly save: boolean;
}

/** Null: help was asked for. */
function optionsOf(argv: string[]): Options | null {
  let parsed;
  try {
    parsed = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        rounds: { type: 'string', default: '3' },
        only: { type: 'string' },
        megabytes: { type: 'string' },
        output: { type: 'string', default: 'table' },
        save: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help) return null;
  const [name = '', ...more] = positionals;
  const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
  if (!bench || more.length > 0) {
    const given =
      positionals.length === 0 ? 'no benchmark is named' : `there is no benchmark "${positionals.join(' ')}"`;
    throw new UsageError(`${given}; there are: ${Object.keys(benches).join(', ')}`);
  }
  if (!/^[1-9]\d{0,2}$/.test(values.rounds))
    throw new UsageError(`--rounds is "${values.rounds}"; write a whole number`);
  if (!['table', 'json'].includes(values.output))
    throw new UsageError(`--output is "${values.output}"; it is table or json`);
  if (values.megabytes !== undefined && !/^[1-9]\d{1,5}$/.test(values.megabytes))
    throw new UsageError(`--megabytes is "${values.megabytes}"; write a whole number of at least 10`);
  return {
    name,
    bench,
    rounds: Number(values.rounds),
    parts: partsOf(name, bench, values.only),
    megabytes: values.megabytes === undefined ? null : Number(values.megabytes),
    json: values.output === 'json',
    save: values.save,
  };
}

function partsOf(name: string, { parts = [] }: Bench, only: string | undefined): readonly string[] {
  if (only === undefined) return parts;
  const wanted = only.split(',').filter(Boolean);
  const unknown = wanted.filter((each) => !parts.includes(each));
  if (wanted.length === 0 || unknown.length > 0) {
    const has = parts.length === 0 ? 'it has none' : `its parts are ${parts.join(', ')}`;
    throw new UsageError(`--only is "${only}", which names no part of ${name}; ${has}`);
  }
  return wanted;
}

async function main(): Promise<void> {
  const options = optionsOf(process.argv.slice(2));
  if (options === null) return void process.stdout.write(`${USAGE}\n`);
  const { name, bench, rounds, parts, megabytes, json, save } = options;
  const say = (line: string) => void process.stderr.write(`${line}\n`);

  const before = await company();
  warnUnlessQuiet(before, 'before', say);
  const startedAt = new Date();
  const figures = await bench.run({ rounds, say, parts, megabytes });
  const after = await company();
  warnUnlessQuiet(after, 'after', say);

  if (save) {
    const result = {
      bench: name,
      startedAt,
      finishedAt: new Date(),
      rounds,
      parts,
      ...(megabytes === null ? {} : { megabytes }),
      machine: machineFacts(),
      before,
      after,
      figures,
    };
    say(`saved as ${saveResult(name, result)}`);
  }
  process.stdout.write(json ? `${JSON.stringify(figures, null, 2)}\n` : `${figureLines(figures).join('\n')}\n`);
}

function warnUnlessQuiet(found: Company, when: string, say: (line: string) => void): void {
  if (isQuiet(found)) return;
  const programs = found.busiest.map(({ program, cores }) => `${program} ${cores.toFixed(2)} cores`).join(', ');
  say(`the machine was not quiet ${when} it: load average ${found.loadAverage.toFixed(2)}; ${programs}`);
}

function figureLines(figures: readonly Figure[]): string[] {
  const rows = figures.map(({ name, value, unit, peer, peerValue, ratio, aim, met }) => [
    name,
    value === null ? 'not measured' : `${value} ${unit}`,
    peer === null ? '' : `${peerValue ?? '?'} ${unit} (${peer})`,
    ratio === null ? '' : `${ratio}`,
    aim ?? '',
    met === null ? '' : met ? 'met' : 'MISSED',
  ]);
  const notes = figures.flatMap(({ name, note }) => (note ? [`${name}: ${note}`] : []));
  return [...table([['figure', 'value', 'peer', 'ratio', 'aim', ''], ...rows]), ...notes];
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof UsageError ? error.message : ((error as Error).stack ?? String(error))}\n`);
  if (error instanceof UsageError) process.stderr.write('See: npm run bench -- --help\n');
  // What an interrupted benchmark waited for may still be waited for; its lab is gone.
  process.exit(error instanceof UsageError ? 2 : 1);
});
