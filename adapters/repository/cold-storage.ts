import type { CallContext } from '../../core/call';
import { ARTIFACT_KINDS } from '../../core/catalog';
import { layout } from '../../core/layout';
import type { ObjectHead, Repository, StoredObject } from '../../core/repository';
import { isFrozenClass } from '../../core/storage-classes';
import {
  type Amount,
  type ColdStorage,
  type FrozenLook,
  type ReadScope,
  type ThawSettings,
  tierFor,
} from '../../core/thaw';

/** Requests of a few bytes each: what they cost is a round trip, and those pass beside each other. */
const AT_ONCE = 16;

const NOTHING: Amount = { objects: 0, sizeBytes: 0 };

/** What of a store's backups lies in archive classes, found by listings; only what does is looked at one by one. */
export function createColdStorage(repository: Repository, store: string): ColdStorage {
  async function frozenOf({ chain, log }: ReadScope, ctx: CallContext): Promise<StoredObject[]> {
    const keys = new Set(chain.flatMap(({ artifacts, early }) => [...artifacts, ...early].map(({ key }) => key)));
    const folders = [...new Set([...keys].map((key) => key.slice(0, key.lastIndexOf('/') + 1)))];
    const found = await inParallel(folders, ctx, 'listing what is stored', (folder) =>
      frozenBelow(folder, ({ key }) => keys.has(key)),
    );
    const ofLog = log
      ? await frozenBelow(layout.logs(store), ({ modifiedAt }) => isBetween(Date.parse(modifiedAt), log))
      : [];
    return [...found.flat(), ...ofLog];
  }

  async function frozenBelow(prefix: string, isWanted: (object: StoredObject) => boolean): Promise<StoredObject[]> {
    const found: StoredObject[] = [];
    for await (const object of repository.list(prefix))
      if (isFrozenClass(object.storageClass) && isWanted(object)) found.push(object);
    return found;
  }

  async function heads(objects: readonly StoredObject[], ctx: CallContext): Promise<ObjectHead[]> {
    const found = await inParallel(objects, ctx, 'looking at what lies in the archive', ({ key }) =>
      repository.head(key),
    );
    // One that was removed meanwhile is missed by the restore itself, which can say what it means.
    return found.filter((head) => head !== null);
  }

  async function look(scope: ReadScope, ctx: CallContext): Promise<FrozenLook | null> {
    if (!repository.thaw) return null;
    const frozen = await frozenOf(scope, ctx);
    return frozen.length === 0 ? null : lookOf(await heads(frozen, ctx));
  }

  return {
    look,

    async ask(scope, settings, ctx) {
      if (!repository.thaw) return null;
      const wanted = (await heads(await frozenOf(scope, ctx), ctx)).filter(
        (head) => head.copy?.state === 'none' || goesTooSoon(head, settings),
      );
      await inParallel(wanted, ctx, 'asking S3 to bring it back', async ({ key, storageClass }) => {
        await repository.thaw?.(key, { ...settings, tier: tierFor(storageClass, settings.tier) });
      });
      return look(scope, ctx);
    },

    async frozenBackups() {
      const found = new Set<string>();
      for (const kind of repository.thaw ? ARTIFACT_KINDS : []) {
        const prefix = layout.storeData(kind, store);
        for await (const { key, storageClass } of repository.list(prefix)) {
          if (isFrozenClass(storageClass)) found.add(key.slice(prefix.length).split('/', 1)[0] ?? '');
        }
      }
      return found;
    },
  };
}

const isBetween = (at: number, { from, to }: { readonly from: number; readonly to: number }) => at >= from && at <= to;

/** A copy from an earlier restore may go while this one reads: asking again keeps it for longer. */
function goesTooSoon({ copy }: ObjectHead, { days }: ThawSettings): boolean {
  return copy?.until != null && Date.parse(copy.until) - Date.now() < (days * 86_400_000) / 2;
}

function lookOf(heads: readonly ObjectHead[]): FrozenLook {
  const byClass: Record<string, Amount> = {};
  let [readable, asked, readableUntil]: [Amount, Amount, string | null] = [NOTHING, NOTHING, null];
  for (const head of heads.filter(({ storageClass }) => isFrozenClass(storageClass))) {
    byClass[head.storageClass] = plus(byClass[head.storageClass] ?? NOTHING, head);
    if (head.copy?.state === 'asked') asked = plus(asked, head);
    if (head.copy?.state !== 'readable') continue;
    readable = plus(readable, head);
    if (head.copy.until !== null && (readableUntil === null || head.copy.until < readableUntil))
      readableUntil = head.copy.until;
  }
  return { byClass, readable, asked, readableUntil };
}

const plus = (sum: Amount, { sizeBytes }: { readonly sizeBytes: number }): Amount => ({
  objects: sum.objects + 1,
  sizeBytes: sum.sizeBytes + sizeBytes,
});

async function inParallel<T, R>(
  all: readonly T[],
  ctx: CallContext,
  phase: string,
  work: (one: T) => Promise<R>,
): Promise<Awaited<R>[]> {
  const results: Awaited<R>[] = [];
  for (let at = 0; at < all.length; at += AT_ONCE) {
    ctx.signal.throwIfAborted();
    results.push(...(await Promise.all(all.slice(at, at + AT_ONCE).map(work))));
    ctx.progress({ phase, doneItems: results.length, totalItems: all.length });
  }
  return results;
}
