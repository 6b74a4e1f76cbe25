/** What is drawn, in figures and words: the page draws it, and its label says the same to who cannot see it. */
export type Plot = DaysPlot | BarsPlot;

/** One column a day, made of parts that are stacked. */
export interface DaysPlot {
  readonly kind: 'days';
  readonly title: string;
  /** In words, what the whole drawing shows. */
  readonly summary: string;
  readonly series: readonly { readonly name: string; readonly look: Look }[];
  readonly days: readonly { readonly day: string; readonly values: readonly number[]; readonly label: string }[];
  /** What a whole column stands for. */
  readonly top: number;
  readonly topLabel: string;
}

/** `good`, `bad` and `open` are judged; `plain` is not. */
export type Look = 'good' | 'bad' | 'open' | 'plain';

/** One bar a row over a logarithmic axis of time, with the objective as a mark. */
export interface BarsPlot {
  readonly kind: 'bars';
  readonly title: string;
  readonly summary: string;
  readonly rows: readonly {
    readonly name: string;
    /** Null: not known; then there is no bar. */
    readonly seconds: number | null;
    readonly markSeconds: number;
    readonly text: string;
    readonly look: Look;
  }[];
}

/** One part of the report, in the order in which it is read. */
export interface Section {
  readonly heading: string;
  /** What a reader has to know of it, before the figures. */
  readonly words: string | null;
  readonly plots: readonly Plot[];
  readonly table: {
    readonly header: readonly string[];
    readonly rows: readonly (readonly string[])[];
  } | null;
}
