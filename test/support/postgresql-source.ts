import { parseLsn } from '../../adapters/engines/postgresql/lsn';
import type { Manifest } from '../../core/catalog';
import type { ArchiveOutcome, Engine } from '../../core/engine';
import type { LogArchive } from '../../core/log-archive';
import type { RecoveryTarget } from '../../core/recovery';
import { Secret } from '../../core/secret';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { isRoot } from '../../lab/servers/process';
import {
  combinedSource,
  engineOf,
  MemoryLogArchive,
  type MemoryVolumes,
  takeBackup,
  testContext,
} from './engine-harness';

interface Server {
  readonly host: string;
  readonly port: number;
  readonly password: string;
  readonly standbys?: readonly { readonly host: string; readonly port: number }[];
}

/** One cluster's servers by site, with its backups and log in memory. */
export class PostgresSource {
  readonly engine: Engine;
  readonly log: MemoryLogArchive;
  readonly volumes = new Map<string, MemoryVolumes>();
  readonly backups: Manifest[] = [];
  /** As the workflow does: a gap that an archiver told of is gone on behind by the next one. */
  readonly answeredGaps: string[] = [];

  private constructor(engine: Engine) {
    this.engine = engine;
    this.log = new MemoryLogArchive(engine.log!.naming);
  }

  /** `own`: PostgreSQL's settings of the store besides its sites. */
  static async of(sites: Readonly<Record<string, Server>>, own: object = {}): Promise<PostgresSource> {
    const known = Object.entries(sites).map(([name, { host, port, password, standbys = [] }]) => [
      name,
      { host, port, password: new Secret(password), standbys },
    ]);
    const settings = { sites: Object.fromEntries(known) as object, ...own };
    return new PostgresSource(await engineOf('postgresql', 'orders', settings));
  }

  async back(type: 'full' | 'incr' = 'full', site = 'primary'): Promise<Manifest> {
    const taken = await takeBackup(this.engine, site, this.volumes, this.backups, { type });
    this.backups.push(taken.manifest);
    return taken.manifest;
  }

  /** Restores into a new `directory`, and answers with the server as it waits there. */
  async restore(target: RecoveryTarget, directory: string, log: LogArchive = this.log) {
    const catalog = { backups: this.backups, log };
    const plan = await this.engine.planRestore(target, catalog, testContext());
    const place = { directory, host: '127.22.0.4', port: 0, osUser: isRoot ? 'nobody' : null, overwrite: false };
    const chain = plan.chain.map((id) => this.backups.find(({ backupId }) => backupId === id) as Manifest);
    const request = { restoreId: 'a-copy', plan, chain, place };
    await this.engine.restore.rebuild(request, combinedSource(this.volumes), log, testContext());
    return { request, restored: await this.engine.restore.replay(request, log, testContext()) };
  }

  async archive(runForMilliseconds: number, site = 'primary', log: LogArchive = this.log): Promise<ArchiveOutcome> {
    const request = { site, runForMilliseconds, sliceMilliseconds: 100, answeredGaps: this.answeredGaps };
    const outcome = await this.engine.log!.archive(request, log, () => undefined, testContext());
    if (outcome.needsBase !== null) this.answeredGaps.push(outcome.needsBase);
    return outcome;
  }

  /** Short rounds until all that the server has written by now is archived: the last one's outcome. A gap ends them. */
  async archiveAll(url: string, site = 'primary', log: LogArchive = this.log): Promise<ArchiveOutcome> {
    const [at] = await ask(url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
    for (const deadline = Date.now() + 60_000; ;) {
      const outcome = await this.archive(300, site, log);
      if (outcome.needsBase !== null || parseLsn(outcome.durable.value) >= parseLsn(at!['lsn'] as string))
        return outcome;
      if (Date.now() > deadline) throw new Error(`${site} is archived only to ${outcome.durable.value}`);
    }
  }
}

/** One statement in a session of its own, which a server that goes down does not take along. */
export async function ask(url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return inPostgres(url, async (client) => (await client.query<Record<string, unknown>>(text, values)).rows);
}
