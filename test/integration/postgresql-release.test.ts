import { createArchiveActivities } from '../../activities/archive';
import type { ActivityDeps } from '../../activities/deps';
import type { ArchiveOutcome, Engine } from '../../core/engine';
import { Secret } from '../../core/secret';
import { engineOf, MemoryLogArchive, testContext } from '../support/engine-harness';
import { inActivity } from '../support/in-activity';
import { ask } from '../support/postgresql-source';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresVersionsInDepth, startPostgres, waitUntil } from '../support/servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

const OURS = 'drctl_orders_db';

/** After a role change: `primary` is archived now, and an earlier archiver left its slot at `dr`, beside one of somebody else. */
describe.each(postgresVersionsInDepth)(
  'PostgreSQL $version: what an earlier archiver left at the other site',
  ({ programs }) => {
    let primary: Postgres;
    let dr: Postgres;
    let engine: Engine;
    let log: MemoryLogArchive;

    beforeAll(async () => {
      primary = await startPostgres({ programs });
      dr = await startPostgresStandby(primary, {}, programs);
      const siteOf = ({ host, port, password }: Postgres) => ({ host, port, password: new Secret(password) });
      engine = await engineOf('postgresql', 'orders-db', { sites: { primary: siteOf(primary), dr: siteOf(dr) } });
      log = new MemoryLogArchive(engine.log!.naming);
    }, 60_000);
    afterAll(async () => void (await Promise.all([dr?.stop(), primary?.stop()])), 60_000);

    const reserve = (server: Postgres, slot: string) =>
      ask(server.url, `SELECT pg_create_physical_replication_slot('${slot}', true)`);
    const slotsAt = async (server: Postgres) =>
      (await ask(server.url, 'SELECT slot_name FROM pg_replication_slots ORDER BY 1')).map(
        ({ slot_name: name }) => name,
      );
    const archive = async (): Promise<ArchiveOutcome> => {
      const open = {
        application: { sites: ['primary', 'dr', 'elsewhere'] },
        engine: () => engine,
        logArchive: () => log,
        epochs: { current: async () => ({ epoch: 3, activeSite: 'primary' }) },
      };
      const activities = createArchiveActivities({ open: () => open } as unknown as ActivityDeps);
      const round = { epoch: 3, site: 'primary', runForMilliseconds: 1_500, sliceMilliseconds: 200 };
      return inActivity(() => activities.archiveLog({ application: 'shop', store: 'orders-db', ...round }));
    };

    test('goes with the next round once the site follows; the slots of others and of this archiver stay', async () => {
      await reserve(dr, OURS);
      await reserve(dr, 'of_somebody_else');
      expect((await archive()).entriesStored).toBeGreaterThan(0);
      expect(await slotsAt(dr)).toEqual(['of_somebody_else']);
      expect(await slotsAt(primary)).toEqual([OURS]);
      expect((await archive()).needsBase).toBeNull(); // with nothing left there, as ever
      expect(await slotsAt(dr)).toEqual(['of_somebody_else']);
    }, 30_000);

    test('a slot that an archiver is using is not taken away from it', async () => {
      const request = { site: 'primary', runForMilliseconds: 60_000, sliceMilliseconds: 200 };
      const stop = new AbortController();
      const running = engine.log!.archive(request, log, () => undefined, testContext(stop.signal));
      const ended = running.catch((error: unknown) => error);
      await waitUntil(
        'the archiver holding its slot',
        async () => (await ask(primary.url, 'SELECT active FROM pg_replication_slots'))[0]?.['active'] === true,
      );
      await expect(engine.log!.release('primary', testContext())).rejects.toMatchObject({ type: 'LockHeld' });
      expect(await slotsAt(primary)).toEqual([OURS]);
      stop.abort(new DOMException('the test is done', 'AbortError'));
      await ended;
    }, 30_000);

    test('a primary that was lost keeps its log until it follows: rewinding it needs it', async () => {
      await ask(dr.url, 'SELECT pg_promote()');
      await reserve(dr, OURS);
      expect((await archive()).needsBase).toBeNull();
      expect(await slotsAt(dr)).toEqual([OURS, 'of_somebody_else']);
    }, 30_000);

    test('a site that is down holds nothing up', async () => {
      await dr.server.kill('SIGKILL');
      expect((await archive()).needsBase).toBeNull();
      await expect(engine.log!.release('dr', testContext())).rejects.toMatchObject({ type: 'TargetUnreachable' });
    }, 30_000);
  },
);
