/** Every address of one lab, from its network number: the sites are 127.n.1.x, 127.n.2.x and 127.n.3.x, a drill's bubble 127.n.4.x, the rest 127.n.0.x. */
export const SITES = ['primary', 'dr'] as const;
export type SiteName = (typeof SITES)[number];

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface SiteAddresses {
  readonly postgresql: Address;
  readonly mongodb: readonly [Address, Address];
  readonly redis: Address;
  readonly gateway: Address;
  /** Where the site's worker answers Prometheus. */
  readonly metrics: Address;
  /** The site's API server, where its services run in Kubernetes, and etcd beside it. */
  readonly kubernetes: Address;
  /** What its node gives to pods. */
  readonly pods: readonly string[];
  /** The address of the n-th service; its replicas count up from port 8101. */
  readonly service: (index: number) => Address;
}

export interface AddressPlan {
  readonly temporal: Address & { readonly uiPort: number };
  readonly s3: Address & { readonly innerPorts: number };
  readonly aws: Address;
  readonly supervisor: Address;
  readonly dns: readonly [Address, Address];
  /** A resolver with a cache, as users have one between themselves and the name servers. */
  readonly resolver: Address;
  readonly sites: Readonly<Record<SiteName, SiteAddresses>>;
  readonly witness: Address;
  /** Where a drill's services start: the addresses of a site, of which only gateway and services are used. */
  readonly bubble: Pick<SiteAddresses, 'gateway' | 'service'>;
}

export function addressPlan(network: number): AddressPlan {
  const beside = (last: number, port: number): Address => ({ host: `127.${network}.0.${last}`, port });
  return {
    // Temporal's development server reaches its own parts at 127.0.0.1 whatever --ip says, so here the port tells labs apart.
    temporal: { host: '127.0.0.1', port: 17_000 + network, uiPort: 18_000 + network },
    // SeaweedFS servers are kept apart by ports (see seaweedfs.ts); the tests' ones start at 12,000.
    s3: { ...beside(2, 9000), innerPorts: 11_000 + network * 10 },
    aws: beside(3, 5000),
    supervisor: beside(9, 7070),
    dns: [beside(53, 5353), beside(54, 5353)],
    resolver: beside(55, 5353),
    sites: { primary: siteAddresses(network, 1), dr: siteAddresses(network, 2) },
    witness: { host: `127.${network}.3.11`, port: 27017 },
    bubble: siteAddresses(network, 4),
  };
}

/** Six services, doubled while a rollout replaces them, and room for an autoscaler's. */
const POD_ADDRESSES = 100;
const FIRST_POD = 150;

function siteAddresses(network: number, site: number): SiteAddresses {
  const at = (last: number, port: number): Address => ({ host: `127.${network}.${site}.${last}`, port });
  return {
    postgresql: at(10, 5432),
    mongodb: [at(11, 27017), at(12, 27017)],
    redis: at(13, 6379),
    gateway: at(100, 8080),
    metrics: at(14, 9464),
    kubernetes: at(15, 6443),
    pods: Array.from({ length: POD_ADDRESSES }, (_, index) => at(FIRST_POD + index, 0).host),
    service: (index) => at(20 + index, 8101),
  };
}

/** What must be free before a lab may take the network. */
export function claimedAddresses(plan: AddressPlan): Address[] {
  const ofSites = SITES.flatMap((site) => {
    const { postgresql, mongodb, redis, gateway } = plan.sites[site];
    return [postgresql, ...mongodb, redis, gateway];
  });
  return [plan.supervisor, plan.temporal, plan.s3, plan.aws, plan.witness, ...ofSites];
}
