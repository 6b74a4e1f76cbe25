import type { StoreLook, StoreRead } from '../../activities/verify';
import type { Proof } from '../../core/proofs';
import type { Finding } from '../../core/verification';
import { fakeRestoreActivities } from './fake-restore';
import type { FakeActivities } from './workflow-environment';

/** A pretended repository for verifications. */
export interface FakeVerifyWorld {
  readonly calls: string[];
  readonly proofs: Proof[];
  readonly told: { readonly title: string; readonly lines: readonly string[] }[];
  /** What a look, or the reading after it, finds in a store. */
  readonly seen: Map<string, readonly Finding[]>;
  readonly read: Map<string, readonly Finding[]>;
  /** By store: what earlier proofs found, and what of it is as it was stored when it is read again. */
  readonly carried: Map<string, readonly string[]>;
  readonly sound: Map<string, readonly string[]>;
  /** An earlier restore of the same state, and what differs from it. */
  earlier: { readonly proofId: string; readonly differences: readonly string[] } | null;
  readonly activities: FakeActivities;
}

export const VOLUME = 'data/full/orders/20260101T000000Z-full-00000001/attempt-1/vol-00001.tar.zst';

export function damageOf(store: string, key = VOLUME): Finding {
  const consequence = '20260101T000000Z-full-00000001 cannot be restored';
  const backupId = '20260101T000000Z-full-00000001';
  return { store, backupId, key, severity: 'damage', problem: 'it is not there', consequence };
}

export function fakeVerifyWorld(): FakeVerifyWorld {
  const calls: string[] = [];
  const world: FakeVerifyWorld = {
    ...{ calls, proofs: [], told: [], seen: new Map(), read: new Map(), earlier: null },
    ...{ carried: new Map(), sound: new Map() },
    activities: {},
  };
  const at = '2026-01-01T00:00:00.000Z';
  const restorable = [{ from: at, to: at, lineage: '1', exact: true }];
  Object.assign(world.activities, {
    ...fakeRestoreActivities(calls),
    lookAtStore: async ({ store }): Promise<StoreLook> => {
      calls.push(`look:${store}`);
      const count = { backups: 2, objects: 9, logPieces: 4, readBytes: 0 };
      const carried = world.carried.get(store) ?? [];
      return { count, findings: world.seen.get(store) ?? [], moreFindings: 0, log: [], restorable, carried };
    },
    chooseBackup: async ({ store, choice }) => {
      calls.push(`choose:${store}:${'seed' in choice ? choice.seed : choice.backupId}`);
      return { chosen: '20260101T000000Z-full-00000001', chain: ['20260101T000000Z-full-00000001'] };
    },
    readStore: async ({ store, chain, again = [] }): Promise<StoreRead> => {
      calls.push(`read:${store}:${chain?.join('+') ?? 'all'}`);
      const count = { backups: 1, objects: 5, logPieces: 3, readBytes: 1_000 };
      const sound = (world.sound.get(store) ?? []).filter((key) => again.includes(key));
      return { count, findings: world.read.get(store) ?? [], moreFindings: 0, restorable, sound };
    },
    compareWithEarlier: async ({ store }) => {
      calls.push(`compare:${store}`);
      return world.earlier;
    },
    keepProof: async ({ proof }) => {
      world.proofs.push(proof);
      return `proofs/${proof.store}/${proof.proofId}.json`;
    },
    endLooking: async ({ store }) => {
      calls.push(`end:${store}`);
    },
    notify: async ({ title, lines }) => {
      world.told.push({ title, lines });
      return [];
    },
  } satisfies FakeActivities);
  return world;
}
