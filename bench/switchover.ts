import type { FailOverResult, FailOverStatus } from '../core/role-change-runs';
import { accessTo } from '../lab/demo/access';
import { compareStores } from '../lab/demo/shop-stores';
import { phaseSeconds } from '../lab/demo/measured';
import { Shoppers } from '../lab/demo/shoppers';
import type { BenchContext } from './bench';
import { figure, type Figure } from './figure';
import { withLab } from './lab';
import { orchestrationFigure, orchestrationMilliseconds } from './orchestration';
import { StepTimes } from './step-times';

/** Issue "Failover and switchover as proof": the write outage, with zero loss. */
const OUTAGE_AIM_SECONDS = 10;
const ORDERS_PER_SECOND = 20;
/** Orders before and after the move, so that both sides of the outage are known. */
const ORDERS = 60;

interface Move {
  /** Between the last order that was acknowledged at the old site and the first at the new one. */
  readonly writeOutage: number;
  /** From the first service that was stopped to the verified service, by the report. */
  readonly stoppedToVerified: number;
  readonly lost: number;
  readonly phases: ReturnType<typeof phaseSeconds>;
  readonly orchestration: readonly number[];
}

/** Planned moves under load: how long nobody could order, and whether anything that was acknowledged is not there. */
export async function switchovers({ rounds, say }: BenchContext): Promise<Figure[]> {
  const moves: Move[] = [];
  const steps = new StepTimes('switchover');
  for (let round = 1; round <= rounds; round += 1) {
    const move = await switchOverOnce(say);
    say(`  round ${round}: nobody could order for ${move.writeOutage.toFixed(1)} s, ${move.lost} orders lost`);
    moves.push(move);
    steps.add(move.phases);
  }
  const values = (of: (move: Move) => number) => moves.map(of);
  return [
    figure({
      ...{ name: 'switchover: write outage', unit: 's', aim: { valueAtMost: OUTAGE_AIM_SECONDS } },
      values: values(({ writeOutage }) => writeOutage),
      note: 'last order acknowledged at the old site to the first at the new one; clients remember an address for a second',
    }),
    figure({
      ...{ name: 'switchover: acknowledged orders lost', unit: 'orders', aim: { valueAtMost: 0 } },
      // A median would hide the one round that lost something.
      values: [Math.max(...values(({ lost }) => lost))],
      note: 'the most of all rounds',
    }),
    figure({
      ...{ name: 'switchover: services stopped to verified service', unit: 's' },
      values: values(({ stoppedToVerified }) => stoppedToVerified),
    }),
    orchestrationFigure(
      'switchover',
      moves.flatMap(({ orchestration }) => orchestration),
    ),
    ...steps.figures(),
  ];
}

async function switchOverOnce(say: (line: string) => void): Promise<Move> {
  return withLab(say, async ({ lab, drctl }) => {
    const shoppers = new Shoppers(lab);
    await shoppers.start(ORDERS_PER_SECOND);
    await drctl('schedules', 'apply');
    const since = new Date();
    await shoppers.waitForOrders(ORDERS, since, 60, 'primary');
    const start = ['switchover', 'start', '--to', 'dr', '--reason', 'benchmark', '--yes', '--by', 'oncall-lead'];
    const { outcome, switchover } = await drctl<FailOverResult>(...start);
    if (outcome !== 'completed' || !switchover?.stoppedAt) throw new Error(`the switchover ended as "${outcome}"`);
    await shoppers.waitForOrders(ORDERS, new Date(), 60, 'dr');
    await shoppers.stop();
    const journal = await shoppers.journal();
    const now = new Date();
    const { orders } = await compareStores(accessTo(lab), { site: 'dr' }, journal, now, { sentSince: since });
    const { missing, confirmed } = orders;
    if (confirmed < ORDERS) throw new Error(`only ${confirmed} orders could be compared`);
    const acknowledged = [...journal.orders.values()].flatMap((order) => order.acknowledged ?? []);
    const times = (site: string) => acknowledged.filter((each) => each.site === site).map(({ atMs }) => atMs);
    return {
      writeOutage: (Math.min(...times('dr')) - Math.max(...times('primary'))) / 1_000,
      stoppedToVerified: switchover.outageSeconds ?? Number.NaN,
      lost: missing.length,
      phases: phaseSeconds(await drctl<FailOverStatus>('switchover', 'status')),
      orchestration: await orchestrationMilliseconds(lab.temporal.address),
    };
  });
}
