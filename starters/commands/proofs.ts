import { failure } from '../../core/errors';
import { type Proof, type ProofSummary, readProofId } from '../../core/proofs';
import { formatDuration } from '../../core/clock';
import type { Front } from '../front';
import { limitOption } from '../options';
import type { Session } from '../session';
import { relativeTime, shortTime, tableLines } from '../table';
import { foundLines, lookedText } from '../verify';

export function registerProofs(front: Front): void {
  const group = front.group('proofs', 'what was verified, when, and what was found');

  front
    .command<{ limit: string }>(
      group,
      'list [stores...]',
      'proofs of every store, or of the ones named, newest first',
      [
        ['drctl proofs list', 'when each store was last proven to be restorable'],
        ['drctl proofs list orders-db --limit 5', 'the newest five of one store'],
      ],
      async (session, named, { limit }) => {
        const stores = session.stores(named, named.length === 0);
        const open = await session.open();
        const proofs = await Promise.all(
          stores.map(async (store) => (await open.proofs(store).list(store)).slice(0, Number(limit))),
        );
        session.print(proofs.flat(), () => listLines(proofs.flat(), session.io.now()));
      },
    )
    .addOption(limitOption('at most this many of each store'));

  front.command(
    group,
    'show <proof>',
    'one proof: what was looked at, what was damaged, what can still be restored',
    [['drctl proofs show 20261122T031500Z-full-proven-1a2b3c4d', 'an id from `drctl proofs list`']],
    async (session, [proofId = '']) => {
      if (readProofId('', proofId) === null)
        throw failure('UsageInvalid', `"${proofId}" is not the id of a proof`, {
          next: 'Ids are listed by `drctl proofs list`.',
        });
      const proofs = await withId(session, proofId);
      if (proofs.length === 0) throw failure('NotFound', `there is no proof ${proofId} in ${session.config.file}`);
      session.print(proofs.length === 1 ? proofs[0] : proofs, () => proofs.flatMap(proofLines));
    },
  );
}

/** A run has one proof for each of its stores; where they ended in the same second they have one name. */
async function withId(session: Session, proofId: string): Promise<Proof[]> {
  const open = await session.open();
  const found: Proof[] = [];
  for (const store of Object.keys(session.config.stores)) {
    const listed = await open.proofs(store).list(store);
    if (listed.some((each) => each.proofId === proofId)) found.push(await open.proofs(store).get(store, proofId));
  }
  return found;
}

function listLines(proofs: readonly ProofSummary[], now: Date): string[] {
  if (proofs.length === 0) return ['Nothing was verified yet. Begin with: drctl verify --all --quick'];
  return tableLines(
    ['store', 'depth', 'result', 'at', 'age', 'proof'],
    proofs.map(({ store, kind, result, at, proofId }) => [
      store,
      kind,
      result === 'proven' ? 'proven' : 'FAILED',
      shortTime(at),
      relativeTime(at, now),
      proofId,
    ]),
  );
}

export function proofLines(proof: Proof): string[] {
  const { store, kind, result, at, startedAt, backups, seed, requestedBy, workflowId } = proof;
  const took = formatDuration(Date.parse(at) - Date.parse(startedAt));
  return [
    `${store}: ${result === 'proven' ? 'proven' : 'FAILED'}  ${kind}, ${lookedText(kind, proof.looked)} in ${took}`,
    `  at        ${shortTime(at)}, asked for by ${requestedBy} (${workflowId})`,
    ...(backups.length > 0 ? [`  backups   ${backups.join(' + ')}`] : []),
    ...(seed === null ? [] : [`  chosen    by chance, seed ${seed}`]),
    ...foundLines(proof),
    '',
  ];
}
