import { REPORT_FORMAT_VERSION } from '../report/run-report';
import type { ReadinessFacts } from './facts';
import { backupsOf, exposuresOf, provenOf, readinessOf, recoveriesOf, runsOf, uptimeOf } from './measured';
import { objectivesOf } from './objectives';
import { reportIdOf } from './period';
import type { ObjectiveResult, ReadinessReport } from './report';
import { risksOf } from './risks';
import { capacityOf, costOf } from './storage';
import { copiesOf } from './copies';

/** The report of a month, of recorded facts alone: from the same facts the same report. */
export function composeReadinessReport(facts: ReadinessFacts): ReadinessReport {
  const { application, requestedBy, at, period, activeSite } = facts;
  const [uptime, backups, proofs] = [uptimeOf(facts), backupsOf(facts), provenOf(facts)];
  const [exposures, recoveries, runs] = [exposuresOf(facts), recoveriesOf(facts), runsOf(facts)];
  const objectives = objectivesOf(facts, { uptime, backups, exposures, recoveries, proofs });
  const measured: Omit<ReadinessReport, 'risks' | 'outcome' | 'verdict' | 'because'> = {
    formatVersion: REPORT_FORMAT_VERSION,
    id: reportIdOf(period),
    kind: 'readiness',
    application,
    move: null,
    requestedBy,
    startedAt: at,
    endedAt: at,
    period,
    activeSite,
    objectives,
    uptime,
    backups,
    exposures,
    recoveries,
    proofs,
    readiness: readinessOf(facts),
    runs: runs.filter(({ kind }) => RECOVERIES.includes(kind)),
    checklists: runs.filter(({ kind }) => kind === 'checklist'),
    copies: copiesOf(facts),
    capacity: capacityOf(facts),
    cost: costOf(facts),
  };
  const risks = risksOf(facts, measured);
  return { ...measured, risks, ...verdictOf(objectives, risks) };
}

const RECOVERIES: readonly string[] = ['failover', 'switchover', 'restore', 'drill'];

function verdictOf(
  objectives: readonly ObjectiveResult[],
  risks: ReadinessReport['risks'],
): Pick<ReadinessReport, 'outcome' | 'verdict' | 'because'> {
  const named = (judgement: string) =>
    objectives.filter((each) => each.judgement === judgement).map(({ title }) => title);
  const [over, open] = [named('over'), named('open')];
  const grave = risks.filter(({ severity }) => severity === 'high').length;
  const kept = `${objectives.length - over.length - open.length} of ${objectives.length} objectives were kept`;
  const because = [
    kept,
    ...(over.length > 0 ? [`not kept: ${over.join(', ')}`] : []),
    ...(open.length > 0 ? [`not known for sure: ${open.join(', ')}`] : []),
  ].join('; ');
  if (over.length > 0) return { outcome: 'objectives missed', verdict: 'failed', because };
  if (open.length > 0) return { outcome: 'not all is known', verdict: 'attention', because };
  if (grave > 0) return { outcome: 'objectives kept, risks open', verdict: 'attention', because };
  return { outcome: 'objectives kept', verdict: 'achieved', because };
}
