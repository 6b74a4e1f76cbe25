import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import type { OpenApplication } from '../../activities/deps';
import { createRepository } from '../../adapters/repository';
import { loadConfig } from '../../config/load';
import { failure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import type { Repository } from '../../core/repository';
import { queries, type RunStatus } from '../../core/runs';
import { accessTo, type LabAccess } from '../../lab/demo/access';
import { Shoppers } from '../../lab/demo/shoppers';
import {
  applicationConfigFile,
  labDestroy,
  type LabDescription,
  labStatus,
  labUp,
  type LabUpOptions,
  supervisorOf,
} from '../../lab/lab';
import { projectRoot } from '../../lab/runtime/servers';
import { waitUntil } from '../../lab/servers/process';
import { openApplication } from '../../workers/wiring';

export { waitUntil } from '../../lab/servers/process';

/** Several times what the longest command needs on a busy machine: a command that hangs is a failure, not a wait. */
const COMMAND_MILLISECONDS = 240_000;
/** A worker bundles its workflows when it starts, which takes seconds on a busy machine. */
const WORKER_READY_MILLISECONDS = 90_000;

export interface CommandResult {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** A whole lab with the real `./drctl`, the real workers and a view behind the scenes, for one test file. */
export class E2eLab {
  readonly lab: LabDescription;
  readonly access: LabAccess;
  readonly shoppers: Shoppers;
  readonly configFile: string;
  readonly open: OpenApplication;
  readonly cloud: Repository;
  readonly offsite: Repository;
  readonly client: Client;
  private readonly home: string;

  private constructor(home: string, lab: LabDescription, open: OpenApplication, client: Client) {
    this.home = home;
    this.lab = lab;
    this.open = open;
    this.client = client;
    this.access = accessTo(lab);
    this.shoppers = new Shoppers(lab);
    this.configFile = applicationConfigFile(lab);
    this.cloud = this.repository('cloud');
    this.offsite = this.repository('offsite');
  }

  static async up(options: Pick<LabUpOptions, 'kubernetes'> = {}): Promise<E2eLab> {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-e2e-'));
    fs.chmodSync(home, 0o755); // servers that run as another user enter it
    process.env['DRCTL_LAB_HOME'] = home;
    const name = `e2e-${randomBytes(3).toString('hex')}`;
    try {
      const lab = await labUp({ ...options, name });
      const connection = await Connection.connect({ address: lab.temporal.address });
      const open = await openApplication(loadConfig(applicationConfigFile(lab)));
      const up = new E2eLab(home, lab, open, new Client({ connection }));
      await Promise.all([up.workerReady('primary'), up.workerReady('dr')]);
      return up;
    } catch (error) {
      await labDestroy({ name });
      throw error;
    }
  }

  async destroy(): Promise<void> {
    await this.client.connection.close();
    await labDestroy({ name: this.lab.name });
    fs.rmSync(this.home, { recursive: true, force: true });
  }

  get supervisor() {
    return supervisorOf(this.lab);
  }

  /** The services of both sites, whatever runs them. */
  async services() {
    return (await labStatus({ name: this.lab.name })).services;
  }

  /** A repository of the config as its users see it. */
  repository(name: string, file = this.configFile): Repository {
    const config = loadConfig(file);
    const settings = config.repositories[name];
    if (!settings) throw failure('NotFound', `there is no repository ${name} in ${file}`);
    return createRepository(name, settings, config.application);
  }

  /** Runs the real command as a person would, without a terminal; `onSaid` hears what it tells them meanwhile. */
  drctl(
    args: readonly string[],
    config = this.configFile,
    onSaid: (text: string) => void = () => {},
  ): Promise<CommandResult> {
    const env = { ...process.env, DRCTL_CONFIG: config };
    const child = spawn(path.join(projectRoot(), 'drctl'), args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: COMMAND_MILLISECONDS,
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
      onSaid(text);
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ exitCode: code ?? -1, out, err }));
    });
  }

  /** A command that must succeed; answers its JSON. */
  async ask<T>(...args: readonly string[]): Promise<T> {
    const { exitCode, out, err } = await this.drctl([...args, '--output', 'json']);
    if (exitCode !== 0) throw new Error(`drctl ${args.join(' ')} ended with ${exitCode}:\n${out}\n${err}`);
    return JSON.parse(out) as T;
  }

  /** SIGKILL to the worker of a site and everything it started, then the same worker again, as a service manager does. */
  async killWorker(site: 'primary' | 'dr'): Promise<void> {
    await this.supervisor.kill(`worker-${site}`);
    await this.supervisor.start(`worker-${site}`);
  }

  /** Resolves when the worker process that runs now asks Temporal for work. */
  async workerReady(site: 'primary' | 'dr'): Promise<void> {
    const { pid } = await this.program(`worker-${site}`);
    const request = { namespace: 'default', taskQueue: { name: taskQueues.workflows } };
    await waitUntil(
      `the worker of ${site} being ready`,
      async () => {
        const { pollers } = await this.client.workflowService.describeTaskQueue(request);
        return (pollers ?? []).some(({ identity }) => identity?.endsWith(`/${pid}`));
      },
      { deadlineMs: WORKER_READY_MILLISECONDS, intervalMs: 250 },
    );
  }

  async program(name: string) {
    const found = (await this.supervisor.processes()).find((each) => each.name === name);
    if (!found) throw new Error(`the lab has no program ${name}`);
    return found;
  }

  /** Null while no worker answers, as in the seconds after one was killed. */
  async status<S extends RunStatus>(workflowId: string): Promise<S | null> {
    const handle = this.client.workflow.getHandle(workflowId);
    try {
      return await this.client.connection.withDeadline(Date.now() + 3_000, () => handle.query<S>(queries.status));
    } catch {
      return null; // the callers ask again until their own deadline
    }
  }

  handle(workflowId: string): WorkflowHandle {
    return this.client.workflow.getHandle(workflowId);
  }

  /** Waits until the run has scheduled an activity of this type: it runs now, or it has just been done. */
  async waitForActivity(workflowId: string, type: string, deadlineMs = 120_000): Promise<void> {
    await waitUntil(
      `${type} of ${workflowId}`,
      async () => {
        const { events } = await this.handle(workflowId).fetchHistory();
        return (events ?? []).some((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === type);
      },
      { deadlineMs, intervalMs: 30 },
    );
  }

  /** The worker processes that took a decision of this run, in order. */
  async workersOf(workflowId: string): Promise<string[]> {
    const { events } = await this.handle(workflowId).fetchHistory();
    return [...new Set((events ?? []).flatMap((event) => event.workflowTaskCompletedEventAttributes?.identity ?? []))];
  }

  /** How many attempts the activities of this type needed, the largest number; 0 where none was completed. */
  async attempts(workflowId: string, type: string): Promise<number> {
    const { events } = await this.handle(workflowId).fetchHistory();
    const scheduled = new Set<string>();
    let most = 0;
    for (const event of events ?? []) {
      const { eventId, activityTaskScheduledEventAttributes: begun, activityTaskStartedEventAttributes: ran } = event;
      if (begun?.activityType?.name === type) scheduled.add(String(eventId));
      if (ran && scheduled.has(String(ran.scheduledEventId))) most = Math.max(most, ran.attempt ?? 0);
    }
    return most;
  }

  /** Every object of the application in both repositories with its size: what a refused command may not change. */
  async contents(prefixes: readonly string[] = ['']): Promise<Record<string, number>> {
    const found: Record<string, number> = {};
    for (const repository of [this.cloud, this.offsite]) {
      for (const prefix of prefixes) {
        for await (const { key, sizeBytes } of repository.list(prefix)) found[`${repository.name}/${key}`] = sizeBytes;
      }
    }
    return found;
  }
}

export async function keysOf(repository: Repository, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of repository.list(prefix)) keys.push(key);
  return keys;
}

/** Parts of uploads that nobody will complete cost money and are seen by no listing. */
export async function unfinishedUploads(repository: Repository): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of repository.unfinishedUploads('')) keys.push(key);
  return keys;
}
