import { formatBytes } from '../clock';
import type { ReadinessFacts, StoragePrices, StoredPart } from './facts';
import { daysOf } from './period';
import type { CapacitySection, CostSection } from './report';

const GIB = 2 ** 30;

export function capacityOf({ stored, period, previous, disks }: ReadinessFacts): CapacitySection | null {
  if (stored === null) return null;
  const { parts, addedByDay } = stored;
  const days = daysOf(period).map((day) => ({ day, bytes: addedByDay[day] ?? 0 }));
  return {
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    objects: parts.reduce((sum, { objects }) => sum + objects, 0),
    parts: parts.toSorted((a, b) => b.bytes - a.bytes),
    addedByDay: days,
    addedBytes: days.reduce((sum, { bytes }) => sum + bytes, 0),
    bytesBefore: previous?.capacity?.bytes ?? null,
    disks: disks.map((disk) =>
      'holds' in disk
        ? disk.found
        : `${disk.use} ${disk.directory} at ${disk.site}: ${formatBytes(disk.freeBytes)} of ${formatBytes(disk.totalBytes)} free`,
    ),
  };
}

/** What is stored now, at the prices of the config. Requests, transfer and early deletion are in no price of a GiB. */
export function costOf({ stored, targets: { prices } }: ReadinessFacts): CostSection | null {
  if (stored === null) return null;
  const sums = new Map<string, { repository: string; storageClass: string; bytes: number }>();
  for (const { repository, storageClass, bytes } of stored.parts) {
    const name = `${repository} ${storageClass}`;
    const sum = sums.get(name) ?? { repository, storageClass, bytes: 0 };
    sums.set(name, { ...sum, bytes: sum.bytes + bytes });
  }
  const rows = [...sums.values()].map((row) => {
    const perGibMonth = priceOf(row, prices);
    return { ...row, perGibMonth, perMonth: perGibMonth === null ? null : (row.bytes / GIB) * perGibMonth };
  });
  return {
    currency: prices?.currency ?? null,
    rows,
    knownPerMonth: rows.reduce((sum, { perMonth }) => sum + (perMonth ?? 0), 0),
    unpricedBytes: rows.reduce((sum, { perMonth, bytes }) => sum + (perMonth === null ? bytes : 0), 0),
  };
}

/** A month; null where one of them has no price. */
export function costOfParts(parts: readonly StoredPart[], prices: StoragePrices | null): number | null {
  return parts.reduce<number | null>((sum, part) => {
    const price = priceOf(part, prices);
    return sum === null || price === null ? null : sum + (part.bytes / GIB) * price;
  }, 0);
}

function priceOf(
  { repository, storageClass }: Pick<StoredPart, 'repository' | 'storageClass'>,
  prices: StoragePrices | null,
): number | null {
  return prices?.perGibMonth[repository]?.[storageClass] ?? null;
}
