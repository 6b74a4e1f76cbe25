import { setTimeout as delay } from 'node:timers/promises';
import { engineEntries, type EngineEntry } from '../../adapters/engines/registry';
import { createRepository } from '../../adapters/repository';
import { createLogArchive } from '../../adapters/repository/log-archive';
import type { S3RepositorySettings } from '../../adapters/repository/settings';
import { hasCode } from '../../core/errors';
import { Secret } from '../../core/secret';

/** An archiver in a process of its own, so that a test can kill it; it archives to S3 until then. */
export interface ArchiverInput {
  readonly store: string;
  readonly site: { readonly host: string; readonly port: number; readonly password: string };
  readonly s3: Omit<S3RepositorySettings, 'credentials'>;
  readonly keys: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly answeredGaps: readonly string[];
}

/** What the workflow tries again. */
const PASSING = ['TargetUnreachable', 'RepositoryUnavailable'] as const;
const PAUSE_MILLISECONDS = 100;

async function main(): Promise<void> {
  const { store, site, s3, keys, ...input } = JSON.parse(process.env['ARCHIVER'] ?? '{}') as ArchiverInput;
  const entry: EngineEntry = engineEntries.redis;
  const here = { ...site, password: new Secret(site.password) };
  const engine = await entry.create(store, entry.settings.parse({ sites: { here } }));
  const credentials = {
    accessKeyId: new Secret(keys.accessKeyId),
    secretAccessKey: new Secret(keys.secretAccessKey),
  };
  const archive = createLogArchive(
    createRepository('cloud', { ...s3, credentials }, 'shop'),
    store,
    engine.log!.naming,
  );
  const say = (fields: object, message: string) => void process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
  const log = { debug: say, info: say, warn: say, error: say };
  const answeredGaps = [...input.answeredGaps];
  for (;;) {
    const request = { site: 'here', runForMilliseconds: 3_000, sliceMilliseconds: 100, answeredGaps };
    const ctx = { signal: new AbortController().signal, log, progress: () => undefined };
    try {
      const { needsBase } = await engine.log!.archive(request, archive, () => undefined, ctx);
      if (needsBase === null) continue;
      process.stdout.write(`${JSON.stringify(needsBase)}\n`);
      answeredGaps.push(needsBase);
    } catch (error) {
      if (!PASSING.some((code) => hasCode(error, code))) throw error;
      say({ error: String(error) }, 'archiving is tried again');
      await delay(PAUSE_MILLISECONDS);
    }
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
});
