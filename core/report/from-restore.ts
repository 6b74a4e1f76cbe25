import type { DrillReport } from '../drill-judgements';
import type { StepStatus } from '../runs';
import type { EndpointResult } from '../traffic';
import { type Decision, type PartResult, REPORT_FORMAT_VERSION, type RunReport, type StoreReport } from './run-report';

/** What a run knows at its end that moved no site: one that made copies of stores, a checklist. */
export interface CopyFacts {
  readonly kind: 'restore' | 'drill' | 'checklist';
  readonly workflowId: string;
  readonly runId: string;
  readonly application: string;
  readonly requestedBy: string;
  /** Null for a run that nobody is asked about. */
  readonly decisions: readonly Decision[] | null;
  readonly outcome: string;
  readonly verdict: RunReport['verdict'];
  readonly because: string;
  readonly stores: readonly { readonly store: string; readonly engine: string }[];
  readonly steps: readonly StepStatus[];
  readonly warnings: readonly string[];
  readonly messages: readonly string[];
  readonly startedAt: string;
  readonly endedAt: string;
  readonly requestReason?: string | null;
  /** Of a drill only: what the bubble answered under its isolated name, and what the stages found. */
  readonly endpoints?: readonly EndpointResult[];
  readonly drill?: DrillReport;
}

/** The same report with fewer sections: no site changed its role, nothing was fenced, nobody's service was away. */
export function copyReport({ kind, stores, ...facts }: CopyFacts): RunReport {
  return {
    formatVersion: REPORT_FORMAT_VERSION,
    id: `${kind}-${facts.runId}`,
    kind,
    requestReason: null,
    move: null,
    recovery: null,
    loss: null,
    evidence: null,
    stores: stores.map((each) => storeReport(each, facts.steps)),
    services: null,
    dns: null,
    endpoints: null,
    ...facts,
  };
}

/** The way of a copy; the last step that it came to is what was done. */
const WAY = ['rebuild', 'replay', 'open', 'shutdown'];

function storeReport(
  { store, engine }: { readonly store: string; readonly engine: string },
  steps: readonly StepStatus[],
): StoreReport {
  const part = (id: string): PartResult | null => {
    const step = steps.find((each) => each.id === `${id}:${store}`);
    return step ? { state: step.state, note: step.note } : null;
  };
  const restored = WAY.map(part).findLast((each) => each !== null) ?? NOT_REACHED;
  const read = part('verify') ?? NOT_REACHED;
  return {
    store,
    engine,
    results: [
      { what: 'restored', ...restored },
      { what: 'read and checked', ...read },
    ],
  };
}

const NOT_REACHED: PartResult = { state: 'waiting', note: null };
