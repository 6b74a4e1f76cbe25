const { existsSync } = require('node:fs');
const path = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * Files that take longer than half a minute, the longest first. What begins last decides when a run ends: by the sizes of the
 * files, which is jest's own order where nothing is known yet, two of three workers had nothing to do for the last minute.
 */
const LONGEST = [
  'e2e/worker-killed',
  'integration/mongodb-contract',
  'e2e/failover',
  'e2e/switchover',
  'integration/mongodb-point-in-time',
  'e2e/faults',
  'integration/postgresql-archive',
  'integration/redis',
  'integration/redis-log',
  'integration/redis-log-kills',
  'integration/postgresql',
  'workflows/fail-over',
  'integration/mongodb-failover',
  'integration/postgresql-recovery',
  'e2e/consistency',
  'integration/mongodb-forced',
  'contract/repository-s3',
  'workflows/back-up-store',
  'integration/postgresql-chain',
  'unit/house',
  'integration/lab',
  'integration/transfer',
  'integration/postgresql-replay',
  'integration/postgresql-restored-state',
  'integration/postgresql-faults',
  'integration/mongodb-log',
  'integration/mongodb-selection',
  'workflows/switch-over',
  'integration/kubernetes-bubble',
  'integration/cli',
  'integration/backup-soundness',
  'integration/sealed-log',
  'integration/mongodb-segments',
  'contract/repository-local',
  'integration/restore-by-hand',
  'integration/repository-s3-faults',
  'integration/shop-faults',
  'integration/files',
  'integration/postgresql-source',
  'unit/status',
];
for (const name of LONGEST)
  if (!existsSync(path.join(__dirname, '..', `${name}.test.ts`)))
    throw new Error(`test/${name}.test.ts is gone: remove it from the list in test/support/longest-first.cjs`);

/** What failed the last time, then the longest, then the others in jest's order. */
module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    return super.sort(tests).toSorted((a, b) => this.rank(a) - this.rank(b));
  }

  rank(test) {
    if (this.hasFailed(test)) return -1;
    const place = LONGEST.findIndex((name) => test.path.endsWith(`/test/${name}.test.ts`));
    return place === -1 ? LONGEST.length : place;
  }
};
