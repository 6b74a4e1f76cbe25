import { drillTables } from './drill-tables';
import {
  actualText,
  clockText,
  estimateText,
  type Figure,
  figuresOf,
  objectiveText,
  secondsBetween,
  secondsText,
  stateText,
  storeResults,
  titleOf,
} from './figures';
import { type Html, html } from './html-text';
import { fact, list, pageOf, section, table } from './page';
import type { PartResult, RunReport } from './run-report';
import { STYLE } from './style';
import { timelineOf } from './timeline';

/** The report as one page. */
export function htmlOf(report: RunReport): string {
  return pageOf(
    titleOf(report),
    STYLE,
    html`${headOf(report)} ${figures(report)} ${list('What to look at', report.warnings, 'warnings')}
    ${drillTables(report).map(({ heading, header, rows }) => section(heading, table(header, rows)))}
    ${section('Timeline', timelineOf(report))} ${decisions(report)} ${evidence(report)} ${loss(report)}
    ${stores(report)} ${services(report)} ${dns(report)} ${endpoints(report)}
    ${list('What was said meanwhile', report.messages)} ${footOf(report)}`,
  );
}

/** Beside the outcome, which says the rest. */
const VERDICTS: Readonly<Record<RunReport['verdict'], string | null>> = {
  achieved: null,
  attention: 'somebody has to look at what is listed below',
  unchanged: 'nothing was changed, or all of it was undone',
  failed: null,
};

function headOf({ kind, application, outcome, verdict, because, move, ...report }: RunReport): Html {
  const { requestedBy, requestReason, startedAt, endedAt } = report;
  return html`<header>
    <p class="kind">${kind} of ${application}</p>
    <h1>${move ? html`${move.from} <span class="arrow">→</span> ${move.to}` : application}</h1>
    <p class="outcome"><span class="badge ${verdict}">${outcome}</span> ${VERDICTS[verdict]}</p>
    <p class="because">${because}</p>
    <dl class="facts">
      ${fact('Asked for by', requestedBy === null ? null : requestReason ? `${requestedBy}: ${requestReason}` : requestedBy)}
      ${fact('When', `${clockText(startedAt)}, for ${secondsText(secondsBetween(startedAt, endedAt))}`)}
      ${fact('Epoch', move ? (move.epoch === null ? 'none was taken' : String(move.epoch)) : null)}
    </dl>
  </header>`;
}

export function figureTiles(figures: readonly Figure[]): Html {
  const tile = ({ label, value, note, judgement }: Figure) =>
    html`<div class="figure ${judgement}">
      <dt>${label}</dt>
      <dd>${value}</dd>
      <dd class="note">${note}</dd>
    </div>`;
  return html`<dl class="figures">${figures.map(tile)}</dl>`;
}

const figures = (report: RunReport): Html => figureTiles(figuresOf(report));

function decisions({ decisions: made }: RunReport): Html | null {
  if (made === null) return null;
  if (made.length === 0) return section('Decisions', html`<p class="quiet">Nobody decided anything.</p>`);
  const rows = made.map(({ at, by, command, step, reason, note }) => [
    clockText(at),
    by,
    step === null ? command : `${command} ${step}`,
    [reason, note].filter((each) => each !== null).join('; '),
  ]);
  return section('Decisions', table(['when', 'who', 'what', 'why'], rows));
}

function evidence({ evidence: found }: RunReport): Html | null {
  if (found === null) return null;
  if (found.length === 0) return section('Fence evidence', html`<p class="quiet">Nothing was fenced.</p>`);
  const rows = found.map(({ strength, site, stores: covered, how, by, at }) => [
    html`<span class="strength ${strength}">${strength}</span>`,
    site,
    covered.join(', ') || 'no store',
    how,
    by,
    clockText(at),
  ]);
  return section('Fence evidence', table(['', 'site', 'stores', 'how', 'by', 'when'], rows));
}

function loss({ loss: found }: RunReport): Html | null {
  if (!found) return null;
  const shown = found.approvedBy === null ? 'estimate' : `estimate, approved by ${found.approvedBy}`;
  const over = (seconds: number | null | undefined, rpoSeconds: number) =>
    seconds == null ? 'open' : seconds > rpoSeconds ? 'over' : 'within';
  // A planned move estimates nothing.
  const estimated = found.stores.some(({ estimate }) => estimate !== null);
  const rows = found.stores.map(({ store, rpoSeconds, estimate, atApproval, actual }) => [
    store,
    ...(estimated
      ? [
          html`${estimateText(estimate)}${basis(estimate?.basis)}`,
          html`<span class="${over(estimate?.seconds, rpoSeconds)}">${objectiveText(estimate, rpoSeconds)}</span>`,
          atApproval === null ? '' : estimateText(atApproval),
        ]
      : []),
    html`${actualText(actual)}${basis(actual?.basis)}`,
  ]);
  const columns = estimated ? [shown, 'objective', 'again at the approval'] : [];
  return section('Loss', table(['store', ...columns, 'actual'], rows));
}

const basis = (words: string | undefined): Html | null =>
  words === undefined ? null : html`<small class="note">${words}</small>`;

function stores(report: RunReport): Html | null {
  if (report.stores.length === 0) return null;
  const columns = storeResults(report);
  const rows = report.stores.map(({ store, engine, results }) => [
    store,
    engine,
    ...columns.map((what) => result(results.find((each) => each.what === what) ?? null)),
  ]);
  return section('Stores', table(['store', 'engine', ...columns], rows));
}

function services({ services: found }: RunReport): Html | null {
  if (!found || found.length === 0) return null;
  return section(
    'Services',
    table(
      ['service', ''],
      found.map((each) => [each.name, result(each)]),
    ),
  );
}

function dns({ dns: found }: RunReport): Html | null {
  if (!found || found.length === 0) return null;
  const rows = found.map((each) => [each.name, each.values.join(', '), secondsText(each.ttlSeconds), result(each)]);
  return section('Names', table(['name', 'points to', 'TTL', ''], rows));
}

function endpoints({ endpoints: found }: RunReport): Html | null {
  if (!found || found.length === 0) return null;
  const rows = found.map(({ method, url, status, address, milliseconds, problem }) => [
    `${method} ${url}`,
    problem ?? String(status),
    address ?? 'nowhere',
    `${milliseconds} ms`,
  ]);
  return section('Seen through the public name', table(['request', 'answer', 'from', 'took'], rows));
}

function result(part: PartResult | null): Html | null {
  if (part === null) return null;
  return html`<span class="state ${part.state}">${stateText(part)}</span>${basis(part.note ?? undefined)}`;
}

function footOf({ id, formatVersion, workflowId, runId }: RunReport): Html {
  return html`<footer>
    Report ${id} (format ${formatVersion}) of workflow ${workflowId}, run ${runId}. All times are UTC.
  </footer>`;
}
