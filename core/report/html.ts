import { createHash } from 'node:crypto';
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
import { type Html, html, ours } from './html-text';
import type { PartResult, RunReport } from './run-report';
import { STYLE } from './style';
import { timelineOf } from './timeline';

/**
 * The report as one page that needs nothing else: no script, no request, no font. The policy allows its own style sheet by
 * its digest and nothing more, so that even text that got in unescaped could load and run nothing. Not for workflows: they
 * have no `node:crypto`.
 */
export function htmlOf(report: RunReport): string {
  const digest = createHash('sha256').update(STYLE).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="referrer" content="no-referrer" />
        <meta name="color-scheme" content="light dark" />
        <title>${titleOf(report)}</title>
        ${ours(`<style>${STYLE}</style>`)}
      </head>
      <body>
        <main>
          ${headOf(report)} ${figures(report)} ${list('What to look at', report.warnings, 'warnings')}
          ${section('Timeline', timelineOf(report))} ${decisions(report)} ${evidence(report)} ${loss(report)}
          ${stores(report)} ${services(report)} ${dns(report)} ${endpoints(report)}
          ${list('What was said meanwhile', report.messages)} ${footOf(report)}
        </main>
      </body>
    </html> `;
  return page.text;
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

const fact = (name: string, value: string | null): Html | null =>
  value === null
    ? null
    : html`<div>
        <dt>${name}</dt>
        <dd>${value}</dd>
      </div>`;

function figures(report: RunReport): Html {
  const tile = ({ label, value, note, judgement }: Figure) =>
    html`<div class="figure ${judgement}">
      <dt>${label}</dt>
      <dd>${value}</dd>
      <dd class="note">${note}</dd>
    </div>`;
  return html`<dl class="figures">${figuresOf(report).map(tile)}</dl>`;
}

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

const section = (heading: string, content: Html): Html =>
  html`<section>
    <h2>${heading}</h2>
    ${content}
  </section>`;

const list = (heading: string, items: readonly string[], name = ''): Html | null =>
  items.length === 0
    ? null
    : html`<section class="${name}">
        <h2>${heading}</h2>
        <ul>
          ${items.map((item) => html`<li>${item}</li>`)}
        </ul>
      </section>`;

type Cell = Html | string | null;

function table(header: readonly string[], rows: readonly (readonly Cell[])[]): Html {
  // The heading of each column goes with its cells, so that a narrow screen can show rows as blocks.
  const cells = (row: readonly Cell[]) =>
    row.map((cell, index) => html`<td data-label="${header[index] ?? ''}">${cell}</td>`);
  return html`<table>
    <thead>
      <tr>
        ${header.map((title) => html`<th scope="col">${title}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr>
            ${cells(row)}
          </tr> `,
      )}
    </tbody>
  </table>`;
}
