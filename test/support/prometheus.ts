import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { PrometheusPrograms } from '../../lab/runtime/prometheus';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { RunningServer } from '../../lab/servers/running-server';
import { waitUntil } from './servers';

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export interface RuleState {
  readonly name: string;
  readonly health: string;
  readonly state: 'inactive' | 'pending' | 'firing';
  readonly lastError?: string;
  readonly alerts?: readonly { readonly state: string; readonly labels: Readonly<Record<string, string>> }[];
}

/** A real Prometheus that scrapes and evaluates every second, or every so many. */
export class TestPrometheus {
  readonly api: string;
  private readonly folder: string;
  private readonly server: RunningServer;
  private readonly interval: string;

  private constructor(api: string, folder: string, server: RunningServer, interval: string) {
    this.api = api;
    this.folder = folder;
    this.server = server;
    this.interval = interval;
  }

  static async start({ prometheus }: PrometheusPrograms, rules: object, jobs: readonly object[], seconds = 1) {
    const folder = mkdtempSync(join(tmpdir(), 'drctl-prometheus-'));
    const address = `${await freeLoopbackHost(9090)}:9090`;
    const api = `http://${address}`;
    const argv = [
      prometheus,
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      '--web.enable-lifecycle',
    ];
    const server = new RunningServer({
      name: 'Prometheus',
      command: { argv, cwd: folder },
      logFile: join(folder, 'prometheus.log'),
      ready: () => waitUntil('Prometheus', async () => (await fetch(`${api}/-/ready`).catch(() => null))?.ok === true),
      stopSignal: 'SIGKILL',
    });
    const started = new TestPrometheus(api, folder, server, `${seconds}s`);
    started.configure(rules, jobs);
    await server.start();
    return started;
  }

  async stop(): Promise<void> {
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Scrapes and judges by these from now on. */
  async reload(rules: object, jobs: readonly object[]): Promise<void> {
    this.configure(rules, jobs);
    const { ok, status } = await fetch(`${this.api}/-/reload`, { method: 'POST' });
    if (!ok) throw new Error(`Prometheus does not take its new configuration: ${status}`);
  }

  /** Throws what Prometheus says of a query that it does not take. */
  async query(expr: string): Promise<readonly Sample[]> {
    const response = await fetch(`${this.api}/api/v1/query?query=${encodeURIComponent(expr)}`);
    const answer = (await response.json()) as { status: string; error?: string; data: { result: Sample[] } };
    if (answer.status !== 'success') throw new Error(`${expr}: ${answer.error}`);
    return answer.data.result;
  }

  async rules(): Promise<RuleState[]> {
    const answer = (await (await fetch(`${this.api}/api/v1/rules`)).json()) as {
      data: { groups: { rules: RuleState[] }[] };
    };
    return answer.data.groups.flatMap((group) => group.rules);
  }

  private configure(rules: object, jobs: readonly object[]): void {
    writeFileSync(join(this.folder, 'rules.yml'), stringify(rules));
    const often = jobs.map((job) => ({ ...job, scrape_interval: this.interval, scrape_timeout: this.interval }));
    const config = { global: { evaluation_interval: this.interval }, rule_files: ['rules.yml'], scrape_configs: often };
    writeFileSync(join(this.folder, 'prometheus.yml'), stringify(config));
  }
}
