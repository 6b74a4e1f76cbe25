import { STEP_SIGNS, type StepStatus } from '../runs';
import { secondsBetween, secondsText, stateText } from './figures';
import { type Html, html } from './html-text';
import type { RunReport } from './run-report';
import { timeScale, type TimeScale } from './time-scale';

/** A bar that is thinner would not be seen. */
const THINNEST = 0.004;

/**
 * Every step as a bar over one axis of time. Each row has a drawing of its own in percent of its width, so that it needs no
 * script to fit any screen, and its words are text that can be read aloud, searched and printed.
 */
export function timelineOf(report: RunReport): Html {
  const { steps, startedAt, endedAt } = report;
  const scale = timeScale([
    point(startedAt),
    ...steps.flatMap((step) => (step.startedAt ? [span(step.startedAt, step.finishedAt ?? endedAt)] : [])),
    point(endedAt),
  ]);
  const marks = marksOf(report, scale);
  const behind = html`${scale.pauses.map(
    ({ at, width }) => html`<rect class="pause" x="${percent(at)}" width="${percent(width)}" height="100%" />`,
  )}${scale.ticks.map(({ at }) => line('tick', at))}${marks.map(({ at }) => line('mark', at))}`;
  return html`<div class="timeline">
      <div class="row axis">
        <div></div>
        ${axis(scale, marks)}
        <div class="took">took</div>
      </div>
      ${steps.map((step) => row(step, report, scale, behind))}
    </div>
    ${
      scale.pauses.length === 0
        ? null
        : html`<p class="quiet">
            Shaded: nothing ran, the run waited (${scale.pauses.map(({ seconds }) => secondsText(seconds)).join(', ')}).
            It is drawn shorter than it was.
          </p>`
    }`;
}

const point = (iso: string) => [Date.parse(iso), Date.parse(iso)] as const;
const span = (from: string, to: string) => [Date.parse(from), Date.parse(to)] as const;
const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
const line = (name: string, at: number) =>
  html`<line class="${name}" x1="${percent(at)}" x2="${percent(at)}" y1="0" y2="100%" />`;

interface Mark {
  readonly name: string;
  readonly at: number;
}

function marksOf({ recovery }: RunReport, scale: TimeScale): Mark[] {
  return [
    { name: 'approved', time: recovery?.approvedAt },
    { name: 'verified', time: recovery?.verifiedAt },
  ].flatMap(({ name, time }) => (time ? [{ name, at: scale.at(Date.parse(time)) }] : []));
}

/** Each mark on a line of its own above the ticks: two that are close would lie on each other. */
function axis(scale: TimeScale, marks: readonly Mark[]): Html {
  const top = marks.length * 14;
  const anchor = (at: number) => (at < 0.04 ? 'begin' : at > 0.94 ? 'end' : 'middle');
  return html`<svg height="${top + 18}" aria-hidden="true">
    ${marks.map(
      ({ name, at }, index) =>
        html`<text class="mark-name ${at > 0.5 ? 'end' : 'begin'}" x="${percent(at)}" y="${index * 14 + 11}"
            >${name}</text
          >
          <line class="mark" x1="${percent(at)}" x2="${percent(at)}" y1="${index * 14 + 13}" y2="${top + 18}" />`,
    )}${scale.ticks.map(
      ({ at, seconds }) =>
        html`<text class="tick-name ${anchor(at)}" x="${percent(at)}" y="${top + 13}"
          >${seconds === 0 ? '0' : `+${secondsText(seconds).replace('.0 s', ' s')}`}</text
        >`,
    )}${scale.pauses.map(
      ({ at, width }) => html`<text class="tick-name middle" x="${percent(at + width / 2)}" y="${top + 13}">⋯</text>`,
    )}
  </svg>`;
}

function row(step: StepStatus, { startedAt: runStartedAt, endedAt }: RunReport, scale: TimeScale, behind: Html): Html {
  const { title, state, note, startedAt, finishedAt } = step;
  const took = startedAt && finishedAt ? secondsText(secondsBetween(startedAt, finishedAt)) : '';
  const began = startedAt ? `began +${secondsText(secondsBetween(runStartedAt, startedAt))}` : 'never began';
  const sign = html`<span class="sign ${state}" title="${stateText(step)}">${STEP_SIGNS[state]}</span>`;
  return html`<div class="row">
    <div class="what">${sign} ${title}${note ? html`<small class="note">${note}</small>` : null}</div>
    <div class="lane">
      <svg role="img" aria-label="${`${stateText(step)}, ${began}${took ? `, took ${took}` : ''}`}">
        ${behind}${
          startedAt ? bar(state, scale.at(Date.parse(startedAt)), scale.at(Date.parse(finishedAt ?? endedAt))) : null
        }
      </svg>
    </div>
    <div class="took">${took}</div>
  </div> `;
}

function bar(state: StepStatus['state'], from: number, to: number): Html {
  const width = Math.max(to - from, THINNEST);
  return html`<rect
    class="bar ${state}"
    x="${percent(Math.min(from, 1 - width))}"
    y="50%"
    width="${percent(width)}"
    height="10"
    rx="2"
  />`;
}
