import { reasonOf } from '../core/errors';
import { lagSecondsOf } from '../core/monitoring/copy-view';
import type { CopyFacts } from '../core/readiness-report/facts';
import type { OpenApplication } from './deps';
import { knownDamage } from './known-damage';
import { look } from './look-at-store';
import { observeCopy } from './observe-stores';

/** Every copy of every store as it is now, by what lies in the copy itself. One that cannot be seen hides no other. */
export async function readCopies(open: OpenApplication, at: string): Promise<CopyFacts[]> {
  const all = open.application.stores.flatMap(({ name }) => open.copies(name).map((copy) => ({ store: name, copy })));
  return Promise.all(
    all.map(async ({ store, copy }) => {
      const view = await observeCopy(copy);
      const facts = {
        ...{ store, copy: view.copy, maxLagSeconds: view.maxLagSeconds, lagSeconds: lagSecondsOf(view, at) },
        notCopied: view.notCopied,
      };
      try {
        if (view.problem !== null) return { ...facts, ...NOT_SEEN, problem: view.problem };
        return { ...facts, ...(await reachAndProof(open.copy(view.copy), store, at)), problem: null };
      } catch (error) {
        return { ...facts, ...NOT_SEEN, problem: reasonOf(error) };
      }
    }),
  );
}

const NOT_SEEN = { restorableUntil: null, verified: null } as const;

async function reachAndProof(copy: OpenApplication, store: string, at: string) {
  const proofs = await copy.proofs(store).list(store);
  const { reach } = await look(copy, store, at, await knownDamage(copy, store, proofs), 'newest');
  const newest = proofs[0];
  return {
    restorableUntil: reach.until,
    verified: newest ? { at: newest.at, kind: newest.kind, result: newest.result } : null,
  };
}
