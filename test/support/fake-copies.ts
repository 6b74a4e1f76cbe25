import type { CopiedStore } from '../../core/copies';
import { failure } from '../../core/errors';
import type { FakeActivities } from './workflow-environment';

const at = '2026-01-01T00:00:00.000Z';

/** Copies that are made at once; those of `broken` stores fail for good, those of `damaged` ones leave something out. */
export function fakeCopyWorld(
  calls: string[],
  { broken = [], damaged = [] }: { readonly broken?: readonly string[]; readonly damaged?: readonly string[] } = {},
): FakeActivities {
  return {
    async copyToRepository({ store, copy, wholeListing }): Promise<CopiedStore> {
      calls.push(`${store} to ${copy}${wholeListing ? ', whole' : ''}`);
      if (broken.includes(store)) throw failure('AccessDenied', `${copy} refuses ${store}`);
      const some = { objects: 2, sizeBytes: 1_024 };
      const notCopied = damaged.includes(store)
        ? [{ key: `data/full/${store}/x`, problem: 'its SHA-256 differs' }]
        : [];
      return { store, copy, backups: some, log: some, others: some, notCopied, completeUntil: at, seconds: 1 };
    },
  };
}
