import { parseLsn } from '../../adapters/engines/postgresql/lsn';
import { ask, PostgresSource } from '../support/postgresql-source';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresVersionsInDepth, startPostgres, waitUntil } from '../support/servers';
import { testContext } from '../support/engine-harness';

test.each(postgresVersionsInDepth)(
  'PostgreSQL $version: times that the old timeline covers can still be asked for after its rest came from its successor',
  async ({ programs }) => {
    const primary = await startPostgres({ programs });
    const standby = await startPostgresStandby(primary, {}, programs);
    try {
      const source = await PostgresSource.of({ primary, dr: standby });
      await ask(primary.url, 'CREATE TABLE t (id int)');
      await source.archive(1_000);
      const { lineage, consistentAt } = await source.back();
      const coveredNow = async () =>
        (await source.log.resolve((await source.log.entries(lineage!)).at(-1)!)).coversUntil ?? '';
      await waitUntil('the log covering an instant behind the backup', async () => {
        await source.archive(500);
        return (await coveredNow()) > consistentAt;
      });
      const covered = await coveredNow();
      const target = { kind: 'time', time: covered, timeline: 1 } as const;
      const plan = () => source.engine.planRestore(target, { backups: source.backups, log: source.log }, testContext());
      const before = await plan();
      // What nobody archived before the old primary was gone.
      await ask(primary.url, 'INSERT INTO t VALUES (1)');
      await ask(primary.url, 'SELECT pg_switch_wal()');
      await ask(primary.url, 'INSERT INTO t VALUES (2)');
      const [at] = await ask(primary.url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
      await waitUntil('the standby has it', async () => {
        const [row] = await ask(standby.url, 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS has', [at!['lsn']]);
        return row!['has'] === true;
      });
      await ask(standby.url, 'SELECT pg_promote(true, 30)');
      await source.archiveAll(standby.url, 'dr');
      // Its rest came from the successor.
      expect(parseLsn((await source.log.entries(lineage!)).at(-1)!.to.value)).toBeGreaterThanOrEqual(
        parseLsn(at!['lsn'] as string),
      );
      expect(await plan()).toMatchObject({ chain: before.chain, lineage });
    } finally {
      await Promise.all([standby.stop(), primary.stop()]);
    }
  },
  90_000,
);
