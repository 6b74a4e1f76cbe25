import { z } from 'zod';
import { THAW_TIERS } from '../core/thaw';
import {
  dataKeyId,
  fenceSettings,
  notifierSettings,
  recipientSettings,
  repositorySettings,
  serviceControllerSettings,
  metricsSettings,
} from './adapter-settings';
import { checklistSettings } from './checklists';
import { copySettings } from './copies';
import { dnsSettings, ttl } from './dns';
import { drillSettings } from './drill';
import { drillReferences } from './drill-references';
import { alertSettings, dashboardSettings, lifecycleSettings, monitoringSettings, retentionSettings } from './keeping';
import { crossReferences } from './references';
import { costSettings } from './reporting';
import { scheduleSettings } from './schedules';
import { hookSettings } from './hooks';
import { storeSettings } from './stores';
import { directory, secret } from './paths-and-secrets';
import { duration, hostAndPort, name, percent, size } from './values';

const temporal = z
  .strictObject({
    address: hostAndPort,
    namespace: z.string().min(1).default('default'),
    /** For links in messages. */
    webUi: z.url().optional().meta({ description: 'Address of the Web UI, for links in messages' }),
    tls: z
      .strictObject({
        serverName: z.string().optional(),
        authority: secret.optional().meta({ description: 'PEM certificate of the authority' }),
        certificate: secret.optional(),
        key: secret.optional(),
      })
      .optional(),
    apiKey: secret.optional(),
  })
  .meta({ description: 'Where the workflows run' });

const site = z.strictObject({ description: z.string().default('') });

const services = z
  .strictObject({
    controller: serviceControllerSettings,
    groups: z
      .array(
        z.strictObject({
          name,
          services: z.array(z.strictObject({ name, replicas: z.int().min(1).max(1_000) })).min(1),
        }),
      )
      .min(1),
  })
  .meta({
    description: 'What is started at a site when it becomes active; a group starts when the ones before it are ready',
  });

const endpoint = z.strictObject({
  url: z.url({ protocol: /^https?$/ }),
  method: z.enum(['GET', 'POST']).default('GET'),
  expectStatus: z.int().min(100).max(599).default(200),
  timeout: duration.default({ text: '30s', milliseconds: 30_000, seconds: 30 }),
});

const failover = z
  .strictObject({
    confirm: z
      .strictObject({ probes: z.int().min(2).max(100), interval: duration })
      .meta({ description: 'How often and how far apart the active site is probed before it is held to be down' }),
    approvers: z.array(z.string().min(1)).min(1).meta({ description: 'Who may approve a role change' }),
    requesterMayApprove: z.boolean().default(false),
    escalateAfter: duration.meta({
      description: 'An approval without an answer is escalated after this long; it is never assumed',
    }),
    servicesReadyWithin: duration,
    dnsWithin: duration,
    catchUpWithin: duration.default({ text: '2m', milliseconds: 120_000, seconds: 120 }).meta({
      description: 'How long a standby may replay what only the archived log has, before people are asked',
    }),
    switchover: z
      .strictObject({
        within: duration.default({ text: '2m', milliseconds: 120_000, seconds: 120 }).meta({
          description: 'From the first step that changes something to the promotion; past it everything returns',
        }),
        maxLag: duration.default({ text: '10s', milliseconds: 10_000, seconds: 10 }).meta({
          description: 'A standby that needs longer to have what its primary has now does not take over',
        }),
        lowerTtlTo: ttl.optional().meta({
          description:
            'TTL of the public names from before the approval until they have settled; left out: not lowered',
        }),
      })
      .prefault({})
      .meta({ description: 'Limits of a planned switchover' }),
  })
  .meta({ description: 'How a role change is decided and how long its steps may take' });

const encryption = z
  .strictObject({
    key: dataKeyId.optional().meta({
      description: 'Id of the data key that new backups and log are encrypted with; left out: they are stored plain',
    }),
    recipients: z
      .record(name, recipientSettings)
      .refine(
        (recipients) => Object.keys(recipients).length > 0,
        'names nobody: without a recipient no data key can be kept',
      )
      .meta({ description: 'Who can unwrap the data keys, in the order in which they are tried' }),
  })
  .meta({ description: 'Encryption of what backups and log hold' });

const objectives = z.strictObject({
  rto: duration,
  rpo: duration,
  uptimePercent: percent,
  backupSuccessPercent: percent,
  dataIntegrityPercent: percent.default(100),
});

/** One file is one application. Strict everywhere: a misspelt key is an error, never ignored. */
export const configSchema = z
  .strictObject({
    application: name,
    temporal,
    sites: z.record(name, site).meta({ description: 'The places that can run the application' }),
    initialSite: name.meta({ description: 'The active site until the first role change' }),
    repositories: z.record(name, repositorySettings).meta({ description: 'Where backups live' }),
    repository: name.meta({ description: 'The repository of every store that names none' }),
    controlRepository: name.optional().meta({
      description:
        'Where role changes, samples and reports are kept: one that survives the loss of a site; `repository` where it is left out',
    }),
    copies: copySettings,
    spool: z
      .strictObject({ directory })
      .meta({ description: "A worker's disk space for dumps on their way to the repository" }),
    backup: z.strictObject({
      mode: z.enum(['spool', 'stream']).default('spool'),
      volumeSize: size.default({ text: '128MiB', bytes: 128 * 2 ** 20 }),
      zstdLevel: z.int().min(1).max(19).default(3),
    }),
    encryption: encryption.optional(),
    restore: z
      .strictObject({
        directory: directory.meta({ description: 'Where drills and restores without --into put their copies' }),
        host: z.string().default('127.0.0.1').meta({ description: 'Address that restored servers listen on' }),
        osUser: z.string().optional().meta({ description: 'Operating system user of restored servers' }),
        thaw: z
          .strictObject({
            tier: z.enum(THAW_TIERS).default('standard'),
            keep: duration
              .default({ text: '7d', milliseconds: 604_800_000, seconds: 604_800 })
              .meta({ description: 'How long the copies that S3 brings back are kept, in whole days' }),
          })
          .prefault({})
          .meta({ description: 'How fast backups are asked back from GLACIER and DEEP_ARCHIVE' }),
      })
      .meta({ description: 'Defaults of every restore; a store may have its own' }),
    stores: z.record(name, storeSettings),
    services: services.optional(),
    dns: dnsSettings.optional(),
    endpoints: z.array(endpoint).default([]).meta({ description: 'What must answer for the application to be up' }),
    fence: fenceSettings.optional().meta({ description: 'What can make a whole site unable to write' }),
    notifications: z.record(name, notifierSettings).default({}),
    metrics: metricsSettings.default({}).meta({ description: 'CloudWatch, and where Prometheus scrapes' }),
    failover,
    hooks: hookSettings,
    objectives,
    schedules: scheduleSettings,
    checklists: checklistSettings,
    retention: retentionSettings,
    lifecycle: lifecycleSettings.optional(),
    costs: costSettings.optional(),
    monitoring: monitoringSettings,
    alerts: alertSettings,
    dashboard: dashboardSettings,
    drill: drillSettings.optional(),
  })
  .superRefine(crossReferences)
  .superRefine(drillReferences);

export type Config = z.output<typeof configSchema>;
