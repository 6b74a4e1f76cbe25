import * as fs from 'node:fs';
import type { BubbleTemplate, OpenBubble } from './bubbles';
import type { Fence } from './fences';
import type { Hold, ProgramSpec } from './program';
import type { ServiceTemplate } from './services';

/** What outlives the supervisor: a fence and a killed site stay so over its restarts. */
export interface SupervisorState {
  programs: Record<string, { spec: ProgramSpec; hold: Hold }>;
  fences: Record<string, Fence>;
  services: Record<string, { template: ServiceTemplate; desiredReplicas: number; generation: number }>;
  bubbles?: Record<string, { template: BubbleTemplate; open: OpenBubble | null }>;
}

export function readState(file: string): SupervisorState {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')) as SupervisorState;
  } catch (error) {
    // A damaged file must stop us: starting without it would forget a fence.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { programs: {}, fences: {}, services: {} };
  }
}

/** Durable before it returns: a fence is answered for only when it would survive a power cut. */
export function writeState(file: string, state: SupervisorState): void {
  const scratch = `${file}.new`;
  const handle = fs.openSync(scratch, 'w', 0o600);
  try {
    fs.writeSync(handle, JSON.stringify(state, null, 2));
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
  fs.renameSync(scratch, file);
}
