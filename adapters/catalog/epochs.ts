import type { EpochRecord, EpochStore } from '../../core/epoch';
import { failure, hasCode } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { epochSchema } from './manifest-schema';
import { parseStored, sealed, toBytes, unreadable } from './stored-json';

/** Epoch records in the repository of the DR side, which outlives Temporal and the primary site. */
export function createEpochs(repository: Repository): EpochStore {
  async function keys(): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of repository.list(layout.epochs())) if (/\/\d{10}\.json$/.test(key)) found.push(key);
    return found.toSorted();
  }

  async function readAt(key: string): Promise<EpochRecord> {
    const record = parseStored(repository, key, await repository.read(key), epochSchema);
    if (layout.epoch(record.epoch) !== key)
      throw unreadable(repository, key, `it is the record of epoch ${record.epoch}`);
    return record;
  }

  async function current(): Promise<EpochRecord | null> {
    const newest = (await keys()).at(-1);
    return newest === undefined ? null : readAt(newest);
  }

  return {
    current,

    async history() {
      return Promise.all((await keys()).map(readAt));
    },

    async take(record) {
      const key = layout.epoch(record.epoch);
      const bytes = sealed(parseStored(repository, key, toBytes(record), epochSchema));
      const newest = await current();
      // Our own earlier try, whose answer was lost, counts; where it names another time, the first one stays.
      if (newest?.epoch === record.epoch && isSameRun(newest, record)) return newest;
      if (newest && newest.epoch >= record.epoch) throw staleEpoch(record, newest);
      if (record.epoch > (newest?.epoch ?? 0) + 1) {
        throw failure('UsageInvalid', `epoch ${record.epoch} cannot be taken: the newest is ${newest?.epoch ?? 0}`);
      }
      try {
        await repository.put(key, bytes, { ifAbsent: true });
        return record;
      } catch (error) {
        if (!hasCode(error, 'LockHeld')) throw error;
        const winner = await readAt(key);
        if (isSameRun(winner, record)) return winner;
        throw staleEpoch(record, winner);
      }
    },
  };
}

function isSameRun(a: EpochRecord, b: EpochRecord): boolean {
  return a.workflowId === b.workflowId && a.runId === b.runId;
}

function staleEpoch(wanted: EpochRecord, winner: EpochRecord): Error {
  const by = `${winner.workflowId} (run ${winner.runId}) at ${winner.takenAt}, making "${winner.activeSite}" active`;
  return failure('StaleEpoch', `epoch ${wanted.epoch} cannot be taken: epoch ${winner.epoch} was taken by ${by}`, {
    context: { epoch: wanted.epoch, takenEpoch: winner.epoch, workflowId: winner.workflowId },
  });
}
