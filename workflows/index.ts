export { archiveLog } from './archive-log';
export { backUpStore } from './back-up-store';
export { checkHealth } from './check-health';
export { drill } from './drill';
export { failOver } from './fail-over';
export { launchBackups } from './launch-backups';
export { restoreStores } from './restore-stores';
export { watchReplication } from './watch-replication';
