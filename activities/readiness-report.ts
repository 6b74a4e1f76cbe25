import type { CallContext } from '../core/call';
import { reasonOf } from '../core/errors';
import { layout } from '../core/layout';
import { composeReadinessReport } from '../core/readiness-report/compose';
import type { ReadinessFacts } from '../core/readiness-report/facts';
import { readinessHtml } from '../core/readiness-report/html';
import { readinessMarkdown } from '../core/readiness-report/markdown';
import { monthBefore, periodOf } from '../core/readiness-report/period';
import type { ReadinessReport } from '../core/readiness-report/report';
import { type MakeReadinessReport, type ReportReadinessResult, RISKS_TOLD } from '../core/readiness-report/runs';
import { titleOf } from '../core/readiness-report/words';
import { storeReportForms } from '../core/report/write';
import { readTally } from './backup-tally';
import { withCallContext } from './context';
import { readCopies } from './copy-standing';
import type { ActivityDeps, OpenApplication } from './deps';
import * as records from './month-records';

export function createReadinessReportActivities(deps: ActivityDeps) {
  return {
    /** Puts the report of a month together from what is recorded, and stores it. Repeatable: one of that month is replaced. */
    async makeReadinessReport(input: MakeReadinessReport): Promise<ReportReadinessResult> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const report = composeReadinessReport(await gatherFacts(open, input, ctx));
        await storeReportForms(open.control, report.id, {
          md: readinessMarkdown(report),
          html: readinessHtml(report),
          json: report,
        });
        const { id, application, outcome, verdict, because, objectives, risks } = report;
        return {
          ...{ id, application, outcome, verdict, because, objectives, title: titleOf(report) },
          risks: risks.slice(0, RISKS_TOLD),
          risksInAll: risks.length,
        };
      });
    },
  };
}

/** Each part by itself: what cannot be read is named in the report and hides nothing else. */
async function gatherFacts(
  open: OpenApplication,
  input: MakeReadinessReport,
  ctx: CallContext,
): Promise<ReadinessFacts> {
  const { application, control } = open;
  const period = periodOf(input.month, input.at);
  const unread: { part: string; reason: string }[] = [];
  const part = async <T>(name: string, read: () => Promise<T>): Promise<T | null> => {
    try {
      return await read();
    } catch (error) {
      ctx.signal.throwIfAborted();
      unread.push({ part: name, reason: reasonOf(error) });
      return null;
    }
  };
  const ofStores = async <T>(read: (store: string) => Promise<T>) =>
    Object.fromEntries(
      await Promise.all(application.stores.map(async ({ name }) => [name, await read(name)] as const)),
    );
  const previous = layout.report(`readiness-${monthBefore(input.month)}`, 'json');
  const [
    current,
    tally,
    backups,
    proofs,
    runs,
    uptime,
    health,
    readiness,
    lastHealth,
    lastReadiness,
    stored,
    copies,
    before,
  ] = await Promise.all([
    part('the epochs', () => open.epochs.current()),
    part('the count of backups', () => readTally(open)),
    part('the catalogues', () => ofStores((store) => records.readBackups(open, store, period))),
    part('the proofs', () => ofStores((store) => records.readProofs(open, store, period))),
    part('the reports of runs', () => records.readRuns(open, period)),
    part('the uptime', () => records.readUptime(open, period)),
    part('the health of the days', () => records.readHealth(open, period)),
    part('the readiness of the days', () => records.readReadiness(open, period)),
    part('the newest health check', () => records.readLastHealth(open)),
    part('the newest look at the readiness', () => records.readLastReadiness(open)),
    part('what is stored', () => records.addUpStored(open, period)),
    part('the copies', () => readCopies(open, input.at)),
    part('the report of the month before', () => records.readStored(control, previous)),
  ]);
  return {
    application: application.name,
    requestedBy: input.requestedBy,
    at: input.at,
    period,
    stores: application.stores.map(({ name, engine, rpoSeconds }) => ({ store: name, engine, rpoSeconds })),
    activeSite: unread.some(({ part: name }) => name === 'the epochs')
      ? null
      : (current?.activeSite ?? application.initialSite),
    rtoSeconds: application.objectives.rtoSeconds,
    targets: open.reporting,
    endpoints: application.endpoints.length,
    ...{ tally, backups, proofs, runs, uptime, health, readiness, lastHealth, lastReadiness, stored, copies },
    disks: input.disks,
    previous: before as unknown as ReadinessReport | null,
    unread,
  };
}
