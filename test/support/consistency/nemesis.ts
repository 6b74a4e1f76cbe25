import { setTimeout as delay } from 'node:timers/promises';
import { descendants, isAlive, type ProcessIdentity } from '../../../lab/servers/process-tree';
import { temporalReady } from '../../../lab/servers/temporal';
import type { E2eLab } from '../e2e-lab';
import type { SeededRandom } from '../random';
import type { SiteLinks } from './site-links';

/** What happens to the active site. */
export const FAULTS = ['killed', 'frozen', 'partitioned', 'aborted', 'partitioned from its agent, too'] as const;
export type Fault = (typeof FAULTS)[number];

/** Activities of a failover that change something, in the order of the runbook. */
const MOMENTS = ['takeEpoch', 'fenceSite', 'fenceStore', 'promoteStore', 'startService', 'pointDns', 'verifyEndpoint'];

export interface Plan {
  readonly round: number;
  readonly fault: Fault;
  /** How late replication is while everything is well: what is on its way is lost with its primary. */
  readonly delayMs: number;
  /** Who is killed during the failover, when: in the order of the runbook. */
  readonly kills: readonly {
    readonly moment: string;
    readonly victim: 'worker' | 'temporal';
    readonly afterMs: number;
  }[];
  /** When a stopped primary goes on, or a partition heals. */
  readonly wakes: string;
}

const MOST_DELAY_MILLISECONDS = 150;
const AFTER_MILLISECONDS = 300;

/** Every fault in turn; what else happens is the seed's. */
export function plannedRounds(random: SeededRandom, count: number): Plan[] {
  return Array.from({ length: count }, (_, index) => {
    // The first round, which every `npm test` does, is the shortest: each kill costs its failover some ten seconds.
    const moments = random.shuffled(MOMENTS).slice(0, index === 0 ? 1 : 1 + random.integer(3));
    return {
      round: index + 1,
      fault: FAULTS[index % FAULTS.length] as Fault,
      delayMs: random.integer(MOST_DELAY_MILLISECONDS),
      kills: MOMENTS.filter((moment) => moments.includes(moment)).map((moment) => ({
        moment,
        victim: random.pick(['worker', 'worker', 'temporal'] as const),
        afterMs: random.integer(AFTER_MILLISECONDS),
      })),
      wakes: random.pick(MOMENTS),
    };
  });
}

/** Does to one lab what a plan says, and undoes what can be undone. */
export class Nemesis {
  private readonly e2e: E2eLab;
  private readonly links: SiteLinks;
  private readonly plan: Plan;
  private readonly say: (line: string) => void;
  private frozen: ProcessIdentity[] = [];

  constructor(e2e: E2eLab, links: SiteLinks, plan: Plan, say: (line: string) => void) {
    this.e2e = e2e;
    this.links = links;
    this.plan = plan;
    this.say = say;
  }

  lag(): void {
    for (const link of [this.links.postgresql, this.links.redis]) link.delayMs = this.plan.delayMs;
  }

  async strike(): Promise<void> {
    const { fault } = this.plan;
    this.say(`the site primary is ${fault}`);
    if (fault === 'killed') {
      // With what is on its way: a network does not deliver what its sender cannot send again.
      for (const link of [this.links.postgresql, this.links.redis]) link.cut();
      await this.e2e.supervisor.killSite('primary');
    } else if (fault === 'frozen') {
      await this.freeze(/^(postgresql|redis|mongodb)-/);
    } else {
      for (const link of [this.links.postgresql, this.links.redis]) link.silence();
      if (fault === 'partitioned from its agent, too') this.links.agent.cut();
      // Cut off from the others as far as those can see; the rest of the site goes on.
      await this.freeze(/^mongodb-/);
    }
  }

  /** The old primary goes on where it stopped and believes that it leads; the network lets everything through. */
  heal(): void {
    for (const process of this.frozen.toReversed()) if (isAlive(process)) signal(process, 'SIGCONT');
    this.frozen = [];
    for (const link of [this.links.postgresql, this.links.redis, this.links.agent]) {
      link.delayMs = 0;
      link.heal();
    }
  }

  async kill(victim: 'worker' | 'temporal'): Promise<void> {
    if (victim === 'worker') return this.e2e.killWorker('dr');
    await this.e2e.supervisor.kill('temporal');
    await this.e2e.supervisor.start('temporal');
    await temporalReady(this.e2e.access.plan.temporal);
  }

  /** Kills at the plan's moments and wakes at its own; resolves when all is done or the run is over. */
  async haunt(workflowId: string, over: AbortSignal): Promise<void> {
    const { kills, fault } = this.plan;
    const healing = async () => {
      // Without its agent the old site cannot be fenced: that one heals when a person is asked.
      if (fault === 'killed' || fault === 'partitioned from its agent, too') return;
      const wakes = fault === 'aborted' ? 'giveBackEpoch' : this.plan.wakes;
      if (!(await this.begun(workflowId, wakes, over))) return;
      this.say(`${wakes} has begun: what was stopped goes on`);
      this.heal();
    };
    const aborting = async () => {
      if (fault !== 'aborted' || !(await this.begun(workflowId, 'takeEpoch', over))) return;
      // As a signal, which needs no worker: the one that runs may be killed now.
      await this.e2e.handle(workflowId).signal('abort', { by: 'platform-lead', reason: 'the site is back' });
      this.say('aborted');
    };
    const killing = async () => {
      for (const { moment, victim, afterMs } of kills) {
        if (!(await this.begun(workflowId, moment, over))) return;
        await delay(afterMs);
        this.say(`${afterMs} ms after ${moment} began: the ${victim} is killed`);
        await this.kill(victim);
      }
    };
    await Promise.all([healing(), aborting(), killing()]);
  }

  /** Every process of the programs, parents first, so that none forks unseen. */
  private async freeze(names: RegExp): Promise<void> {
    const programs = (await this.e2e.supervisor.processes()).filter(
      ({ name, site, kind }) => site === 'primary' && kind === 'store' && names.test(name),
    );
    for (const { pid } of programs) {
      if (pid === null) continue;
      process.kill(pid, 'SIGSTOP');
      const below = descendants(pid);
      for (const each of below) if (isAlive(each)) signal(each, 'SIGSTOP');
      this.frozen.push(...below);
    }
  }

  private async begun(workflowId: string, type: string, over: AbortSignal): Promise<boolean> {
    for (; !over.aborted; await delay(30)) {
      try {
        const { events } = await this.e2e.handle(workflowId).fetchHistory();
        if (events?.some((each) => each.activityTaskScheduledEventAttributes?.activityType?.name === type)) return true;
      } catch {
        await delay(300); // Temporal was killed; it is back soon, or the round ends
      }
    }
    return false;
  }
}

function signal({ pid }: ProcessIdentity, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has ended meanwhile
  }
}
