import { figureTiles } from '../report/html';
import { type Html, html } from '../report/html-text';
import { fact, list, pageOf, section, table } from '../report/page';
import { STYLE } from '../report/style';
import { drawn } from './draw';
import type { Section } from './plot';
import { PLOT_STYLE } from './plot-style';
import type { ReadinessReport, Risk } from './report';
import { sectionsOf } from './sections';
import { asSentence, figuresOf, monthText, periodText, titleOf } from './words';

/** `1023.9 GiB`, `0.53 USD`. */
const FIGURE_CHARACTERS = 12;

/** The report as one page, for those who answer for the application: promises first, then risks, then the evidence. */
export function readinessHtml(report: ReadinessReport): string {
  return pageOf(
    titleOf(report),
    `${STYLE}${PLOT_STYLE}`,
    html`${headOf(report)} ${figureTiles(figuresOf(report))} ${risks(report)} ${sectionsOf(report).map(part)}
    ${footOf(report)}`,
  );
}

function headOf(report: ReadinessReport): Html {
  const { application, verdict, outcome, because, period, activeSite, requestedBy } = report;
  return html`<header>
    <p class="kind">DR readiness of ${application}</p>
    <h1>${monthText(period.month)}</h1>
    <p class="outcome"><span class="badge ${verdict}">${outcome}</span></p>
    <p class="because">${because}</p>
    <dl class="facts">
      ${fact('Period', periodText(report))} ${fact('Active site', activeSite)} ${fact('Asked for by', requestedBy)}
    </dl>
  </header>`;
}

function risks({ risks: found }: ReadinessReport): Html | null {
  if (found.length === 0) return section('Open risks', html`<p class="quiet">None is known.</p>`);
  const item = ({ severity, text, next }: Risk) =>
    html`<span class="risk ${severity}">${severity}</span>
      ${asSentence(text)}${next === null ? null : html` <span class="next">→ ${next}</span>`}`;
  return list('Open risks', found.map(item), 'risks');
}

function part({ heading, words, plots, table: found }: Section): Html {
  return section(
    heading,
    html`${words === null ? null : html`<p>${words}</p>`} ${plots.map(drawn)}
    ${
      found === null
        ? null
        : table(
            found.header,
            found.rows.map((row) => row.map(unbroken)),
          )
    }`,
  );
}

/** A size or a price stays in one line, however long its neighbours are. */
const unbroken = (cell: string): string => (cell.length <= FIGURE_CHARACTERS ? cell.replaceAll(' ', '\u00a0') : cell);

const footOf = ({ id, formatVersion }: ReadinessReport): Html =>
  html`<footer>
    Report ${id} (format ${formatVersion}). All times are UTC. What is not known is counted as neither.
  </footer>`;
