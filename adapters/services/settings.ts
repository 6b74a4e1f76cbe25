import { z } from 'zod';
import { secretField, timeoutSecondsField } from '../settings-fields';

export const namespaceField = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be the name of a namespace');

/** How one site's cluster is reached. */
export const clusterAccess = z
  .strictObject({
    /** A kubeconfig file; give this or `inCluster`. */
    kubeconfig: z.string().min(1).optional(),
    /** A context of the kubeconfig; its current one when absent. */
    context: z.string().min(1).optional(),
    /** Use the service account of the pod that the worker runs in. */
    inCluster: z.literal(true).optional(),
    namespace: namespaceField,
  })
  .refine((access) => (access.kubeconfig === undefined) !== (access.inCluster === undefined), {
    error: 'name either a kubeconfig file or `inCluster: true`',
  })
  .refine((access) => access.context === undefined || access.kubeconfig !== undefined, {
    error: 'a context needs a kubeconfig',
    path: ['context'],
  });

const kubernetesServicesSettings = z.strictObject({
  kind: z.literal('kubernetes'),
  /** By site. A service is the Deployment of the same name in the site's namespace. */
  sites: z.record(z.string(), clusterAccess),
  timeoutSeconds: timeoutSecondsField(10),
});

const processServicesSettings = z.strictObject({
  kind: z.literal('process'),
  /** The supervisor's address: `http://127.20.0.9:7070`. */
  url: z.url({ protocol: /^https?$/ }),
  token: secretField,
  timeoutSeconds: timeoutSecondsField(10),
});

/** What runs the application's services. */
export const settings = z.discriminatedUnion('kind', [kubernetesServicesSettings, processServicesSettings]);

export type ClusterAccess = z.output<typeof clusterAccess>;
export type KubernetesServicesSettings = z.output<typeof kubernetesServicesSettings>;
export type ProcessServicesSettings = z.output<typeof processServicesSettings>;
export type ServicesSettings = z.output<typeof settings>;
