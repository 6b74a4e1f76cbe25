import { descendants, isAlive, type ProcessIdentity } from '../../../lab/servers/process-tree';
import { type E2eLab, waitUntil } from '../e2e-lab';
import type { SeededRandom } from '../random';
import { carryOut, hasBegun, type Kill, KillDealer, STEPS } from './kills';
import { replicationLinks, type SiteLinks } from './site-links';

/** What happens to the active site. */
const FAULTS = ['killed', 'frozen', 'partitioned', 'aborted', 'partitioned from its agent, too'] as const;
export type Fault = (typeof FAULTS)[number];

/** Activities after the approval, by which what was stopped may wake up. */
const WAKING = ['takeEpoch', 'fenceSite', 'fenceStore', 'promoteStore', 'startService', 'pointDns', 'verifyEndpoint'];

export interface Plan {
  readonly round: number;
  readonly fault: Fault;
  /** How late replication is while everything is well: what is on its way is lost with its primary. */
  readonly delayMs: number;
  /** Who is killed during the failover, when: in the order of the runbook. */
  readonly kills: readonly Kill[];
  /** When a stopped primary goes on, or a partition heals. */
  readonly wakes: string;
}

const MOST_DELAY_MILLISECONDS = 150;
/** So that of the two standbys it is always the same that has more: the clients know that one as the new primary. */
const SECOND_STANDBY_LATER_MILLISECONDS = 200;
/** Each costs its failover some ten seconds. */
const MOST_KILLS = 4;

/**
 * Every fault in turn; what else happens is the seed's. Twenty rounds kill the worker and Temporal at every step of a failover
 * (`test/unit/consistency-kills.test.ts`).
 */
export function plannedRounds(random: SeededRandom, count: number): Plan[] {
  const dealer = new KillDealer(random);
  return Array.from({ length: count }, (_, index) => {
    const fault = FAULTS[index % FAULTS.length] as Fault;
    return {
      round: index + 1,
      fault,
      delayMs: random.integer(MOST_DELAY_MILLISECONDS),
      // The first round, which every `npm test` does, is the shortest.
      kills: dealer.deal(fault === 'aborted' ? STEPS.abortedFailover : STEPS.failover, index === 0 ? 1 : MOST_KILLS),
      wakes: random.pick(WAKING),
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
    for (const link of replicationLinks(this.links)) link.delayMs = this.plan.delayMs;
    this.links.secondStandby.delayMs += SECOND_STANDBY_LATER_MILLISECONDS;
  }

  async strike(): Promise<void> {
    const { fault } = this.plan;
    this.say(`the site primary is ${fault}`);
    if (fault === 'killed') {
      // With what is on its way: a network does not deliver what its sender cannot send again.
      for (const link of replicationLinks(this.links)) link.cut();
      await this.e2e.supervisor.killSite('primary');
    } else if (fault === 'frozen') {
      await this.freeze(/^(postgresql|redis|mongodb)-/);
    } else {
      for (const link of replicationLinks(this.links)) link.silence();
      if (fault === 'partitioned from its agent, too') this.links.agent.cut();
    }
  }

  /** The old primary goes on where it stopped and believes that it leads; the network lets everything through. */
  heal(): void {
    for (const process of this.frozen.toReversed()) if (isAlive(process)) signal(process, 'SIGCONT');
    this.frozen = [];
    for (const link of [...replicationLinks(this.links), this.links.agent]) {
      link.delayMs = 0;
      link.heal();
    }
  }

  /** Kills at the plan's moments and wakes at its own; resolves when all is done or the run is over. */
  async haunt(workflowId: string, over: AbortSignal): Promise<void> {
    const { kills, fault } = this.plan;
    const healing = async () => {
      // Without its agent the old site cannot be fenced: that one heals when a person is asked.
      if (fault === 'killed' || fault === 'partitioned from its agent, too') return;
      const wakes = fault === 'aborted' ? 'giveBackEpoch' : this.plan.wakes;
      if (!(await hasBegun(this.e2e, workflowId, wakes, over))) return;
      this.say(`${wakes} has begun: what was stopped goes on`);
      this.heal();
    };
    const aborting = async () => {
      if (fault !== 'aborted' || !(await hasBegun(this.e2e, workflowId, 'takeEpoch', over))) return;
      // As a signal, which needs no worker: the one that runs may be killed now. So may Temporal, which is asked again then.
      const aborted = async () =>
        this.e2e
          .handle(workflowId)
          .signal('abort', { by: 'platform-lead', reason: 'the site is back' })
          .then(
            () => true,
            () => over.aborted,
          );
      await waitUntil('the abort being taken', aborted, { deadlineMs: 60_000 });
      this.say('aborted');
    };
    const killing = carryOut(this.e2e, { workflowId, kills, site: 'dr' }, over, this.say);
    await Promise.all([healing(), aborting(), killing]);
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
}

function signal({ pid }: ProcessIdentity, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has ended meanwhile
  }
}
