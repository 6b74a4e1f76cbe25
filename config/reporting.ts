import { z } from 'zod';
import type { ReportTargets } from '../core/readiness-report/facts';
import { STORAGE_CLASSES } from '../core/storage-classes';
import type { Config } from './schema';
import { name } from './values';

const price = z.number().min(0);

export const costSettings = z
  .strictObject({
    currency: z.string().regex(/^[A-Z]{3}$/, 'must be three letters, such as USD'),
    storagePerGibMonth: z
      .record(name, z.partialRecord(z.enum([...STORAGE_CLASSES, 'LOCAL']), price))
      .meta({ description: 'Repository → storage class → what a GiB costs a month; what is not named is not known' }),
  })
  .meta({ description: 'Prices of storage, for the report on a month' });

/** What the report on a month holds against what was measured. */
export function reportTargets({ objectives, costs }: Config): ReportTargets {
  const { uptimePercent, backupSuccessPercent, dataIntegrityPercent } = objectives;
  const prices = costs ? { currency: costs.currency, perGibMonth: costs.storagePerGibMonth } : null;
  return { uptimePercent, backupSuccessPercent, dataIntegrityPercent, prices };
}
