import { clockText, type Figure, secondsText } from '../report/figures';
import type { ObjectiveResult, ReadinessReport } from './report';

/** Never rounded up to a promise that was not kept: 99.9996 is 99.999. */
export const percentText = (percent: number): string => {
  if (percent === 100) return '100 %';
  const digits = percent >= 99 ? 3 : 1;
  return `${(Math.floor(percent * 10 ** digits) / 10 ** digits).toFixed(digits)} %`;
};

export const moneyText = (amount: number | null, currency: string | null): string =>
  amount === null
    ? 'not known'
    : `${amount > 0 && amount < 0.01 ? '< 0.01' : amount.toFixed(2)} ${currency ?? ''}`.trim();

const valueText = ({ unit }: Pick<ObjectiveResult, 'unit'>, value: number) =>
  unit === 'percent' ? percentText(value) : secondsText(value);

const JUDGED = { within: 'kept', over: 'NOT KEPT', open: 'not known for sure' } as const;

export const measuredText = (result: ObjectiveResult): string =>
  result.measured === null ? 'not known' : valueText(result, result.measured);

const exactPercent = (percent: number) => `${percent} %`;

export const targetText = (result: ObjectiveResult): string =>
  result.unit === 'percent' ? `at least ${exactPercent(result.target)}` : `at most ${secondsText(result.target)}`;

export const judgedText = ({ judgement }: Pick<ObjectiveResult, 'judgement'>): string => JUDGED[judgement];

export const asSentence = (words: string): string => `${words.slice(0, 1).toUpperCase()}${words.slice(1)}`;

/** The promises first: what a reader came for. */
export function figuresOf({ objectives }: ReadinessReport): Figure[] {
  return objectives.map((each) => ({
    label: each.title,
    value: measuredText(each),
    note: `${judgedText(each)}; promised ${targetText(each)}. ${asSentence(each.basis)}`,
    judgement: each.judgement,
  }));
}

const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June'],
  ...['July', 'August', 'September', 'October', 'November', 'December'],
];

export const monthText = (month: string): string => `${MONTHS[Number(month.slice(5)) - 1]} ${month.slice(0, 4)}`;

export const titleOf = ({ application, period }: ReadinessReport): string =>
  `DR readiness of ${application}, ${monthText(period.month)}`;

export const periodText = ({ period, endedAt }: ReadinessReport): string =>
  period.isWhole
    ? `${period.from.slice(0, 10)} to ${new Date(Date.parse(period.until) - 1).toISOString().slice(0, 10)} (UTC), made ${clockText(endedAt)}`
    : `${period.from.slice(0, 10)} until ${clockText(period.until)}: the month is not over`;
