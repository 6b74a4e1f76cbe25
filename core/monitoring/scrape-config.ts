/** The scrape jobs that the rules name; `up` is Prometheus's own metric of each. */
export const WORKERS_JOB = 'drctl';
export const DR_SITE_JOB = 'dr-site-health';

export interface ScrapeTarget {
  readonly site: string;
  readonly address: string;
}

/**
 * What goes below `scrape_configs` of a Prometheus. The label is not `site`, which some figures have themselves. The site that is asked whether it could take over is every one but the
 * first: after a role change the rules still name the right one, because `up` says whether a site answers, not what it is.
 */
export function scrapeConfig(workers: readonly ScrapeTarget[], standbySites: readonly string[]): object {
  const targets = (of: readonly ScrapeTarget[]) =>
    of.map(({ site, address }) => ({ targets: [address], labels: { worker: site } }));
  return {
    scrape_configs: [
      { job_name: WORKERS_JOB, scrape_interval: '15s', static_configs: targets(workers) },
      {
        job_name: DR_SITE_JOB,
        scrape_interval: '15s',
        metrics_path: '/site-health',
        static_configs: targets(workers.filter(({ site }) => standbySites.includes(site))),
      },
    ],
  };
}
