import type { MetricFamily } from '../../core/metric-family';
import type { ApplicationFacts } from '../../core/monitoring/facts';
import { gauge } from '../../core/monitoring/gauge';

/**
 * What the strategy's `up{job="dr-site-health"}` asks: could this site serve. Prometheus takes any answer but 200 for down. 503
 * when a database server of the site does not answer its worker, or when nobody knows.
 */
export function siteHealth(
  site: string,
  applications: readonly (ApplicationFacts | null)[],
): { readonly status: 200 | 503; readonly families: readonly MetricFamily[] } {
  const servers = applications.flatMap((facts) =>
    (facts?.servers ?? []).map((server) => ({ app: facts?.application ?? '', ...server })),
  );
  const known = applications.every((facts) => facts !== null && facts.servers !== null);
  const status = known && servers.every(({ reachable }) => reachable) ? 200 : 503;
  const families = [
    gauge('drctl_site_healthy', '1 while every database server of the site answers its worker.', [
      [{ site }, status === 200 ? 1 : 0],
    ]),
    gauge(
      'drctl_site_server_up',
      '1 for a database server of the site that answers.',
      servers.map(({ app, store, reachable }) => [{ app, store, site }, reachable ? 1 : 0]),
    ),
  ];
  return { status, families };
}
