/** What the drawings add to the style sheet of reports. Judged by colour and by words; what is not known is hatched as well. */
export const PLOT_STYLE = `
.figures { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
figure { margin: 1rem 0 0; }
figcaption { font-size: .85rem; color: var(--quiet); display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; justify-content: space-between; }
.legend { display: inline-flex; flex-wrap: wrap; gap: .2rem 1rem; }
.key { display: inline-flex; align-items: center; gap: .4rem; }
.key svg { width: .8rem; height: .8rem; }
.plot { margin-top: .35rem; }
.days rect, .bars rect, .key rect { shape-rendering: crispEdges; }
.good { fill: var(--good); }
.bad { fill: var(--bad); }
.plain { fill: var(--bar); }
.open { fill: var(--pause); stroke: var(--quiet); stroke-width: .5; stroke-dasharray: 2 2; }
.base { stroke: var(--rule); stroke-width: 1; }
.goal { stroke: var(--mark); stroke-width: 2; }
.bar-row { display: grid; grid-template-columns: minmax(9rem, 2fr) 6fr 8rem; column-gap: 1rem; align-items: center; border-top: 1px solid var(--rule); padding: .3rem 0; }
.bar-row .lane { min-height: 1rem; }
.bar-row .value { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar-row .value.bad { color: var(--bad); font-weight: 600; }
.bar-row .value.open { color: var(--look); }
.facts dt { white-space: nowrap; }
.risks li { margin-top: .3rem; }
.risk { font-weight: 600; }
.risk.high { color: var(--bad); }
.risk.medium { color: var(--look); }
.next { color: var(--quiet); font-size: .9rem; }
section > p + table { margin-top: .6rem; }
figure + table { margin-top: .8rem; }
@media print { figure, .bar-row { break-inside: avoid; } .good, .bad, .plain, .open { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
`;
