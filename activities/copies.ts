import type { CopiedStore, CopyProgress } from '../core/copies';
import { failure } from '../core/errors';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication, StoreCopy } from './deps';
import { announceUse, requireNoSweep, withdrawUse } from './uses';

export interface CopyStoreRequest {
  readonly application: string;
  readonly store: string;
  readonly copy: string;
  /** Compare everything, not only what can have changed since the last complete run. */
  readonly wholeListing: boolean;
}

export function createCopyActivities(deps: ActivityDeps) {
  return {
    /**
     * Makes a copy of a store complete; goes on where an earlier try died. Both repositories are told what is copied, so that
     * retention deletes it in neither meanwhile.
     */
    async copyToRepository({ application, store, copy, wholeListing }: CopyStoreRequest): Promise<CopiedStore> {
      return withCallContext<CopiedStore, CopyProgress>(async (ctx, resume) => {
        const open = deps.open(application);
        const { copier } = copyNamed(open, store, copy);
        const sides = [open, open.copy(copy)];
        const announce = async (backups: readonly string[]) => {
          for (const side of sides) await announceUse(side, store, { kind: 'backup', backups }, ctx);
          for (const side of sides) await requireNoSweep(side, store, ctx);
        };
        const keep = (progress: CopyProgress) => resume.keep(progress);
        const copied = await copier.run({ wholeListing }, resume.state, keep, announce, ctx);
        for (const side of sides) await withdrawUse(side, store, ctx);
        return copied;
      });
    },
  };
}

/** Throws NotFound naming the copies that the store has. */
export function copyNamed(open: OpenApplication, store: string, name: string): StoreCopy {
  const copies = open.copies(store);
  const found = copies.find((each) => each.name === name);
  if (found) return found;
  const known = copies.map((each) => each.name).join(', ') || 'none';
  throw failure('NotFound', `${store} is not copied to "${name}"; its copies: ${known}`);
}

/** The application as its copy has it; itself where none is named. */
export function atCopy(open: OpenApplication, copy: string | undefined): OpenApplication {
  return copy === undefined ? open : open.copy(copy);
}
