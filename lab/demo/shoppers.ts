import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Journal, readJournal } from '../load/journal';
import { projectRoot } from '../runtime/servers';
import { waitUntil } from '../servers/process';
import type { LabDescription } from '../sites/lab-folder';
import { supervisorOf } from '../lab';
import { claim } from './session';

const PROGRAM = 'shoppers';

/** The load generator as a program of the lab: it places orders through the public name and keeps its own journal. */
export class Shoppers {
  readonly journalFile: string;
  private readonly lab: LabDescription;

  constructor(lab: LabDescription) {
    this.lab = lab;
    this.journalFile = path.join(lab.folder, 'shoppers.jsonl');
  }

  async start(ordersPerSecond: number): Promise<void> {
    const { dns, folder } = this.lab;
    const earlierBytes = this.journalBytes();
    const argv = [process.execPath, path.join(projectRoot(), 'dist/lab/load/main.js')];
    argv.push('--rate', String(ordersPerSecond), '--journal', this.journalFile, '--dns', dns.servers.join(','));
    argv.push('--name', dns.name, '--port', String(dns.gatewayPort));
    const supervisor = supervisorOf(this.lab);
    await supervisor.register({
      name: PROGRAM,
      site: 'outside',
      kind: 'program',
      argv,
      env: {},
      cwd: folder,
      restart: false,
    });
    await supervisor.start(PROGRAM); // one that was stopped is known already, and stays stopped when it is registered again
    // Without its journal nothing could be asked about them yet; each start leaves a line in it.
    await waitUntil("the shoppers' journal", () => Promise.resolve(this.journalBytes() > earlierBytes));
  }

  private journalBytes(): number {
    return fs.existsSync(this.journalFile) ? fs.statSync(this.journalFile).size : 0;
  }

  /** Ends it after the orders in flight have their answer. */
  async stop(): Promise<void> {
    await supervisorOf(this.lab).stop(PROGRAM);
  }

  journal(): Promise<Journal> {
    return Promise.resolve(readJournal(this.journalFile));
  }

  async acknowledged(since: Date, site?: string): Promise<number> {
    const journal = await this.journal();
    return [...journal.orders.values()].filter(
      ({ acknowledged }) =>
        acknowledged && acknowledged.atMs >= since.getTime() && (site === undefined || acknowledged.site === site),
    ).length;
  }

  /** Waits until so many orders were acknowledged since a moment. */
  async waitForOrders(count: number, since: Date, deadlineSeconds: number, site?: string): Promise<void> {
    const deadline = Date.now() + deadlineSeconds * 1_000;
    while ((await this.acknowledged(since, site)) < count) {
      claim(
        Date.now() < deadline,
        `fewer than ${count} orders were acknowledged${site ? ` at ${site}` : ''} within ${deadlineSeconds} s`,
      );
      await delay(200);
    }
  }
}
