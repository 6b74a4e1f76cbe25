import type { MetricFamily, MetricPoint } from '../metric-family';

type Labels = Readonly<Record<string, string>>;

/** A gauge; a value that is not known is no sample. */
export function gauge(
  name: string,
  help: string,
  samples: readonly (readonly [Labels, number | null])[],
): MetricFamily {
  const known = samples.flatMap(([labels, value]): MetricPoint[] => (value === null ? [] : [{ labels, value }]));
  return { name, help, type: 'gauge', samples: known };
}
