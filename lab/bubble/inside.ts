import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { entrance, exit, type Doors } from './doors';

/** The inner side of a bubble: runs in a network namespace of its own, which has nothing but the loopback. */
async function main(): Promise<void> {
  const doors = JSON.parse(process.env['BUBBLE_DOORS'] ?? '') as Doors;
  const pidFile = process.env['BUBBLE_PID_FILE'] ?? '';
  // A new namespace's loopback is down.
  execFileSync('ip', ['link', 'set', 'lo', 'up'], { timeout: 5_000, stdio: ['ignore', 'ignore', 'inherit'] });
  await Promise.all([...doors.out.map(entrance), ...doors.in.map(exit)]);
  fs.writeFileSync(`${pidFile}.new`, `${process.pid}`);
  fs.renameSync(`${pidFile}.new`, pidFile);
}

main().catch((error: unknown) => {
  process.stderr.write(`the bubble could not be made: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
