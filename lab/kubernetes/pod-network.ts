import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { V1NetworkPolicy } from '@kubernetes/client-node';
import { projectRoot } from '../runtime/servers';
import { waitUntil } from '../servers/process';

interface Wall {
  readonly policy: string;
  readonly process: ChildProcess;
  readonly pid: number;
}

/**
 * Stands in for the network plugin of one namespace. While a policy is there, pods start in a network namespace of their own,
 * which has a way to the addresses that the policy allows, and to nothing else.
 */
export class PodNetwork {
  /** False: a cluster whose network plugin takes no notice of policies. */
  enforces = true;
  private readonly folder: string;
  private readonly inward: readonly string[];
  private wall: Wall | null = null;

  /** `inward`: `host:port` of the pods' own, which are reached from outside as they are. */
  constructor(folder: string, inward: readonly string[]) {
    this.folder = folder;
    this.inward = inward;
  }

  /** To be told which policy there is before a pod starts; the pods of another one are cut off from everything. */
  async heed(policy: V1NetworkPolicy | null): Promise<void> {
    const uid = this.enforces ? (policy?.metadata?.uid ?? null) : null;
    if (this.wall && this.wall.policy !== uid) this.stop();
    if (this.wall || uid === null || !policy) return;
    const folder = path.join(this.folder, uid);
    fs.mkdirSync(folder);
    const door = (kind: string) => (address: string, index: number) => ({
      address,
      socket: path.join(folder, `${kind}-${index}`),
    });
    const doors = { in: this.inward.map(door('in')), out: allowedBy(policy).map(door('out')) };
    const pidFile = path.join(folder, 'inside.pid');
    const env = { PATH: process.env['PATH'], BUBBLE_DOORS: JSON.stringify(doors), BUBBLE_PID_FILE: pidFile };
    const outside = path.join(projectRoot(), 'dist/lab/bubble/outside.js');
    const child = spawn(process.execPath, [outside], { env, stdio: ['ignore', 'ignore', 'inherit'] });
    await waitUntil('the network of the pods', async () => fs.existsSync(pidFile));
    this.wall = { policy: uid, process: child, pid: Number(fs.readFileSync(pidFile, 'utf8')) };
  }

  /** What a pod's command begins with. */
  get enter(): readonly string[] {
    if (!this.wall) return [];
    const namespaces = `/proc/${this.wall.pid}/ns`;
    const user = process.getuid?.() === 0 ? [] : ['--preserve-credentials', `--user=${namespaces}/user`];
    return ['nsenter', ...user, `--net=${namespaces}/net`, '--'];
  }

  stop(): void {
    this.wall?.process.kill('SIGKILL');
    this.wall = null;
  }
}

/** The addresses that it lets pods reach. */
function allowedBy({ spec }: V1NetworkPolicy): string[] {
  return (spec?.egress ?? []).flatMap(({ to = [], ports = [] }) =>
    to.flatMap(({ ipBlock }) => (ipBlock ? ports.map(({ port }) => `${ipBlock.cidr.split('/')[0]}:${port}`) : [])),
  );
}
