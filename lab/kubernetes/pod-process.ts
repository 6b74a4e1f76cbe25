import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Container, V1Pod, V1Probe } from '@kubernetes/client-node';
import { spawnServer } from '../servers/process';
import { killTree } from '../servers/process-tree';
import type { PodState } from './pod-status';

/** Kubernetes waits 10 s before the second restart; a person watches here. */
const BACKOFF_MS = { first: 500, longest: 10_000 };
/** Kubernetes' defaults (`failureThreshold`, `timeoutSeconds`), but for its period of 10 s: whoever waits for a pod waits for it. */
const PROBE = { periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 3 };
const MILLISECONDS = 1_000;

export interface PodPlace {
  /** Its own, where its node can give it one. */
  readonly podIP: string;
  /** For its log and its last words. */
  readonly folder: string;
  /** What its command begins with, see `PodNetwork`. */
  readonly enter: readonly string[];
}

/** The one container of a pod as a process of this machine, started again as its `restartPolicy` says. */
export class PodProcess {
  readonly uid: string;
  private readonly container: V1Container;
  private readonly place: PodPlace;
  private readonly restarts: boolean;
  private readonly names: Readonly<Record<string, string>>;
  private child: ChildProcess | null = null;
  private startedAt = new Date();
  private restartCount = -1;
  private ended: number | null = null;
  private retryAtMs = 0;
  private probedAtMs = 0;
  private probing = false;
  private probeFailures = 0;
  private ready = false;
  private ending: Promise<void> | null = null;

  constructor({ metadata, spec }: V1Pod, place: PodPlace) {
    this.uid = metadata?.uid ?? '';
    this.container = spec?.containers[0] as V1Container;
    this.place = place;
    this.restarts = (spec?.restartPolicy ?? 'Always') === 'Always';
    this.names = { 'status.podIP': place.podIP, 'metadata.name': metadata?.name ?? '' };
  }

  get podIP(): string {
    return this.place.podIP;
  }

  state(): PodState {
    const { ready, ended, startedAt, podIP } = this;
    const lastWords = ended !== null && fs.existsSync(this.lastWordsFile) ? fs.readFileSync(this.lastWordsFile) : '';
    return { ready, ended, startedAt, podIP, restartCount: this.restartCount, lastWords: lastWords.toString() };
  }

  /** Starts it where it should run and does not, and asks from time to time whether it is ready. To be called again and again. */
  tend(): void {
    if (this.ending || this.ended !== null) return;
    if (!this.child && Date.now() >= this.retryAtMs) this.start();
    const { readinessProbe } = this.container;
    if (!readinessProbe) this.ready = this.child !== null;
    else if (this.child && !this.probing) void this.probe(readinessProbe);
  }

  /** Asks it to end, and kills what is left of it after the pod's grace. */
  stop(graceSeconds: number): Promise<void> {
    this.ready = false;
    this.ending ??= this.end(graceSeconds * MILLISECONDS);
    return this.ending;
  }

  private async end(graceMs: number): Promise<void> {
    const { child } = this;
    if (child?.pid === undefined) return;
    child.kill('SIGTERM');
    const until = Date.now() + graceMs;
    while (this.child === child && Date.now() < until) await delay(20);
    await killTree(child.pid);
  }

  private start(): void {
    const { command = [], args = [] } = this.container;
    const argv = [...command, ...args].map((each) => (each === 'node' ? process.execPath : each));
    const { folder, enter } = this.place;
    const spec = { argv: [...enter, ...argv], env: this.environment(), cwd: folder };
    const child = spawnServer(spec, `${folder}/${this.names['metadata.name']}.log`);
    this.child = child;
    this.startedAt = new Date();
    this.restartCount += 1;
    this.probeFailures = 0;
    child.once('exit', (code) => this.exited(child, code ?? 137));
    child.once('error', () => this.exited(child, 127)); // its program is not there
  }

  private exited(child: ChildProcess, code: number): void {
    if (this.child !== child) return;
    this.child = null;
    this.ready = false;
    if (!this.restarts) this.ended = code;
    this.retryAtMs = Date.now() + Math.min(BACKOFF_MS.first * 2 ** this.restartCount, BACKOFF_MS.longest);
  }

  private environment(): Record<string, string> {
    const { env = [], terminationMessagePath } = this.container;
    const set = env.map(({ name, value = '', valueFrom }) => {
      const field = valueFrom?.fieldRef?.fieldPath;
      const meant = field === undefined ? value : (this.names[field] ?? '');
      return [name, meant === terminationMessagePath ? this.lastWordsFile : meant] as const;
    });
    return Object.fromEntries(set);
  }

  private get lastWordsFile(): string {
    return `${this.place.folder}/${this.uid}.answer`;
  }

  /** A pod that takes long to answer must not hold up the others of its node. */
  private async probe(probe: V1Probe): Promise<void> {
    const periodMs = (probe.periodSeconds ?? PROBE.periodSeconds) * MILLISECONDS;
    if (Date.now() - this.probedAtMs < periodMs) return;
    this.probedAtMs = Date.now();
    this.probing = true;
    const { child } = this;
    const answered = await answers(probe, this.place.podIP);
    this.probing = false;
    if (this.child !== child || this.ending) return;
    this.probeFailures = answered ? 0 : this.probeFailures + 1;
    if (answered) this.ready = true;
    else if (this.probeFailures >= (probe.failureThreshold ?? PROBE.failureThreshold)) this.ready = false;
  }
}

async function answers({ httpGet, timeoutSeconds }: V1Probe, podIP: string): Promise<boolean> {
  const url = `http://${httpGet?.host ?? podIP}:${String(httpGet?.port)}${httpGet?.path ?? '/'}`;
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout((timeoutSeconds ?? PROBE.timeoutSeconds) * MILLISECONDS),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // no answer is the very thing that "not ready" means
  }
}
