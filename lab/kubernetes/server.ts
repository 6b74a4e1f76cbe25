import * as fs from 'node:fs';
import * as path from 'node:path';
import { freeLoopbackHost } from '../servers/loopback';
import { type ServerCommand, serverFolder, waitUntil } from '../servers/process';
import { RunningServer } from '../servers/running-server';
import { builtApiServer } from './build';
import { prepareState, writeKubeconfig } from './state';

/** The API server takes about 4 s on an idle core; several test files may start theirs at once. */
const READY_DEADLINE_MS = 90_000;

/** etcd's well-known client port, 2379, and 2380 for its peers: the address is this server's alone. */
const ETCD_PORT = 2379;

export interface KubernetesAccess {
  readonly url: string;
  /** Kubeconfig of a cluster administrator (`system:masters`). */
  readonly adminKubeconfig: string;
  /** Kubeconfig of the user `dr-operator` in the group `dr-operators`: may do what RBAC grants it, at first nothing. */
  readonly operatorKubeconfig: string;
}

export interface RunningKubernetes extends KubernetesAccess {
  readonly server: RunningServer;
  stop(): Promise<void>;
}

/**
 * Starts a real API server with etcd and the Deployment, ReplicaSet, StatefulSet and Namespace controllers in one process on
 * a loopback address (built first where it is not cached; see `whyNoApiServer`). A stand-in for the kubelet marks pods ready,
 * except those labelled `test/hold-ready=true`, and ends them, except those labelled `test/hold-deletion=true`. State and tokens are in `folder`, which `stop` leaves alone.
 */
export async function startKubernetes(options: {
  folder: string;
  host?: string;
  port?: number;
  onProgress?: (line: string) => void;
}): Promise<RunningKubernetes> {
  const { port = 6443 } = options;
  const host = options.host ?? (await freeLoopbackHost(port));
  const program = await builtApiServer(options.onProgress);
  const folder = serverFolder(options.folder);
  const ready = path.join(folder, 'ready');
  // A marker of an earlier start would call the server ready before it is.
  fs.rmSync(ready, { force: true });
  const { command, ...access } = apiServer(program, { folder, host, port });
  const server = new RunningServer({
    name: 'Kubernetes',
    command,
    logFile: path.join(folder, 'server.log'),
    ready: () =>
      waitUntil('Kubernetes being ready', async () => fs.existsSync(ready), { deadlineMs: READY_DEADLINE_MS }),
  });
  try {
    await server.start();
  } catch (error) {
    await server.kill();
    throw error;
  }
  return { ...access, server, stop: () => server.stop() };
}

/** How the program is started at this address, and how it is spoken to. The folder is prepared; a repeat changes nothing. */
export function apiServer(
  program: string,
  { folder, host, port }: { folder: string; host: string; port: number },
): { command: ServerCommand } & KubernetesAccess {
  const tokens = prepareState(folder);
  const argv = [program, '-dir', folder, '-host', host, '-port', `${port}`, '-etcd-port', `${ETCD_PORT}`];
  const url = `https://${host}:${port}`;
  return {
    command: { argv, cwd: folder, unprivileged: true },
    url,
    adminKubeconfig: writeKubeconfig(folder, url, 'admin', tokens.admin),
    operatorKubeconfig: writeKubeconfig(folder, url, 'dr-operator', tokens.operator),
  };
}
