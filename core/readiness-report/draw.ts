import { secondsText } from '../report/figures';
import { type Html, html } from '../report/html-text';
import type { BarsPlot, DaysPlot, Plot } from './plot';

/** A drawing of the page: inline, without a script, its words beside it as text. */
export const drawn = (plot: Plot): Html => (plot.kind === 'days' ? drawDays(plot) : drawBars(plot));

const HEIGHT = 88;
/** Room for the dates below. */
const FOOT = 16;
/** What there is one of is seen, however little it is beside the rest. */
const THINNEST = 4;

const percent = (share: number) => `${(share * 100).toFixed(3)}%`;

function drawDays({ title, summary, series, days, top, topLabel }: DaysPlot): Html {
  const width = 1 / Math.max(1, days.length);
  const columns = days.map(({ day, values, label }, index) => {
    let filled = 0;
    const heights = values.map((value) => (value <= 0 ? 0 : Math.max(THINNEST, (value / top) * HEIGHT)));
    const scale = Math.min(
      1,
      HEIGHT /
        Math.max(
          1,
          heights.reduce((sum, height) => sum + height, 0),
        ),
    );
    // Bad things first, from the ground: they must not be pushed out of the drawing by what is good.
    const order = heights.map((_, each) => each).toSorted((a, b) => rank(series[a]?.look) - rank(series[b]?.look));
    const parts = order.map((each) => {
      const height = (heights[each] ?? 0) * scale;
      if (height === 0) return null;
      filled += height;
      return html`<rect
        class="${series[each]?.look ?? 'plain'}"
        x="${percent((index + 0.1) * width)}"
        y="${(HEIGHT - filled).toFixed(2)}"
        width="${percent(0.8 * width)}"
        height="${height.toFixed(2)}"
      />`;
    });
    return html`<g><title>${`${day}: ${label}`}</title>${parts}</g>`;
  });
  const dates = days.flatMap(({ day }, index) =>
    index % 7 === 0
      ? html`<text class="tick-name middle" x="${percent((index + 0.5) * width)}" y="${HEIGHT + FOOT - 2}"
          >${String(Number(day.slice(8)))}</text
        >`
      : [],
  );
  const keys = series.map(
    ({ name, look }) =>
      html`<span class="key"
        ><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="${look}" width="10" height="10" /></svg>${name}</span
      >`,
  );
  return html`<figure>
    <figcaption><span>${title}; a whole column is ${topLabel}</span> <span class="legend">${keys}</span></figcaption>
    <svg class="plot days" height="${HEIGHT + FOOT}" role="img" aria-label="${`${title}. ${summary}`}">
      ${columns}
      <line class="base" x1="0" x2="100%" y1="${HEIGHT}" y2="${HEIGHT}" />
      ${dates}
    </svg>
  </figure> `;
}

const rank = (look: string | undefined) => ['bad', 'open', 'good', 'plain'].indexOf(look ?? 'plain');

/** Where a time is on an axis from a second to the longest of all: recoveries of seconds and objectives of hours share it. */
function logarithmic(longest: number): (seconds: number) => number {
  const end = Math.log10(Math.max(10, longest * 1.15));
  return (seconds) => Math.min(1, Math.max(0, Math.log10(Math.max(1, seconds)) / end));
}

function drawBars({ title, summary, rows }: BarsPlot): Html {
  const at = logarithmic(Math.max(1, ...rows.flatMap(({ seconds, markSeconds }) => [seconds ?? 0, markSeconds])));
  const row = ({ name, seconds, markSeconds, text, look }: BarsPlot['rows'][number]) => {
    const mark = percent(at(markSeconds));
    const bar =
      seconds === null
        ? null
        : html`<rect class="${look}" x="0" y="3" width="${percent(Math.max(0.004, at(seconds)))}" height="10" />`;
    return html`<div class="bar-row">
      <div>${name}</div>
      <svg
        class="lane"
        height="16"
        role="img"
        aria-label="${`${name}: ${text}, objective ${secondsText(markSeconds)}`}"
      >
        <title>${`${text}; objective ${secondsText(markSeconds)}`}</title>
        <line class="base" x1="0" x2="100%" y1="8" y2="8" />
        ${bar}
        <line class="goal" x1="${mark}" x2="${mark}" y1="0" y2="16" />
      </svg>
      <div class="value ${look}">${text}</div>
    </div> `;
  };
  return html`<figure aria-label="${`${title}. ${summary}`}">
    <figcaption><span>${title}. The axis is logarithmic, from a second on</span></figcaption>
    <div class="plot bars">${rows.map(row)}</div>
  </figure> `;
}
