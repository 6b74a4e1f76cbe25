import * as fs from 'node:fs';
import { logger } from './runtime';

/** Renewed this often; whoever looks at its age (docs/deployment.md) allows for several. */
const BEAT_MILLISECONDS = 5_000;

/** What of a Temporal worker tells that it takes work. */
export interface Polling {
  getState(): string;
}

/**
 * Renews `file` for as long as every worker of this process takes work and its event loop turns: a file, because a worker
 * need not listen anywhere. Not renewed while it stops; gone when it has stopped. Temporal being away does not
 * stop it: a worker waits for it, and to be started anew would not help.
 */
export function keepAliveFile(file: string, workers: readonly Polling[]): () => void {
  const beat = () => {
    if (!workers.every((worker) => worker.getState() === 'RUNNING')) return;
    try {
      fs.writeFileSync(file, `${new Date().toISOString()}\n`);
    } catch (error) {
      // The probe finds the file old and says so; the work itself needs no such file.
      logger.error({ err: error, file }, 'the alive file cannot be written');
    }
  };
  // Left by a predecessor that was killed: this one has not begun.
  fs.rmSync(file, { force: true });
  const timer = setInterval(beat, BEAT_MILLISECONDS);
  beat();
  return () => {
    clearInterval(timer);
    fs.rmSync(file, { force: true });
  };
}
