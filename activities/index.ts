import { createApplicationActivities } from './application';
import { createArchiveActivities } from './archive';
import { createBackupActivities } from './backup';
import { createCatchUpActivities } from './catch-up';
import { createChecklistActivities } from './checklist';
import { createCopyActivities } from './copies';
import type { ActivityDeps } from './deps';
import { createDnsActivities } from './dns';
import { createDrillActivities } from './drill';
import { createDrillNameActivities } from './drill-name';
import { createDrillSpeedActivities } from './drill-speed';
import { createDrillTargetActivities } from './drill-targets';
import { createHandOverActivities } from './hand-over';
import { createHealthActivities } from './health';
import { createHoldFenceActivities } from './hold-fence';
import { createHookActivities } from './hooks';
import { createNotifyActivities } from './notify';
import { createPrimaryActivities } from './primary';
import { createPromoteActivities } from './promote';
import { createReadinessActivities } from './readiness';
import { createReadinessReportActivities } from './readiness-report';
import { createReportActivities } from './report';
import { createRestorableInstantActivities } from './restorable-instant';
import { createRestoreActivities } from './restore';
import { createRetentionActivities } from './retention';
import { createServiceSizeActivities } from './service-sizes';
import { createSiteActivities } from './site';
import { createSiteFilesActivities } from './site-files';
import { createThawActivities } from './thaw';
import { createTrafficActivities } from './traffic';
import { createUptimeActivities } from './uptime';
import { createVerifyActivities } from './verify';
import { createWatchActivities } from './watch';

/** Every activity; each worker registers all of them and polls the queues of its site and host only. */
export function createActivities(deps: ActivityDeps) {
  return {
    ...createApplicationActivities(deps),
    ...createArchiveActivities(deps),
    ...createBackupActivities(deps),
    ...createCatchUpActivities(deps),
    ...createChecklistActivities(deps),
    ...createCopyActivities(deps),
    ...createDnsActivities(deps),
    ...createDrillActivities(deps),
    ...createDrillNameActivities(deps),
    ...createDrillSpeedActivities(deps),
    ...createDrillTargetActivities(deps),
    ...createHandOverActivities(deps),
    ...createHealthActivities(deps),
    ...createHoldFenceActivities(deps),
    ...createHookActivities(deps),
    ...createNotifyActivities(deps),
    ...createPrimaryActivities(deps),
    ...createPromoteActivities(deps),
    ...createReadinessActivities(deps),
    ...createReadinessReportActivities(deps),
    ...createReportActivities(deps),
    ...createRestorableInstantActivities(deps),
    ...createRestoreActivities(deps),
    ...createRetentionActivities(deps),
    ...createServiceSizeActivities(deps),
    ...createSiteActivities(deps),
    ...createSiteFilesActivities(deps),
    ...createThawActivities(deps),
    ...createTrafficActivities(deps),
    ...createUptimeActivities(deps),
    ...createVerifyActivities(deps),
    ...createWatchActivities(deps),
  };
}

export type Activities = ReturnType<typeof createActivities>;
