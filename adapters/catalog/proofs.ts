import * as z from 'zod';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import { PROOF_KINDS, type Proof, type ProofStore, type ProofSummary, readProofId } from '../../core/proofs';
import type { Repository } from '../../core/repository';
import { parseStored, sealed, unreadable } from './stored-json';

/** What decides whether it is this proof; the rest is as it was written, which its seal says. */
const proofSchema = z.looseObject({
  formatVersion: z.literal(1),
  application: z.string(),
  store: z.string(),
  proofId: z.string(),
  kind: z.enum(PROOF_KINDS),
  result: z.enum(['proven', 'failed']),
}) as unknown as z.ZodType<Proof>;

/** `proofs/<store>/<proofId>.json`. The names alone say what was proven when, so that whoever watches reads none of them. */
export function createProofs(repository: Repository): ProofStore {
  async function list(store: string): Promise<ProofSummary[]> {
    const prefix = layout.proofs(store);
    const found: ProofSummary[] = [];
    for await (const { key } of repository.list(prefix)) {
      const summary = readProofId(store, key.slice(prefix.length).replace(/\.json$/, ''));
      if (summary) found.push(summary);
    }
    return found.toSorted((a, b) => (a.proofId < b.proofId ? 1 : -1));
  }

  return {
    list,

    async keep(proof) {
      await repository.put(layout.proof(proof.store, proof.proofId), sealed(proof), { ifAbsent: true });
    },

    async newest(store) {
      const all = await list(store);
      return PROOF_KINDS.flatMap((kind) => all.find((each) => each.kind === kind) ?? []);
    },

    async get(store, proofId) {
      const key = layout.proof(store, proofId);
      if (readProofId(store, proofId) === null || (await repository.head(key)) === null) {
        throw failure('NotFound', `there is no proof ${proofId} of store "${store}" in ${repository.location}`, {
          next: 'List the proofs with `drctl proofs list`.',
        });
      }
      const proof = parseStored(repository, key, await repository.read(key), proofSchema);
      if (proof.store === store && proof.proofId === proofId) return proof;
      throw unreadable(repository, key, `it is the proof ${proof.proofId} of ${proof.store}`);
    },
  };
}
