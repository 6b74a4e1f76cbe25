import { bestOf, type ServerLook } from '../../adapters/engines/postgresql/site-servers';
import type { PostgresqlSite } from '../../adapters/engines/postgresql/settings';
import type { Engine } from '../../core/engine';
import type { FenceEvidence } from '../../core/fencing';
import { Secret } from '../../core/secret';
import { engineOf, MemoryLogArchive, testContext } from '../support/engine-harness';
import { expectFailure } from '../support/expect-failure';
import { Link } from '../support/link';
import { ask } from '../support/postgresql-source';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresVersionsInDepth, startPostgres, waitUntil } from '../support/servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

test('of one cluster the newest timeline counts, then a primary, then how much was received', () => {
  const look = (host: string, place: Partial<NonNullable<ServerLook['place']>> | null): ServerLook => ({
    server: { host, port: 1 } as PostgresqlSite,
    place: place && { primary: false, systemId: '7', timeline: 1, lsn: 100n, ...place },
  });
  const best = (...looks: ServerLook[]) => bestOf(looks)?.server.host ?? null;
  expect(best(look('a', {}), look('b', { lsn: 200n }))).toBe('b');
  expect(best(look('a', { lsn: 900n }), look('b', { timeline: 2 }))).toBe('b');
  expect(best(look('a', { lsn: 100n }), look('b', {}))).toBe('a'); // the one that the config names first
  expect(best(look('a', { timeline: 2 }), look('b', { timeline: 2, primary: true }))).toBe('b');
  // One that was left behind on an old timeline may still believe that it leads.
  expect(best(look('a', { primary: true, lsn: 900n }), look('b', { timeline: 2 }))).toBe('b');
  expect(best(look('a', {}), look('b', { systemId: '8', timeline: 5 }))).toBe('a');
  expect(best(look('a', null), look('b', { systemId: '8' }), look('c', {}), look('d', { lsn: 101n }))).toBe('d');
  expect(best(look('a', null), look('b', null))).toBeNull();
});

/** A site with two standbys, of which the first was cut off a while before the primary is lost. */
describe.each(postgresVersionsInDepth)('PostgreSQL $version: one of several standbys', ({ programs }) => {
  let primary: Postgres;
  let behind: Postgres;
  let ahead: Postgres;
  let link: Link | undefined;
  let engine: Engine;
  const roles = () => engine.replication!;

  beforeAll(async () => {
    primary = await startPostgres({ programs });
    await ask(primary.url, 'CREATE TABLE entries (row int)');
    await ask(primary.url, `SELECT pg_create_physical_replication_slot('behind')`);
    link = await Link.to(primary);
    [behind, ahead] = await Promise.all([
      startPostgresStandby({ ...primary, ...link.address }, { primary_slot_name: 'behind' }, programs),
      startPostgresStandby(primary, {}, programs),
    ]);
    const site = ({ host, port }: Postgres) => ({ host, port, password: new Secret(primary.password) });
    const dr = { ...site(behind), standbys: [{ host: ahead.host, port: ahead.port }] };
    engine = await engineOf('postgresql', 'orders', { sites: { primary: site(primary), dr } });
  }, 60_000);
  afterAll(async () => {
    link?.close();
    await Promise.all([behind?.stop(), ahead?.stop(), primary?.stop()]);
  }, 60_000);

  const write = (server: Postgres, row: number) => ask(server.url, 'INSERT INTO entries VALUES ($1)', [row]);
  const rowsOf = async (server: Postgres) =>
    (await ask(server.url, 'SELECT row FROM entries ORDER BY row')).map(({ row }) => row);
  const name = ({ host, port }: Postgres) => `${host}:${port}`;

  test('the one with more of the log is promoted, and the other follows it', async () => {
    await write(primary, 1);
    await waitUntil('both standbys', async () => (await rowsOf(behind)).length + (await rowsOf(ahead)).length === 2);
    link?.cut();
    await write(primary, 2);
    await waitUntil('the standby that is connected', async () => (await rowsOf(ahead)).length === 2);
    await primary.server.kill('SIGKILL');

    const state = await roles().state('dr', testContext());
    expect(state?.chosen).toMatch(
      new RegExp(
        `^${name(ahead)} has the newest timeline and most of its log \\(timeline 1, .*\\); ${name(behind)}: timeline 1`,
      ),
    );
    expect(await engine.probe('dr', testContext())).toMatchObject({ role: 'replica', writable: false });

    const nothingKnown = { site: 'dr', atLeast: null };
    const { server } = await roles().choose!(nothingKnown, testContext());
    expect(server).toBe(name(ahead));
    const tooMuch = { ...nothingKnown, atLeast: { ...state!.position, value: 'F/0' } };
    await expectFailure(
      roles().choose!(tooMuch, testContext()),
      'PromotionFailed',
      `which one had: ${name(ahead)} has the newest timeline`,
    );
    await expect(roles().choose!({ ...nothingKnown, atLeast: state!.position }, testContext())).resolves.toMatchObject({
      server,
    });

    const how = { how: 'killed', by: 'the test', at: new Date().toISOString() };
    const evidence: FenceEvidence[] = [{ strength: 'proven', site: 'primary', stores: ['orders'], epoch: 1, ...how }];
    const request = { site: 'dr', epoch: 1, evidence };
    await expectFailure(roles().promote({ ...request, server: 'elsewhere:1' }, testContext()), 'NotFound');
    expect(await roles().promote({ ...request, server }, testContext())).toMatchObject({ already: false });
    // A run that began before servers were chosen names none.
    const again = await roles().promote(request, testContext());
    expect(again).toMatchObject({ already: true, chosen: expect.stringContaining(`${name(ahead)} leads already`) });
    expect(await engine.probe('dr', testContext())).toMatchObject({ role: 'primary', writable: true });
    await roles().writeProbe('dr', 'after', testContext());

    const members = await roles().followMembers!({ site: 'dr', epoch: 1 }, testContext());
    expect(members).toEqual([{ server: name(behind), follows: true, how: `it follows ${name(ahead)}` }]);
    await write(ahead, 3);
    await waitUntil('the other server', async () => (await rowsOf(behind)).length === 3);
    expect(await rowsOf(behind)).toEqual([1, 2, 3]);
    // Its slot is made at the new primary, and a repeat finds that there is nothing to do.
    expect((await ask(ahead.url, 'SELECT slot_name, active FROM pg_replication_slots'))[0]).toMatchObject({
      slot_name: 'behind',
      active: true,
    });
    expect(await roles().followMembers!({ site: 'dr', epoch: 1 }, testContext())).toMatchObject([
      { how: 'it follows' },
    ]);
  }, 60_000);

  test('the log is archived at the one that leads', async () => {
    const log = new MemoryLogArchive(engine.log!.naming);
    const request = { site: 'dr', runForMilliseconds: 500, sliceMilliseconds: 100 };
    await engine.log!.archive(request, log, () => undefined, testContext());
    expect(
      (await ask(ahead.url, 'SELECT slot_name FROM pg_replication_slots ORDER BY 1')).map((row) => row['slot_name']),
    ).toEqual(['behind', 'drctl_orders']);
  }, 30_000);

  test('a server that does not answer may be another primary: nobody knows then whether the site takes writes', async () => {
    await ahead.server.kill('SIGKILL');
    const probe = await engine.probe('dr', testContext());
    expect(probe).toMatchObject({ reachable: true, role: 'replica', writable: null });
    expect(probe.problems).toContainEqual(`PostgreSQL at ${name(ahead)} does not answer`);
    // A promotion that is repeated then does not take another one, which would be the second primary.
    const how = { how: 'killed', by: 'the test', at: new Date().toISOString() };
    const evidence: FenceEvidence[] = [{ strength: 'proven', site: 'primary', stores: ['orders'], epoch: 2, ...how }];
    const repeated = roles().promote({ site: 'dr', epoch: 2, evidence, server: name(ahead) }, testContext());
    await expectFailure(repeated, 'PromotionFailed', 'may be a primary by now');
    expect(await ask(behind.url, 'SELECT pg_is_in_recovery() AS standby')).toEqual([{ standby: true }]);
  }, 30_000);
});
