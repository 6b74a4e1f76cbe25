import type { CheckName, ChecklistItem, ChecklistPeriod } from './checklist';

const checked = (id: string, title: string, check: CheckName, what: string): ChecklistItem => ({
  ...{ id, title, what, check, sign: false },
});

/** `check` is shown to the person who signs. */
const signed = (id: string, title: string, what: string, check: CheckName | null = null): ChecklistItem => ({
  ...{ id, title, what, check, sign: true },
});

/** Every line of the strategy's "Backup & DR Checklist", in its order and words. The config adds to them and leaves out. */
export const DEFAULT_ITEMS: Readonly<Record<ChecklistPeriod, readonly ChecklistItem[]>> = {
  daily: [
    checked(
      'backup-status',
      'Backup status check',
      'backups',
      'every store is backed up and its log is within its RPO',
    ),
    checked('backup-integrity', 'Backup integrity', 'read-proofs', 'a random backup of each store was read completely'),
    checked('storage', 'Storage monitoring', 'capacity', 'the disks of the workers have room for the next backups'),
    checked('replication', 'Replication health', 'replication', 'every standby follows, within its RPO'),
    checked('dr-site', 'DR site health', 'dr-site', 'the DR site could take over now'),
  ],
  weekly: [
    checked('restore-test', 'Restore test', 'restore-proofs', 'each store was restored from the repository and read'),
    checked('dr-network', 'Network connectivity', 'dr-network', 'a worker at the DR site reaches what it needs there'),
    signed('documentation', 'Documentation review', 'the recovery procedures say what is done today; mend them'),
    signed('training', 'Team training', 'who is on call has gone through a recovery; name them'),
    signed('capacity-plan', 'Capacity planning', 'what is stored, how it grows, and until when it fits', 'capacity'),
  ],
  monthly: [
    checked('dr-test', 'Full DR test', 'drill', 'the drill of this month came to its end without a failure'),
    checked('objectives', 'RTO/RPO validation', 'objectives', 'what restores really took is within RTO and RPO'),
    signed(
      'security-review',
      'Security review',
      'who can read, delete and restore backups; keys and credentials rotated',
    ),
    signed('cost-review', 'Cost optimization', 'what the backups cost, by storage class; what could go', 'capacity'),
    signed(
      'readiness-report',
      'Stakeholder report',
      'the report on DR readiness was sent; name to whom',
      'readiness-report',
    ),
  ],
  quarterly: [
    signed('dr-plan', 'DR plan update', 'the plan fits the application as it is now; `drctl plan failover` shows it'),
    signed('vendor-review', 'Vendor review', 'the vendors of backup and DR keep what they promised'),
    signed(
      'compliance-audit',
      'Compliance audit',
      'retention, proofs and reports are what the auditor asks for',
      'objectives',
    ),
    signed('technology-refresh', 'Technology refresh', 'newer ways to back up were looked at'),
    signed('impact-analysis', 'Business impact analysis', 'the objectives still fit the business'),
  ],
};
