import { type Metric, Registry } from 'prom-client';
import type { MetricFamily } from '../../core/metric-family';

export const PROMETHEUS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/**
 * The text that Prometheus scrapes. Families without a sample are left out whole: a name without a value says nothing.
 * prom-client's own counters and histograms live in the process; these are computed from what is stored, so its registry is
 * handed the values as they are.
 */
export async function prometheusText(families: readonly MetricFamily[]): Promise<string> {
  const registry = new Registry();
  for (const { name, help, type, samples } of families) {
    if (samples.length === 0) continue;
    const values = samples.map(({ suffix, labels, value }) => ({
      value,
      labels,
      ...(suffix ? { metricName: name + suffix } : {}),
    }));
    const metric = { name, get: async () => ({ name, help, type, values, aggregator: 'first' }) };
    registry.registerMetric(metric as unknown as Metric);
  }
  return registry.metrics();
}
