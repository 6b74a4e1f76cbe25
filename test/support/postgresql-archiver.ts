import { createPostgresqlEngine } from '../../adapters/engines/postgresql/engine';
import { settings } from '../../adapters/engines/postgresql/settings';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createLocalRepository } from '../../adapters/repository/local';
import { Secret } from '../../core/secret';

/** An archiver in a process of its own, so that a test can kill it: archives until then. */
interface ArchiverInput {
  readonly store: string;
  readonly repository: string;
  readonly host: string;
  readonly port: number;
  readonly password: string;
}

async function main(): Promise<void> {
  const input = JSON.parse(process.env['ARCHIVER'] ?? '{}') as ArchiverInput;
  const { sites, ...rest } = settings.parse({
    sites: { here: { host: input.host, port: input.port, password: new Secret(input.password) } },
  });
  const engine = createPostgresqlEngine({ store: input.store, sites, settings: rest });
  const repository = createLocalRepository({ name: 'local', directory: input.repository, prefix: 'test' });
  const archive = createLogArchive(repository, input.store, engine.log!.naming);
  const say = (fields: object, message: string) => void process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
  const answeredGaps: string[] = [];
  for (;;) {
    const outcome = await engine.log!.archive(
      { site: 'here', runForMilliseconds: 3_000, sliceMilliseconds: 100, answeredGaps },
      archive,
      () => undefined,
      {
        signal: new AbortController().signal,
        log: { debug: say, info: say, warn: say, error: say },
        progress: () => undefined,
      },
    );
    if (outcome.needsBase === null) continue;
    process.stderr.write(`needsBase: ${outcome.needsBase}\n`);
    answeredGaps.push(outcome.needsBase);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
});
