import { serverBinaries } from '../runtime/servers';
import { answers, type ServerCommand, waitUntil } from './process';

/** moto keeps everything in memory: who starts it again creates its zones and topics again. */
export function motoCommand({ dataDir, host, port }: { dataDir: string; host: string; port: number }): ServerCommand {
  const { argv, env } = serverBinaries().motoServer;
  // Not unprivileged: the Python that runs it may lie in a home folder that only its owner can enter.
  return { argv: [...argv, '-H', host, '-p', `${port}`], env: { ...env }, cwd: dataDir };
}

export async function motoReady({ host, port }: { host: string; port: number }): Promise<void> {
  await waitUntil(`moto at ${host}:${port} answering`, () => answers(`http://${host}:${port}/moto-api/data.json`));
}
