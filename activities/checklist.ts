import { storedBytes } from '../core/catalog';
import type { ChecklistPeriod, ChecklistPlan } from '../core/checklist';
import type { DiskSpace, StoredOfStore, StoreProofs } from '../core/checklist-judgements';
import { layout } from '../core/layout';
import { readReport, type RunReport } from '../core/report/run-report';
import type { Json } from '../core/catalog';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';

const MONTH_MILLISECONDS = 30 * 86_400_000;

/** What a checklist needs and no other part of drctl answers by itself; nothing here changes anything. */
export function createChecklistActivities(deps: ActivityDeps) {
  return {
    /** What is on the list of this period, and how long people have. */
    async describeChecklist(input: { application: string; period: ChecklistPeriod }): Promise<ChecklistPlan> {
      return deps.open(input.application).checklist(input.period);
    },

    /** When each store was last proven, by listings, and what its newest restore took. */
    async newestProofs(input: { application: string }): Promise<StoreProofs[]> {
      return withCallContext(() => {
        const open = deps.open(input.application);
        return Promise.all(open.application.stores.map(({ name }) => proofsOf(open, name)));
      });
    },

    /** The newest report of a kind by when it was stored; null where there is none that can be read. */
    async newestReport(input: {
      application: string;
      kind: RunReport['kind'] | 'readiness';
    }): Promise<Pick<RunReport, 'id' | 'verdict' | 'outcome' | 'because' | 'endedAt'> | null> {
      return withCallContext(async () => {
        const { control } = deps.open(input.application);
        let newest: { readonly key: string; readonly modifiedAt: string } | null = null;
        for await (const object of control.list(`${layout.reports()}${input.kind}-`))
          if (object.key.endsWith('.json') && object.modifiedAt >= (newest?.modifiedAt ?? '')) newest = object;
        if (!newest) return null;
        const report = readReport(JSON.parse((await control.read(newest.key)).toString('utf8')) as Json);
        if (!report) return null;
        const { id, verdict, outcome, because, endedAt } = report;
        return { id, verdict, outcome, because, endedAt };
      });
    },

    /** What is stored of each store, by its manifests. */
    async measureStored(input: { application: string }): Promise<StoredOfStore[]> {
      return withCallContext(() => {
        const open = deps.open(input.application);
        return Promise.all(open.application.stores.map(({ name }) => storedOf(open, name)));
      });
    },

    /** The disks that the worker of this site writes to. */
    async measureDisks(input: { application: string; site: string }): Promise<DiskSpace[]> {
      return withCallContext(async () => {
        const disks = await deps.open(input.application).disks();
        return disks.map((disk) => ({ site: deps.site, ...disk }));
      });
    },
  };
}

async function proofsOf(open: OpenApplication, store: string): Promise<StoreProofs> {
  const proofs = open.proofs(store);
  const newest = await proofs.newest(store);
  const last = newest.find(({ kind }) => kind === 'restore');
  const { restore = null } = last ? await proofs.get(store, last.proofId) : {};
  if (!last || !restore) return { store, newest, restore: null };
  const { recoverySeconds, rtoSeconds, lossSeconds, rpoSeconds } = restore;
  return { store, newest, restore: { proofId: last.proofId, recoverySeconds, rtoSeconds, lossSeconds, rpoSeconds } };
}

async function storedOf(open: OpenApplication, store: string): Promise<StoredOfStore> {
  const backups = await open.catalog(store).list(store);
  const since = new Date(Date.now() - MONTH_MILLISECONDS).toISOString();
  const sum = (some: typeof backups) => some.reduce((total, each) => total + storedBytes(each), 0);
  const full = backups.findLast(({ type }) => type === 'full');
  return {
    store,
    backups: backups.length,
    storedBytes: sum(backups),
    monthBytes: sum(backups.filter(({ committedAt }) => committedAt >= since)),
    fullBytes: full ? storedBytes(full) : 0,
  };
}
