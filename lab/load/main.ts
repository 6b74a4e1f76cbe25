import { parseArgs } from 'node:util';
import { startGenerator, type GeneratorOptions, type LoadCounts } from './generator';
import { openJournal } from './journal-writer';
import { publicName } from './public-name';

const USAGE = `usage: load --rate N --journal FILE --dns HOST:PORT[,HOST:PORT] --name NAME --port PORT
            [--seed TEXT] [--concurrency N] [--retry-ambiguous]`;

/** Outages last seconds: a line every five is enough to see one and few enough to read. */
const REPORT_EVERY_MS = 5_000;

interface LoadOptions extends Omit<GeneratorOptions, 'seed'> {
  seed: string | undefined;
  journal: string;
  dnsServers: string[];
}

function optionsFrom(argv: string[]): LoadOptions {
  const { values } = parseArgs({
    args: argv,
    options: {
      rate: { type: 'string' },
      journal: { type: 'string' },
      dns: { type: 'string' },
      name: { type: 'string' },
      port: { type: 'string' },
      seed: { type: 'string' },
      concurrency: { type: 'string', default: '64' },
      'retry-ambiguous': { type: 'boolean', default: false },
    },
  });
  const given = (name: 'rate' | 'journal' | 'dns' | 'name' | 'port'): string => {
    const value = values[name];
    if (!value) throw new Error(`--${name} is missing\n${USAGE}`);
    return value;
  };
  return {
    rate: positive('rate', given('rate')),
    journal: given('journal'),
    dnsServers: given('dns').split(','),
    name: given('name'),
    port: positive('port', given('port')),
    seed: values.seed,
    concurrency: positive('concurrency', values.concurrency),
    retryAmbiguous: values['retry-ambiguous'],
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value)))
    throw new Error(`--${name} is "${text}"; it must be a number above 0\n${USAGE}`);
  return value;
}

async function main(): Promise<void> {
  const options = optionsFrom(process.argv.slice(2));
  const journal = await openJournal(options.journal, options.seed);
  const { seed } = journal;
  console.log(`placing ${options.rate} orders/s at ${options.name}, seed ${seed}, journal ${options.journal}`);
  const generator = startGenerator({ ...options, seed }, publicName(options.name, options.dnsServers), journal);
  const report = setInterval(() => console.log(describe(generator.counts)), REPORT_EVERY_MS);
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  await Promise.race([stopped, generator.failed]);
  clearInterval(report);
  await generator.stop();
  journal.close();
  console.log(`stopped: ${describe(generator.counts)}`);
}

function describe({ sent, acknowledged, failed, skipped, site }: LoadCounts): string {
  return `sent ${sent}, acknowledged ${acknowledged}, failed ${failed}, skipped ${skipped}, last site ${site || 'none'}`;
}

main().catch((error: unknown) => {
  console.error(`the load generator ended: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
});
