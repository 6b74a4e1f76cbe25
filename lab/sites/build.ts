import * as path from 'node:path';
import { serverFolder } from '../servers/process';
import type { SupervisorClient } from '../supervisor/client';
import type { ProgramSpec } from '../supervisor/program';
import type { AddressPlan } from './address-plan';
import type { LabSecrets } from './lab-folder';

/** What every part of a lab's start needs. */
export interface LabBuild {
  readonly folder: string;
  readonly plan: AddressPlan;
  readonly secrets: LabSecrets;
  readonly supervisor: SupervisorClient;
  /** The services run as Deployments in a cluster of each site. */
  readonly kubernetes: boolean;
  /** How long each name server goes on with the old zone after a change; the usual delays where it is left out. */
  readonly dnsDelaysMs?: readonly number[] | undefined;
  /** One calm line for the person who waits. */
  readonly progress: (line: string) => void;
}

/** The names of the stores in the lab's application config, and of what a fence covers; as config/examples names them. */
export const STORES = { postgresql: 'orders-db', mongodb: 'catalog', redis: 'sessions' } as const;

/** A folder that the store's server owns. */
export function storeFolder({ folder }: LabBuild, site: string, store: string): string {
  serverFolder(path.join(folder, site));
  return serverFolder(path.join(folder, site, store));
}

/**
 * Registers a server and waits until it answers. A store that is fenced, killed or stopped stays so, and false is returned:
 * `up` must not undo what a failover did. What belongs to no site is started again.
 */
export async function runServer(build: LabBuild, spec: ProgramSpec, ready: () => Promise<void>): Promise<boolean> {
  const { state } = await build.supervisor.register(spec);
  if (state === 'fenced' || state === 'killed' || state === 'stopped') {
    if (spec.kind !== 'infrastructure') {
      build.progress(`${spec.name} stays ${state}`);
      return false;
    }
    await build.supervisor.start(spec.name);
  }
  await ready();
  return true;
}
