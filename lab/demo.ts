import * as path from 'node:path';
import { parseArgs } from 'node:util';
import type { FailOverStatus } from '../core/role-change-runs';
import type { RestoreStoresResult } from '../core/runs';
import { applicationConfigFile, labDestroy, labDown, labUp, supervisorOf } from './lab';
import { accessTo, type LabAccess } from './demo/access';
import { deleteAllOrders } from './demo/accident';
import { boundWords, lossOf, outageSeconds, phaseSeconds, table } from './demo/measured';
import { claim, ClaimFailed, DemoSession } from './demo/session';
import { compareStores } from './demo/shop-stores';
import { Shoppers } from './demo/shoppers';
import type { OrderComparison } from './load/journal';
import { readLab, type LabDescription } from './sites/lab-folder';
import { STORES } from './sites/build';

const USAGE = `usage: npm run demo -- [--yes] [--keep] [--rate N] [--name NAME]

A shop on two sites of real servers is backed up, damaged, restored to the second before the damage, loses its primary site
and is failed over after an approval. Every claim is checked; the exit code is 0 only when all of them hold.

  --yes         approve the failover without asking
  --keep        leave the lab running at the end, for a look around
  --rate N      orders a second (default 20)
  --name NAME   name of the lab (default demo)`;

interface Options {
  readonly yes: boolean;
  readonly keep: boolean;
  readonly ordersPerSecond: number;
  readonly name: string;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      yes: { type: 'boolean', short: 'y', default: false },
      keep: { type: 'boolean', default: false },
      rate: { type: 'string', default: '20' },
      name: { type: 'string', default: 'demo' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  const options = { yes: values.yes, keep: values.keep, ordersPerSecond: Number(values.rate), name: values.name };
  if (!(options.ordersPerSecond > 0)) throw new ClaimFailed(`--rate is "${values.rate}"; it must be a number above 0`);
  if (readLab(options.name)) await labDestroy({ name: options.name });
  let ended = false;
  try {
    await demo(options);
    ended = true;
  } finally {
    if (!options.keep && readLab(options.name)) await (ended ? labDestroy : labDown)({ name: options.name });
  }
}

async function demo(options: Options): Promise<void> {
  const lab = await labUp({ name: options.name, onProgress: (line) => process.stdout.write(`  ${line}\n`) });
  const session = new DemoSession(applicationConfigFile(lab));
  const shoppers = new Shoppers(lab);
  const access = accessTo(lab);
  session.say(`\nTemporal Web UI: ${lab.temporal.webUi}`);

  session.chapter(`Shoppers place ${options.ordersPerSecond} orders a second; the schedules of the config are applied`);
  await shoppers.start(options.ordersPerSecond);
  await session.drctl('schedules', 'apply');

  session.chapter('Every store is backed up');
  await session.drctl('backup', '--all');
  await session.drctl('backups', 'list');

  const restored = await damageAndRestore(session, shoppers, access, lab);
  const failover = await loseTheSite(session, shoppers, access, lab, options);
  await report(session, restored, failover, lab, options);
}

interface Restored {
  readonly target: Date;
  readonly orders: OrderComparison;
  readonly events: OrderComparison;
  readonly result: RestoreStoresResult;
}

async function damageAndRestore(
  session: DemoSession,
  shoppers: Shoppers,
  access: LabAccess,
  lab: LabDescription,
): Promise<Restored> {
  session.chapter('An accident: all orders are deleted');
  await shoppers.waitForOrders(100, new Date(), 60);
  const accident = await deleteAllOrders(access);
  const target = new Date(accident.sentAt.getTime() - 1_000);
  session.say(
    `${accident.deleted} orders deleted at ${accident.sentAt.toISOString()}; restoring to one second before.`,
  );
  claim(accident.deleted >= 100, 'the accident deleted fewer orders than were placed');

  const into = path.join(lab.folder, 'restore', 'before-the-accident');
  const args = ['restore', '--all', '--to', target.toISOString(), '--into', into, '--yes'];
  session.say(`$ drctl ${args.join(' ')}`);
  const result = await session.ask<RestoreStoresResult>(...args);
  const { orders, events } = await compareStores(access, { restored: result }, await shoppers.journal(), target);
  for (const [store, comparison] of [
    [STORES.postgresql, orders],
    [STORES.mongodb, events],
  ] as const) {
    session.say(
      `  ${store}: ${comparison.confirmed} orders equal the shoppers' journal, ${comparison.missing.length} missing, ` +
        `${comparison.unexpected.length} unexpected, ${comparison.altered.length} altered; in flight at the target: ` +
        `${comparison.inFlightPresent.length} present, ${comparison.inFlightAbsent.length} absent`,
    );
    claim(comparison.ok, `${store} differs from the journal at ${target.toISOString()}`);
    claim(comparison.confirmed > 0, `${store} was compared with nothing`);
  }
  return { target, orders, events, result };
}

interface Failover {
  readonly status: FailOverStatus;
  readonly diedAt: Date;
  readonly lostOrders: ReturnType<typeof lossOf>;
  readonly lostEvents: ReturnType<typeof lossOf>;
  readonly outage: number | null;
}

async function loseTheSite(
  session: DemoSession,
  shoppers: Shoppers,
  access: LabAccess,
  lab: LabDescription,
  options: Options,
): Promise<Failover> {
  session.chapter('The primary site dies: SIGKILL to every process of it');
  const since = new Date();
  await shoppers.waitForOrders(40, since, 60);
  const diedAt = new Date();
  const killed = await supervisorOf(lab).killSite('primary');
  session.say(`${killed.length} processes killed at ${diedAt.toISOString()}.`);

  session.chapter('Failover to the DR site, after an approval');
  const approval = options.yes ? ['--yes', '--by', 'oncall-lead'] : [];
  if (!options.yes) session.say('The approvers of this application are oncall-lead and platform-lead.');
  await session.drctl('failover', 'start', '--to', 'dr', '--reason', 'primary site lost power', ...approval);
  const status = await session.ask<FailOverStatus>('failover', 'status');
  claim(status.outcome === 'completed', `the failover ended as "${status.outcome}"`);

  session.chapter('Orders flow at the DR site');
  await shoppers.waitForOrders(40, diedAt, 60, 'dr');
  await shoppers.stop();
  const journal = await shoppers.journal();
  const { orders, events } = await compareStores(access, { site: 'dr' }, journal, new Date(), { sentSince: since });
  claim(orders.altered.length === 0 && events.altered.length === 0, 'orders were altered by the failover');
  const result = {
    status,
    diedAt,
    lostOrders: lossOf(orders.missing, diedAt),
    lostEvents: lossOf(events.missing, diedAt),
    outage: outageSeconds(journal, diedAt),
  };
  checkLoss(result);
  return result;
}

/** What was lost may not be more than what the approver was shown. */
function checkLoss({ status, lostOrders, lostEvents }: Failover): void {
  const shown = (store: string) => status.card?.losses.find((loss) => loss.store === store);
  const bound = shown(STORES.postgresql);
  claim(
    bound !== undefined && bound.certainty !== 'unknown',
    'the loss of the orders was not measured before the approval',
  );
  const { operations, seconds } = bound;
  claim(
    operations === null || lostOrders.orders.length <= operations,
    `${lostOrders.orders.length} acknowledged orders were lost, more than the ${operations} transactions shown`,
  );
  claim(seconds === null || lostOrders.seconds <= seconds, 'the loss reaches further back than was shown');
  claim(lostEvents.orders.length === 0, `${lostEvents.orders.length} events acknowledged by a majority were lost`);
}

async function report(
  session: DemoSession,
  restored: Restored,
  failover: Failover,
  lab: LabDescription,
  options: Options,
): Promise<void> {
  const { status, lostOrders, lostEvents, outage } = failover;
  const shown = (store: string) => boundWords(status.card?.losses.find((loss) => loss.store === store));
  const verifiedAt = status.steps
    .filter((step) => step.id.startsWith('verify:'))
    .map((step) => Date.parse(step.finishedAt ?? ''));
  const approvalToVerified = (Math.max(...verifiedAt) - Date.parse(status.approvedAt ?? '')) / 1_000;
  claim(
    approvalToVerified <= 30,
    `from approval to verified service took ${approvalToVerified.toFixed(1)} s, more than 30 s`,
  );
  const { rtoSeconds = 0, rpoSeconds = 0 } = status.card ?? {};

  session.chapter('What was measured');
  const rows = [
    ['store', 'restored', 'took', 'lost by failover (RPO)', 'shown before approval'],
    ...restored.result.stores.map(({ store, plan, seconds }) => [
      store,
      plan.reaches.exact ? `to ${restored.target.toISOString()}` : `nearest backup, ${plan.reaches.time}`,
      `${seconds.toFixed(1)} s`,
      store === STORES.postgresql
        ? `${lostOrders.orders.length} orders, ${lostOrders.seconds.toFixed(1)} s`
        : store === STORES.mongodb
          ? `${lostEvents.orders.length} events`
          : '',
      status.card?.losses.some((loss) => loss.store === store) ? shown(store) : '',
    ]),
  ];
  for (const line of table(rows)) session.say(line);
  session.say('');
  for (const line of table([
    ['failover step', 'seconds'],
    ...phaseSeconds(status).map(({ title, seconds }) => [title, seconds.toFixed(1)]),
  ])) {
    session.say(line);
  }
  session.say('');
  session.say(
    `  approval to verified service: ${approvalToVerified.toFixed(1)} s (aim 30 s, RTO ${rtoSeconds / 3_600} h)`,
  );
  session.say(
    `  no order was acknowledged for ${outage?.toFixed(1) ?? 'an unknown number of'} s, decision time included`,
  );
  session.say(`  RPO objective ${rpoSeconds / 60} min`);
  const link = (id: string) => `${lab.temporal.webUi}/namespaces/default/workflows/${encodeURIComponent(id)}`;
  session.say(`\n  Web UI of the failover: ${link('role-change:ultramarket')}`);
  if (options.keep) {
    session.say(`\nThe lab runs on. Use it with: export DRCTL_CONFIG=${session.config}`);
    session.say(`End it with: ./drctl lab destroy --name ${options.name}`);
  }
  session.say('\nEvery claim held.');
}

main().catch((error: unknown) => {
  const reason = error instanceof ClaimFailed ? error.message : ((error as Error).stack ?? String(error));
  process.stderr.write(`\nThe demo failed: ${reason}\n`);
  process.exitCode = 1;
});
