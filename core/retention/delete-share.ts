import { formatBytes } from '../clock';
import { failure } from '../errors';
import type { Amount } from './runs';

export interface Going {
  readonly store: string;
  readonly backups: Amount;
  readonly goingBackups: Amount;
  readonly log: Amount;
  readonly goingLog: Amount;
}

/**
 * Throws DeletionRefused where more of a store would go at once than a person expects of a day: a wrong number in the policy
 * must not cost what was kept for years.
 */
export function requireModestShare(going: Going, maxDeleteShare: number): void {
  const { store, backups, goingBackups, log, goingLog } = going;
  const bytes = backups.sizeBytes + log.sizeBytes;
  const goingBytes = goingBackups.sizeBytes + goingLog.sizeBytes;
  const shares = [share(goingBackups.objects, backups.objects), share(goingBytes, bytes)];
  if (Math.max(...shares) <= maxDeleteShare) return;
  throw failure(
    'DeletionRefused',
    `retention of ${store} would delete ${goingBackups.objects} of its ${backups.objects} backups and ` +
      `${formatBytes(goingBytes)} of ${formatBytes(bytes)} at once; maxDeleteShare allows ${percent(maxDeleteShare)}`,
    {
      next:
        'Look at `drctl retention plan`. Where that is what you want: ' +
        `\`drctl retention apply ${store} --max-delete-share ${(Math.ceil(Math.max(...shares) * 100) / 100).toFixed(2)}\`.`,
      context: { store, backups: goingBackups.objects, bytes: goingBytes },
    },
  );
}

const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
const percent = (of: number) => `${Math.round(of * 100)} %`;
