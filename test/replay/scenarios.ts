import { taskQueues } from '../../core/names';
import { shop } from '../support/shop-application';
import { backupScenarios } from './backup-scenarios';
import { recoveryScenarios } from './recovery-scenarios';
import { roleChangeScenarios } from './role-change-scenarios';
import { watchScenarios } from './watch-scenarios';
import type { Scenario } from './scenario';

export const QUEUES = ['primary', 'dr'].flatMap((site) => [
  taskQueues.site(shop.name, site),
  taskQueues.host(shop.name, site, 'h1'),
]);

export const scenarios = (): Scenario[] => [
  ...backupScenarios(),
  ...recoveryScenarios(),
  ...roleChangeScenarios(),
  ...watchScenarios(),
];
