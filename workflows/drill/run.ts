import { workflowInfo } from '@temporalio/workflow';
import type { StoreRestore } from '../../activities/restore';
import type { Application } from '../../core/application';
import type { DrillStage, HostAndPort } from '../../core/drill';
import type { ComponentRecovery, IsolationEvidence, MeasuredSpeed, StageResult } from '../../core/drill-judgements';
import type { DrillInput } from '../../core/drill-runs';
import { failure, reasonOf } from '../../core/errors';
import type { RestoredStore } from '../../core/recovery';
import type { Command } from '../../core/runs';
import type { EndpointResult } from '../../core/traffic';
import { onHost } from '../proxies';
import { type StepTable, wasCancelled } from '../step-table';

/** A store that the drill restores; `restored` once it was. */
export interface Copy {
  readonly restore: StoreRestore;
  restored: RestoredStore | null;
}

/** What a stage came to: what it found, or why it was left out. `gap`: there is something to rehearse, and the config has no place for it. */
export type Found = string | { readonly leftOut: string; readonly gap: boolean };

/** What the stages of one drill share. */
export class DrillRun {
  readonly input: DrillInput;
  readonly app: Application;
  /** Where it is held: the site that would take over. */
  readonly site: string;
  readonly steps: StepTable;
  readonly drillId: string;
  readonly hostQueue: string;
  /** The public records as they were before. */
  readonly production: readonly string[];
  readonly copies = new Map<string, Copy>();
  readonly stages: StageResult[] = [];
  readonly warnings: string[] = [];
  /** What may be there and has to be taken away; set before it is made. */
  readonly made = { name: false, bubble: false };
  isolation: IsolationEvidence | null = null;
  speeds: readonly MeasuredSpeed[] = [];
  recoveries: readonly ComponentRecovery[] = [];
  endpoints: readonly EndpointResult[] = [];

  constructor(from: Pick<DrillRun, 'input' | 'app' | 'site' | 'steps' | 'drillId' | 'hostQueue' | 'production'>) {
    this.input = from.input;
    this.app = from.app;
    this.site = from.site;
    this.steps = from.steps;
    this.drillId = from.drillId;
    this.hostQueue = from.hostQueue;
    this.production = from.production;
  }

  get host(): ReturnType<typeof onHost> {
    return onHost(this.hostQueue);
  }

  /** Where the copies that have a server are. */
  get servers(): Record<string, HostAndPort> {
    return Object.fromEntries(
      [...this.copies].flatMap(([store, { restored }]) => (restored?.address ? [[store, restored.address]] : [])),
    );
  }

  held(stage: DrillStage): boolean {
    return this.stages.some((each) => each.stage === stage && each.state === 'held');
  }

  /** One that fails stops none of those after it: they find out more. A cancellation stops the drill. */
  async stage(stage: DrillStage, work: () => Promise<Found>): Promise<void> {
    const decided = this.app.drill.without.includes(stage);
    if (decided || this.input.without?.includes(stage)) {
      const note = decided ? 'the config leaves it out' : 'it was asked to be left out';
      this.stages.push({ stage, state: 'left out', note, seconds: 0, ...(decided ? {} : { gap: true }) });
      return;
    }
    this.steps.enter(stage);
    const beganAt = Date.now();
    const ended = (state: StageResult['state'], note: string, gap = false) =>
      this.stages.push({ stage, state, note, seconds: (Date.now() - beganAt) / 1_000, ...(gap ? { gap } : {}) });
    try {
      const found = await work();
      if (typeof found === 'string') ended('held', found);
      else ended('left out', found.leftOut, found.gap);
    } catch (error) {
      if (wasCancelled(error)) {
        ended('not reached', 'the drill was stopped');
        throw error;
      }
      ended('failed', reasonOf(error));
    }
  }

  /** Throws where a stage that this one builds on did not hold. */
  needs(stage: DrillStage): void {
    if (this.held(stage)) return;
    throw failure('DrillFailed', `it could not be tried, because the stage before it (${stage}) did not hold`);
  }
}

/** Eight hexadecimal digits of the run, its last ones: the first are of its time. Part of the names of its copies. */
export const drillIdOfRun = (): string => workflowInfo().runId.slice(-8);

/** Who stopped it, and why. */
export interface Stop {
  by: Command | null;
}
