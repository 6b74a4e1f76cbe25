import { ShopCluster } from '../kubernetes/shop-cluster';
import type { SupervisorClient } from '../supervisor/client';
import type { ServiceStatus } from '../supervisor/services';
import type { SiteName } from './address-plan';
import { clusterOf } from './kubernetes';

interface Place {
  readonly folder: string;
  readonly kubernetes?: boolean;
  readonly supervisor: SupervisorClient;
}

/** The services of a site and how many replicas of each should run and are ready, whatever runs them. */
export async function servicesAt({ folder, kubernetes, supervisor }: Place, site: SiteName): Promise<ServiceStatus[]> {
  if (!kubernetes) return supervisor.services(site);
  const cluster = await ShopCluster.open(clusterOf(folder, site).adminKubeconfig);
  return cluster.services();
}
