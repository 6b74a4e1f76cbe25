import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import type { OpenApplication } from '../../activities/deps';
import { createDnsActivities } from '../../activities/dns';
import { createDrillNameActivities } from '../../activities/drill-name';
import { createTrafficActivities } from '../../activities/traffic';
import { createEpochs } from '../../adapters/catalog/epochs';
import { createRepository } from '../../adapters/repository';
import { createPublicProbe } from '../../adapters/traffic';
import type { DnsTarget } from '../../core/application';
import { layout } from '../../core/layout';
import type { DnsZone } from '../../core/traffic';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { inActivity } from '../support/in-activity';
import { shop } from '../support/shop-application';
import { type ServedZone, serveZone } from '../support/route53-zone';
import { waitUntil } from '../support/servers';

/** The DNS steps of a role change against real DNS servers: two authoritative ones, of which one is late, and a resolver. */
const LATE_MS = 1_000;
const TTL_SECONDS = 6;
const ctx = testContext();

const target = (name: string, type: DnsTarget['type'], primary: string[], dr: string[]): DnsTarget => ({
  name: `${name}.shop.test`,
  type,
  ttlSeconds: TTL_SECONDS,
  valuesBySite: { primary, dr },
});
const A = target('api', 'A', ['10.0.1.100'], ['10.0.2.100', '10.0.2.101']);
const AAAA = target('api', 'AAAA', ['2001:DB8::1'], ['2001:db8:0:0::2']);
const CNAME = target('www', 'CNAME', ['edge.primary.example.net'], ['api.shop.test']);

let hosting: ServedZone;
let folder: string;
let zone: DnsZone;
let open: OpenApplication;
let resolver: string;
const activities = () => createDnsActivities({ site: 'dr', hostId: 'h1', open: () => open });
const step = (of: DnsTarget, epoch: number) => ({ application: shop.name, target: of, epoch });
const pointTo = (site: string, of: DnsTarget, epoch: number) =>
  inActivity(() => activities().pointDns({ ...step(of, epoch), site }));
const takeEpoch = async (epoch: number, activeSite: string) =>
  open.epochs.take({
    epoch,
    activeSite,
    previousSite: null,
    takenAt: new Date().toISOString(),
    reason: 'test',
    workflowId: 'role-change:shop',
    runId: `run-${epoch}`,
    approvedBy: 'dana',
  });
const everywhere = async ({ name, type }: DnsTarget) => {
  const answers = await open.probe.authoritative(name, type, ctx);
  return [...new Set(answers.map(({ values, ttlSeconds }) => `${values.join()} ${ttlSeconds}`))].join('; ');
};

beforeAll(async () => {
  hosting = await serveZone('shop.test', [0, LATE_MS]);
  ({ zone, resolver } = hosting);
});

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-dns-'));
  const control = createRepository('control', { kind: 'local', directory: folder, prefix: '' }, shop.name);
  open = {
    application: { ...shop, dns: [A, AAAA, CNAME] },
    zone,
    probe: createPublicProbe({ nameServers: [...hosting.nameServers], resolvers: [resolver], queryTimeoutSeconds: 1 }),
    control,
    epochs: createEpochs(control),
  } as unknown as OpenApplication;
  for (const each of [A, AAAA, CNAME]) {
    const { name, type, ttlSeconds, valuesBySite } = each;
    await zone.upsert({ name, type, ttlSeconds, values: valuesBySite['primary'] ?? [] }, ctx);
  }
  await waitUntil('every server naming the primary', async () => (await everywhere(A)) === `10.0.1.100 ${TTL_SECONDS}`);
});
afterEach(() => fs.rm(folder, { recursive: true, force: true }));
afterAll(() => hosting?.stop());

test('A, AAAA and CNAME move at once; a resolver that answers from its cache is reported apart and holds up nothing', async () => {
  await takeEpoch(1, 'dr');
  const look = async () => inActivity(() => activities().lookAtDns(step(A, 1)));
  const cached = await look();
  expect(cached.resolvers).toEqual([
    { server: resolver, values: ['10.0.1.100'], ttlSeconds: TTL_SECONDS, problem: null },
  ]);

  const [a, aaaa, cname] = await Promise.all([A, AAAA, CNAME].map((each) => pointTo('dr', each, 1)));
  expect(a?.answers.map(({ server, values }) => [server, values])).toEqual(
    hosting.nameServers.map((server) => [server, ['10.0.2.100', '10.0.2.101']]),
  );
  expect(aaaa?.answers.map(({ values }) => values)).toEqual([['2001:db8::2'], ['2001:db8::2']]);
  expect(cname?.answers.map(({ values }) => values)).toEqual([['api.shop.test'], ['api.shop.test']]);
  for (const moved of [a, aaaa, cname]) {
    expect(moved).toMatchObject({ previousTtlSeconds: TTL_SECONDS });
    expect(Date.parse(moved!.staleUntil) - Date.parse(moved!.changedAt)).toBe(TTL_SECONDS * 1_000);
  }

  // Every authoritative server has the new address, and the resolver is right to give the old one until its TTL is over.
  const { authoritative, resolvers } = await look();
  expect(authoritative.map(({ values }) => values[0])).toEqual(['10.0.2.100', '10.0.2.100']);
  expect(resolvers).toMatchObject([{ server: resolver, values: ['10.0.1.100'], problem: null }]);
  await waitUntil('the resolver asking again', async () => (await look()).resolvers[0]?.values[0] === '10.0.2.100');
  expect(Date.now()).toBeLessThan(Date.parse(a!.staleUntil) + 1_000);

  const again = await pointTo('dr', A, 1);
  expect(again).toMatchObject({ previousTtlSeconds: null });
  expect(Date.parse(again.staleUntil) - Date.parse(again.changedAt)).toBe(TTL_SECONDS * 1_000);
}, 60_000);

test('an endpoint behind a CNAME is at the new site by the name on the way, and by an address in another notation', async () => {
  const served = (address: string, aliases: string[]) => ({
    url: 'http://www.shop.test/',
    method: 'GET',
    ok: true,
    status: 200,
    milliseconds: 1,
    address,
    problem: null,
    aliases,
  });
  const verify = (answer: object, expectAddresses: string[]) => {
    open = { ...open, probe: { ...open.probe, endpoint: async () => answer } } as OpenApplication;
    const check = { url: 'http://www.shop.test/', method: 'GET' as const, expectStatus: 200, timeoutMilliseconds: 1 };
    const traffic = createTrafficActivities({ site: 'dr', hostId: 'h1', open: () => open });
    return inActivity(() => traffic.verifyEndpoint({ application: shop.name, check, expectAddresses }));
  };
  await expect(verify(served('10.9.9.9', ['Edge.DR.example.net.']), ['edge.dr.example.net'])).resolves.toBeDefined();
  await expect(verify(served('2001:db8::2', []), ['2001:DB8:0:0::2'])).resolves.toBeDefined();
  await expectFailure(
    verify(served('10.0.1.100', ['edge.primary.example.net']), ['edge.dr.example.net']),
    'TrafficNotSwitched',
    'still served by 10.0.1.100',
  );
});

test('a step of an older role change moves nothing', async () => {
  await takeEpoch(1, 'dr');
  await takeEpoch(2, 'primary');
  await expectFailure(pointTo('dr', A, 1), 'StaleEpoch', 'epoch 1');
  await expectFailure(
    inActivity(() => activities().lookAtDns(step(A, 1))),
    'StaleEpoch',
    'epoch 1',
  );
  expect((await zone.record(A.name, 'A', ctx))?.values).toEqual(['10.0.1.100']);
});

test('a record that somebody writes back while it moves is set again', async () => {
  await takeEpoch(1, 'dr');
  const moving = pointTo('dr', A, 1);
  await waitUntil('the new record', async () => (await zone.record(A.name, 'A', ctx))?.values[0] === '10.0.2.100', {
    intervalMs: 10,
  });
  await zone.upsert({ name: A.name, type: 'A', ttlSeconds: TTL_SECONDS, values: ['10.0.1.100'] }, ctx);
  const { answers } = await moving;
  expect(answers.map(({ values }) => values[0])).toEqual(['10.0.2.100', '10.0.2.100']);
  expect((await zone.record(A.name, 'A', ctx))?.values).toEqual(['10.0.2.100', '10.0.2.101']);
}, 60_000);

test('a TTL is lowered before a move, kept low by it, and restored to what it was, whatever is repeated', async () => {
  const lower = (ttlSeconds: number) =>
    inActivity(() => activities().lowerTtl({ ...step(A, 0), ttlSeconds, by: 'sam' }));
  await expectFailure(lower(TTL_SECONDS), 'UsageInvalid', '6 s is not lower');
  const lowered = await lower(2);
  expect(lowered).toMatchObject({ name: A.name, previousTtlSeconds: TTL_SECONDS, ttlSeconds: 2, by: 'sam' });
  expect(await everywhere(A)).toBe('10.0.1.100 2');
  // Nobody may hold the old answer for longer than the old TTL, counted from when the last name server had the new one.
  expect(Date.parse(lowered.effectiveAt ?? '') - Date.now()).toBeGreaterThan((TTL_SECONDS - 1) * 1_000);
  await expect(lower(2)).resolves.toEqual(lowered);
  await expect(lower(1)).resolves.toMatchObject({ previousTtlSeconds: TTL_SECONDS, ttlSeconds: 1 });
  expect(JSON.parse((await open.control.read(layout.loweredTtl(A.name, 'A'))).toString())).toMatchObject({
    previousTtlSeconds: TTL_SECONDS,
    ttlSeconds: 1,
  });

  await takeEpoch(1, 'dr');
  const moved = await pointTo('dr', A, 1);
  expect(await everywhere(A)).toBe('10.0.2.100,10.0.2.101 1');
  expect(moved.previousTtlSeconds).toBe(1);
  expect(Date.parse(moved.staleUntil)).toBeGreaterThanOrEqual(Date.parse(lowered.loweredAt) + TTL_SECONDS * 1_000);

  const restore = (epoch: number) => inActivity(() => activities().restoreTtl(step(A, epoch)));
  await expectFailure(restore(0), 'StaleEpoch', 'epoch 0');
  expect(await everywhere(A)).toBe('10.0.2.100,10.0.2.101 1');
  await expect(restore(1)).resolves.toMatchObject({ previousTtlSeconds: TTL_SECONDS });
  expect(await everywhere(A)).toBe(`10.0.2.100,10.0.2.101 ${TTL_SECONDS}`);
  await expect(restore(1)).resolves.toBeNull();
}, 60_000);

test('a TTL is not touched while the zone says something else than the config', async () => {
  await zone.upsert({ name: A.name, type: 'A', ttlSeconds: TTL_SECONDS, values: ['10.0.9.9'] }, ctx);
  const lowering = inActivity(() => activities().lowerTtl({ ...step(A, 0), ttlSeconds: 1, by: 'sam' }));
  await expectFailure(lowering, 'RoleMismatch', '10.0.9.9');
  expect(await zone.record(A.name, 'A', ctx)).toMatchObject({ ttlSeconds: TTL_SECONDS, values: ['10.0.9.9'] });
  await expect(inActivity(() => activities().restoreTtl(step(A, 0)))).resolves.toBeNull();
});

test('the isolated name of a drill is made, moved and removed; a record that no drill made is refused, and no other is touched', async () => {
  const drill = createDrillNameActivities({ site: 'dr', hostId: 'h1', open: () => open });
  const application = shop.name;
  const { name, type } = shop.drill.name!;
  const answers = async () => (await open.probe.authoritative(name, type, ctx)).map(({ values }) => values.join());
  const before = await everywhere(A);
  await inActivity(() => drill.pointDrillName({ application, to: 'before' }));
  expect(await answers()).toEqual(['192.0.2.1', '192.0.2.1']);
  const { seconds } = await inActivity(() => drill.pointDrillName({ application, to: 'values' }));
  expect(await answers()).toEqual(['10.0.4.100', '10.0.4.100']);
  expect(seconds).toBeGreaterThan(LATE_MS / 2_000);
  await inActivity(() => drill.withdrawDrillName({ application }));
  expect(await zone.record(name, type, ctx)).toBeNull();
  const absent = await open.probe.authoritative(name, type, ctx);
  expect(absent.map(({ problem }) => problem)).toEqual([
    expect.stringMatching(/NXDOMAIN/),
    expect.stringMatching(/NXDOMAIN/),
  ]);
  await inActivity(() => drill.withdrawDrillName({ application }));

  await zone.upsert({ name, type, ttlSeconds: 5, values: ['10.7.7.7'] }, ctx);
  for (const work of [
    () => drill.pointDrillName({ application, to: 'before' as const }),
    () => drill.withdrawDrillName({ application }),
  ])
    await expectFailure(inActivity<unknown>(work), 'TargetNotEmpty', '10.7.7.7, which no drill has put there');
  expect(await zone.record(name, type, ctx)).toMatchObject({ values: ['10.7.7.7'] });
  expect(await everywhere(A)).toBe(before);
});
