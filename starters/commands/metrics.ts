import { stringify } from 'yaml';
import { toApplication } from '../../config/application';
import type { LoadedConfig } from '../../config/load';
import { failure } from '../../core/errors';
import { alertRules } from '../../core/monitoring/alert-rules';
import { scrapeConfig, type ScrapeTarget } from '../../core/monitoring/scrape-config';
import { dashboard } from '../../core/monitoring/dashboard';
import type { Front } from '../front';
import type { Session } from '../session';

/** What Prometheus and Grafana need to be told, made of the config: names, thresholds and addresses are those that it has. */
export function registerMetrics(front: Front): void {
  const group = front.group('metrics', 'what Prometheus and Grafana are given');
  front.command(
    group,
    'rules',
    'the alert rules of the application, for `rule_files` of Prometheus',
    [['drctl metrics rules > /etc/prometheus/drctl-rules.yml', 'then reload Prometheus']],
    async (session) => printYaml(session, alertRules(toApplication(session.config))),
  );
  front.command(
    group,
    'scrape',
    'the scrape jobs of its workers, for `scrape_configs` of Prometheus',
    [['drctl metrics scrape', 'where each worker answers']],
    async (session) => printYaml(session, scrapeJobs(session.config)),
  );
  front.command(
    group,
    'dashboard',
    'the dashboard of the application, to be imported into Grafana',
    [['drctl metrics dashboard > drctl.json', 'Dashboards, New, Import']],
    async (session) => session.io.out(JSON.stringify(dashboard(toApplication(session.config)), null, 2)),
  );
}

function printYaml(session: Session, value: object): void {
  // A line that is folded cannot be pasted into a query.
  session.print(value, () => [stringify(value, { lineWidth: 0 }).trimEnd()]);
}

/** Throws ConfigInvalid where no worker answers Prometheus. */
export function scrapeJobs({
  file,
  metrics,
  sites,
  initialSite,
}: Pick<LoadedConfig, 'file' | 'metrics' | 'sites' | 'initialSite'>): object {
  const listen = metrics.prometheus?.listen;
  if (listen === undefined) {
    throw failure('ConfigInvalid', `${file} has no metrics.prometheus: its workers do not answer Prometheus`, {
      next: 'Add `metrics: { prometheus: { listen: 127.0.0.1:9464 } }` and start the workers again.',
    });
  }
  const workers = Object.keys(sites).flatMap((site): ScrapeTarget[] => {
    const address = typeof listen === 'string' ? listen : listen[site];
    return address === undefined ? [] : [{ site, address }];
  });
  return scrapeConfig(
    workers,
    Object.keys(sites).filter((site) => site !== initialSite),
  );
}
