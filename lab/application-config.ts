import * as fs from 'node:fs';
import * as path from 'node:path';
import { stringify } from 'yaml';
import { SHOP_NAMESPACE } from './kubernetes/shop-cluster';
import { serverBinaries } from './runtime/servers';
import { isRoot } from './servers/process';
import { type Address, addressPlan, SITES, type SiteAddresses, type SiteName } from './sites/address-plan';
import { STORES } from './sites/build';
import { CONFIGURATION_FOLDERS, applicationRoot, configurationRoot } from './sites/files';
import { clusterOf } from './sites/kubernetes';
import type { LabDescription } from './sites/lab-folder';
import { MONGO_USERS, REPLICA_SET } from './sites/mongodb';
import { DATABASE, POSTGRES_ROLES } from './sites/postgresql';
import { REDIS_SECRET } from './sites/redis';
import { DRILL_NAME } from './sites/shared-servers';
import { BUBBLE } from './sites/shop';
import { SERVICE_NAMES } from './shop/service-names';

/** Where the lab's application config lies. */
export function applicationConfigFile(lab: { folder: string }): string {
  return path.join(lab.folder, 'ultramarket.yaml');
}

/**
 * Writes the config with which drctl protects the lab's shop. It says what config/examples/ultramarket.yaml says, at this lab's
 * addresses and with times fit for watching: a person waits for the confirmation and the DNS here.
 */
export function writeApplicationConfig(lab: LabDescription): string {
  const file = applicationConfigFile(lab);
  const comment = '# Written by `drctl lab up`; a change here is lost with the next one.\n';
  fs.mkdirSync(path.join(lab.folder, 'spool'), { recursive: true });
  fs.mkdirSync(path.join(lab.folder, 'restore'), { recursive: true, mode: 0o755 });
  fs.writeFileSync(`${file}.new`, comment + stringify(applicationConfig(lab)));
  fs.renameSync(`${file}.new`, file);
  return file;
}

function applicationConfig(lab: LabDescription): object {
  const plan = addressPlan(lab.network);
  const token = { file: lab.supervisor.tokenFile };
  const aws = { region: lab.aws.region, endpoint: lab.aws.endpoint, ...awsKeys(lab) };
  const publicUrl = `http://${lab.dns.name}:${lab.dns.gatewayPort}`;
  const gateways = Object.fromEntries(SITES.map((site) => [site, [plan.sites[site].gateway.host]]));
  return {
    application: 'ultramarket',
    temporal: { address: lab.temporal.address, namespace: 'default', webUi: lab.temporal.webUi },
    sites: { primary: { description: 'production' }, dr: { description: 'disaster recovery site' } },
    initialSite: 'primary',
    objectives: { rto: '4h', rpo: '15m', uptimePercent: 99.9, backupSuccessPercent: 99.95 },
    repositories: {
      cloud: s3(lab, 'ultramarket-backups'),
      offsite: s3(lab, 'ultramarket-offsite'),
      cdn: s3(lab, 'ultramarket-cdn-backup'),
    },
    repository: 'cloud',
    controlRepository: 'offsite',
    copies: { offsite: { maxLag: '1h' } },
    spool: { directory: path.join(lab.folder, 'spool') },
    backup: { mode: 'spool', volumeSize: '128MiB', zstdLevel: 3 },
    // PostgreSQL refuses root, so restored servers run as the user that the lab's own run as.
    restore: { directory: path.join(lab.folder, 'restore'), ...(isRoot ? { osUser: 'nobody' } : {}) },
    stores: stores(lab, plan.sites),
    services: {
      controller: lab.kubernetes ? clusters(lab) : { kind: 'process', url: lab.supervisor.url, token },
      groups: [
        { name: 'accounts', services: ['auth', 'user'].map(once) },
        { name: 'shop', services: SERVICE_NAMES.filter((name) => name !== 'auth' && name !== 'user').map(once) },
      ],
    },
    dns: {
      zone: { kind: 'route53', zoneId: lab.aws.zoneId, ...aws },
      nameServers: lab.dns.servers,
      resolvers: [`${plan.resolver.host}:${plan.resolver.port}`],
      records: [{ name: lab.dns.name, type: 'A', ttl: '60s', values: gateways }],
    },
    endpoints: ['/health', '/v2/auth/login', '/v2/products'].map((place) => ({
      url: publicUrl + place,
      timeout: '30s',
    })),
    fence: { kind: 'agent', url: lab.supervisor.url, token },
    notifications: { 'backup-alerts': { kind: 'sns', topicArn: lab.aws.topicArn, ...aws } },
    metrics: {
      cloudwatch: { namespace: 'UltraMarket/Backup', ...aws },
      prometheus: {
        listen: Object.fromEntries(SITES.map((site) => [site, hostAndPort(plan.sites[site].metrics)])),
        // A person watches.
        intervalSeconds: 10,
      },
    },
    ...decisions(),
    drill: drillOf(lab),
  };
}

/** As config/examples has it, in the lab's bubble. What it kills: what a drill makes, and one store of the site that is not active. */
function drillOf(lab: LabDescription): object {
  const { bubble } = addressPlan(lab.network);
  const token = { file: lab.supervisor.tokenFile };
  return {
    type: 'partial_failover',
    notifyStakeholders: true,
    recoveryWithin: '30m',
    name: { name: DRILL_NAME, values: [bubble.gateway.host] },
    bubble: { kind: 'process', url: lab.supervisor.url, token, site: BUBBLE },
    performance: { requests: 100, concurrency: 2, p95: '2s' },
    targets: [
      { name: 'database', store: STORES.postgresql },
      { name: 'service', service: 'order' },
      // Where services are pods, a drill kills pods, and no store of the lab is one.
      ...(lab.kubernetes ? [] : [{ name: 'standby', store: STORES.redis, site: 'dr' }]),
    ],
  };
}

/** drctl may do in them what its roles say. */
function clusters({ folder }: LabDescription): object {
  const access = (site: SiteName) => ({
    kubeconfig: clusterOf(folder, site).operatorKubeconfig,
    namespace: SHOP_NAMESPACE,
  });
  return { kind: 'kubernetes', sites: Object.fromEntries(SITES.map((site) => [site, access(site)])) };
}

function stores(lab: LabDescription, sites: Readonly<Record<SiteName, SiteAddresses>>): object {
  const binaries = serverBinaries();
  const secret = (name: string) => ({ file: path.join(lab.folder, 'secrets', name) });
  const perSite = (make: (site: SiteName) => object) => Object.fromEntries(SITES.map((site) => [site, make(site)]));
  const { backup } = POSTGRES_ROLES;
  return {
    [STORES.postgresql]: {
      engine: 'postgresql',
      toolsDirectory: binaries.postgresBin,
      sites: perSite((site) => ({
        ...sites[site].postgresql,
        user: backup.name,
        password: secret(backup.secret),
        database: DATABASE,
        applicationDatabase: DATABASE,
      })),
    },
    [STORES.mongodb]: {
      engine: 'mongodb',
      replicaSet: REPLICA_SET,
      user: MONGO_USERS.backup.name,
      password: secret(MONGO_USERS.backup.secret),
      toolsDirectory: path.dirname(binaries.mongod),
      sites: perSite((site) => ({ members: sites[site].mongodb.map(({ host, port }) => `${host}:${port}`) })),
    },
    [STORES.redis]: {
      engine: 'redis',
      toolsDirectory: path.dirname(binaries.redisServer),
      sites: perSite((site) => ({
        ...sites[site].redis,
        password: secret(REDIS_SECRET),
        aofDirectory: path.join(lab.folder, site, 'redis', 'appendonlydir'),
      })),
    },
    application: {
      engine: 'files',
      rpo: '24h',
      excludes: ['*/node_modules/*', '*/logs/*', '*/tmp/*'],
      mirrors: [
        { from: path.join(applicationRoot(lab, 'primary'), 'static'), to: { repository: 'cdn', prefix: 'assets/' } },
      ],
      sites: perSite((site) => ({ roots: [applicationRoot(lab, site)] })),
    },
    configuration: {
      engine: 'files',
      artifactKind: 'config',
      rpo: '7d',
      sites: perSite((site) => ({
        roots: CONFIGURATION_FOLDERS.map((folder) => configurationRoot(lab, site, folder)),
      })),
    },
  };
}

function s3(lab: LabDescription, bucket: string): object {
  const file = (name: string) => ({ file: path.join(lab.folder, 'secrets', name) });
  const credentials = { accessKeyId: file('s3-access-key-id'), secretAccessKey: file('s3-secret-access-key') };
  return { kind: 's3', bucket, region: lab.s3.region, endpoint: lab.s3.endpoint, forcePathStyle: true, credentials };
}

/** The emulator takes any credentials, but the SDK wants some. */
function awsKeys(lab: LabDescription): object {
  const file = (name: string) => ({ file: path.join(lab.folder, 'secrets', name) });
  return { accessKeyId: file('s3-access-key-id'), secretAccessKey: file('s3-secret-access-key') };
}

const hostAndPort = ({ host, port }: Address) => `${host}:${port}`;

function once(name: string): object {
  return { name, replicas: 1 };
}

/** Decisions, schedules, retention and alerts: the strategy's values but for the waits of a failover. */
function decisions(): object {
  const run = (what: string, cron: string, catchUp: string, of?: string[]) => ({
    run: what,
    cron,
    ...(of ? { stores: of } : {}),
    overlap: 'skip',
    catchUp,
  });
  const databases = [STORES.postgresql, STORES.mongodb, STORES.redis];
  return {
    failover: {
      confirm: { probes: 3, interval: '2s' },
      approvers: ['oncall-lead', 'platform-lead'],
      requesterMayApprove: false,
      escalateAfter: '10m',
      servicesReadyWithin: '2m',
      dnsWithin: '2m',
    },
    schedules: {
      timezone: 'UTC',
      runs: {
        full: run('full-backup', '0 2 * * *', '60m', [...databases, 'application']),
        incremental: run('incremental-backup', '0 */4 * * *', '60m', databases),
        configuration: run('full-backup', '0 3 * * 0', '12h', ['configuration']),
        health: run('health-check', '*/5 * * * *', '5m'),
        readiness: run('readiness', '30 * * * *', '10m'),
        copies: run('copy', '*/5 * * * *', '5m'),
        drill: run('drill', '0 1 1 * *', '6h'),
        daily: run('daily-checklist', '0 6 * * *', '6h'),
        weekly: run('weekly-checklist', '0 6 * * 1', '1d'),
        monthly: run('monthly-checklist', '0 6 2 * *', '2d'),
        quarterly: run('quarterly-checklist', '0 6 5 1,4,7,10 *', '7d'),
      },
    },
    retention: {
      // No local copies: both sites share this machine's disk, and what its tests restore is the repository.
      databaseFull: { local: '0d', cloud: '30d', archive: '7y' },
      databaseIncremental: { local: '0d', cloud: '7d', archive: '1y' },
      transactionLogs: { local: '24h', cloud: '7d', archive: '3mo' },
      files: { local: '0d', cloud: '30d', archive: '1y' },
      configuration: { local: '0d', cloud: '365d', archive: 'forever' },
    },
    monitoring: { backupMaxAge: '25h', stores: { configuration: { backupMaxAge: '8d' } } },
    alerts: {
      backupFailure: { for: '15m', severity: 'critical' },
      backupDelayed: { olderThan: '24h', for: '1h', severity: 'warning' },
      drSiteDown: { for: '5m', severity: 'critical' },
    },
  };
}
