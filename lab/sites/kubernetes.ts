import * as fs from 'node:fs';
import * as path from 'node:path';
import { builtApiServer } from '../kubernetes/build';
import { apiServer, type KubernetesAccess } from '../kubernetes/server';
import { SHOP_NAMESPACE, ShopCluster, type ShopService } from '../kubernetes/shop-cluster';
import { projectRoot } from '../runtime/servers';
import type { ProgramSpec } from '../supervisor/program';
import type { SiteName } from './address-plan';
import { type LabBuild, runServer, storeFolder } from './build';

/** How the cluster of a site is reached. */
export function clusterOf(
  folder: string,
  site: SiteName,
): Pick<KubernetesAccess, 'adminKubeconfig' | 'operatorKubeconfig'> {
  const file = (user: string) => path.join(folder, site, 'kubernetes', `${user}.kubeconfig`);
  return { adminKubeconfig: file('admin'), operatorKubeconfig: file('dr-operator') };
}

/** Starts the cluster of a site, which belongs to the site and dies with it; false when the site is down. */
export async function startCluster(build: LabBuild, site: SiteName): Promise<boolean> {
  const program = await builtApiServer(build.progress);
  const { command, adminKubeconfig } = apiServer(program, {
    folder: storeFolder(build, site, 'kubernetes'),
    ...build.plan.sites[site].kubernetes,
  });
  const spec: ProgramSpec = { ...command, name: `kubernetes-${site}`, site, kind: 'program', restart: true };
  return runServer(build, spec, async () => (await ShopCluster.open(adminKubeconfig)).ready());
}

/** Makes the shop's Deployments in the cluster of a site, and starts the node that runs their pods. */
export async function startNode(
  build: LabBuild,
  { site, upstreamsFile, services }: { site: SiteName; upstreamsFile: string; services: readonly ShopService[] },
): Promise<void> {
  const { adminKubeconfig } = clusterOf(build.folder, site);
  const name = `node-${site}`;
  await (await ShopCluster.open(adminKubeconfig)).provide(name, services);
  const folder = path.join(build.folder, site, 'pods');
  fs.mkdirSync(folder, { recursive: true });
  await build.supervisor.register({
    ...{ name, site, kind: 'node', cwd: build.folder, restart: true },
    argv: [process.execPath, path.join(projectRoot(), 'dist/lab/kubernetes/node.js')],
    env: {
      NODE_NAME: name,
      NODE_KUBECONFIG: adminKubeconfig,
      NODE_NAMESPACE: SHOP_NAMESPACE,
      NODE_ADDRESSES: build.plan.sites[site].pods.join(','),
      NODE_FOLDER: folder,
      NODE_UPSTREAMS_FILE: upstreamsFile,
    },
  });
}
