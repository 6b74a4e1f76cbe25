import type { FailOverStatus } from '../core/role-change-runs';
import { phaseSeconds } from '../lab/demo/measured';
import { Shoppers } from '../lab/demo/shoppers';
import { supervisorOf } from '../lab/lab';
import type { Bench, BenchContext } from './bench';
import { figure, type Figure } from './figure';
import { withLab } from './lab';
import { orchestrationFigure, orchestrationMilliseconds } from './orchestration';
import { StepTimes } from './step-times';
import { switchovers } from './switchover';

/** Issue "Failover and switchover as proof": from the approval to the verified service. */
const AIM_SECONDS = 15;
const ORDERS_PER_SECOND = 20;
/** Orders under way before the site dies, so that something can be lost. */
const ORDERS_BEFORE = 60;

const PARTS = { failover: unplanned, switchover: switchovers } as const;

export const failover: Bench = {
  summary: 'a failover under load after the primary site was killed, and a planned switchover under load, step by step',
  parts: Object.keys(PARTS),
  async run(context) {
    const figures: Figure[] = [];
    for (const [part, measure] of Object.entries(PARTS)) {
      if (context.parts.includes(part)) figures.push(...(await measure(context)));
    }
    return figures;
  },
};

async function unplanned({ rounds, say }: BenchContext): Promise<Figure[]> {
  const whole: number[] = [];
  const steps = new StepTimes('failover');
  const added: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const { seconds, phases, orchestration } = await failOverOnce(say);
    say(`  round ${round}: ${seconds.toFixed(1)} s from approval to verified service`);
    whole.push(seconds);
    steps.add(phases);
    added.push(...orchestration);
  }
  return [
    figure({ name: 'approval to verified service', unit: 's', values: whole, aim: { valueAtMost: AIM_SECONDS } }),
    orchestrationFigure('failover', added),
    ...steps.figures(),
  ];
}

/** Each round in a lab of its own: a failover cannot be taken back in seconds. */
async function failOverOnce(say: (line: string) => void): Promise<{
  readonly seconds: number;
  readonly phases: ReturnType<typeof phaseSeconds>;
  readonly orchestration: readonly number[];
}> {
  return withLab(say, async ({ lab, drctl }) => {
    const shoppers = new Shoppers(lab);
    await shoppers.start(ORDERS_PER_SECOND);
    await drctl('schedules', 'apply');
    await shoppers.waitForOrders(ORDERS_BEFORE, new Date(), 60);
    await supervisorOf(lab).killSite('primary');
    await drctl('failover', 'start', '--to', 'dr', '--reason', 'benchmark', '--yes', '--by', 'oncall-lead');
    const status = await drctl<FailOverStatus>('failover', 'status');
    if (status.outcome !== 'completed') throw new Error(`the failover ended as "${status.outcome}"`);
    const verified = status.steps
      .filter(({ id }) => id.startsWith('verify:'))
      .map(({ finishedAt }) => finishedAt ?? '');
    if (verified.length === 0) throw new Error('no endpoint was verified');
    const seconds =
      (Math.max(...verified.map((time) => Date.parse(time))) - Date.parse(status.approvedAt ?? '')) / 1_000;
    const orchestration = await orchestrationMilliseconds(lab.temporal.address);
    return { seconds, phases: phaseSeconds(status), orchestration };
  });
}
