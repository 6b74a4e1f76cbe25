/** The report page's only style sheet. Its digest is in the page's policy, so nothing is styled by attributes. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1f2428; --quiet: #646d76; --rule: #e3e5e8;
  --good: #2b7a4b; --goodback: #e5f3ea; --look: #8a5a00; --lookback: #fbf0d9; --bad: #b3261e; --badback: #fbe7e5;
  --still: #55606b; --stillback: #eceef1; --bar: #5b84b1; --pause: #eef0f3; --mark: #b0763a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1b1f23; --ink: #e3e6e9; --quiet: #98a2ab; --rule: #2d3339;
    --good: #79c796; --goodback: #1c3326; --look: #e2b45a; --lookback: #36290f; --bad: #f0938b; --badback: #3d1e1c;
    --still: #b3bcc5; --stillback: #272c32; --bar: #6f9ccb; --pause: #20252a; --mark: #d29a5f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.5rem 3rem; }
h1, h2, p, dl, dd, ul { margin: 0; }
.kind { color: var(--quiet); font-size: .95rem; }
.kind::first-letter { text-transform: uppercase; }
h1 { font-size: 1.9rem; line-height: 1.25; font-weight: 650; letter-spacing: -.01em; }
.arrow { color: var(--quiet); font-weight: 400; }
.outcome { margin-top: .6rem; color: var(--quiet); }
.badge { display: inline-block; padding: .1rem .65rem; margin-right: .35rem; border-radius: 1rem; font-weight: 600; color: var(--still); background: var(--stillback); }
.badge.achieved { color: var(--good); background: var(--goodback); }
.badge.attention { color: var(--look); background: var(--lookback); }
.badge.failed { color: var(--bad); background: var(--badback); }
.because { margin-top: .7rem; font-size: 1.05rem; }
.facts { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin-top: .8rem; }
.facts div { display: flex; gap: .5rem; }
.facts dt, footer, .quiet, .note { color: var(--quiet); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin-top: 1.6rem; }
.figure { padding: .9rem 1rem; background: var(--card); border: 1px solid var(--rule); border-top: 3px solid var(--rule); border-radius: 6px; }
.figure.within { border-top-color: var(--good); }
.figure.over { border-top-color: var(--bad); }
.figure.open { border-top-color: var(--look); }
.figure dt { color: var(--quiet); font-size: .9rem; }
.figure dd { font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figure dd.note { font-size: .85rem; font-weight: 400; line-height: 1.4; margin-top: .2rem; }
.over, .figure.over dd:not(.note) { color: var(--bad); }
span.open, .figure.open dd:not(.note) { color: var(--look); }
.figure.over { color: inherit; }
section { margin-top: 2.4rem; }
h2 { font-size: 1.1rem; font-weight: 650; padding-bottom: .4rem; border-bottom: 1px solid var(--rule); }
section > p, section > ul { margin-top: .7rem; }
ul { padding-left: 1.2rem; }
.warnings { padding: .9rem 1.1rem 1rem; background: var(--lookback); border-radius: 6px; }
.warnings h2 { border: 0; padding: 0; color: var(--look); }
.warnings ul { margin-top: .3rem; }
.note { display: block; font-size: .85rem; line-height: 1.4; }
section { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; overflow-wrap: break-word; }
th { text-align: left; font-weight: 500; font-size: .85rem; color: var(--quiet); padding: .55rem 1rem .35rem 0; }
td { vertical-align: top; padding: .45rem 1rem .45rem 0; border-top: 1px solid var(--rule); font-variant-numeric: tabular-nums; }
tbody tr:first-child td { border-top: 0; }
.strength, .state { font-weight: 600; }
.strength.proven, .state.done, .sign.done { color: var(--good); }
.strength.attested, .strength.weak, .state.skipped, .state.undone, .sign.skipped, .sign.undone { color: var(--look); }
.strength.none, .state.waiting, .sign.waiting { color: var(--quiet); }
.state.failed, .sign.failed { color: var(--bad); }
.timeline { margin-top: .4rem; }
.row { display: grid; grid-template-columns: minmax(14rem, 5fr) 6fr 4.5rem; column-gap: 1rem; align-items: stretch; border-top: 1px solid var(--rule); }
.row.axis { border-top: 0; align-items: end; color: var(--quiet); font-size: .85rem; }
.row .what { padding: .35rem 0 .35rem 1.35rem; text-indent: -1.35rem; line-height: 1.4; }
.row .note { text-indent: 0; }
.sign { display: inline-block; width: 1.1rem; text-indent: 0; text-align: center; font-size: .9rem; }
.took { padding: .35rem 0; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; color: var(--quiet); }
svg { display: block; width: 100%; overflow: visible; }
.lane { position: relative; min-height: 1.6rem; }
.lane svg { position: absolute; inset: 0; height: 100%; }
.bar { transform: translateY(-5px); fill: var(--bar); }
.bar.failed { fill: var(--bad); }
.bar.skipped, .bar.undone { fill: var(--look); }
.pause { fill: var(--pause); }
.tick { stroke: var(--rule); stroke-width: 1; }
.mark { stroke: var(--mark); stroke-width: 1; stroke-dasharray: 3 3; }
.tick-name { fill: var(--quiet); font-size: 11px; }
.mark-name { fill: var(--mark); font-size: 11px; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--rule); font-size: .8rem; }
@media screen and (max-width: 46rem) {
  main { padding: 1.5rem 1rem 2rem; }
  .row { grid-template-columns: 1fr auto; }
  .row .what { grid-column: 1; }
  .row .took { grid-column: 2; grid-row: 1; }
  .row .lane, .row.axis svg { grid-column: 1 / -1; }
  .row .lane { min-height: 1.2rem; margin-bottom: .4rem; }
  .row.axis > div { display: none; }
  thead { display: none; }
  tr { display: block; padding: .5rem 0; border-top: 1px solid var(--rule); }
  tbody tr:first-child { border-top: 0; }
  td, tbody tr:first-child td { display: block; border: 0; padding: .1rem 0; }
  td:empty { display: none; }
  td[data-label]:not([data-label=""])::before { content: attr(data-label) ": "; color: var(--quiet); }
}
@media print {
  :root { --paper: #ffffff; --card: #ffffff; --ink: #000000; --quiet: #4a4f55; --rule: #cfd3d7; --good: #1f6b3d; --goodback: #e5f3ea; --look: #7a4f00; --lookback: #fbf0d9; --bad: #a01d16; --badback: #fbe7e5; --still: #444c55; --stillback: #eceef1; --bar: #5b84b1; --pause: #eef0f3; --mark: #8f5a22; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .badge, .warnings, .figure, .bar, .pause { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .row, tr, .figure, header { break-inside: avoid; }
  h2 { break-after: avoid; }
  section { overflow: visible; }
  section { margin-top: 1.4rem; }
}
`;
