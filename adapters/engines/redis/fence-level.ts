/**
 * A fence is a `min-replicas-to-write` that no number of replicas can meet. The number itself says which epoch set it and
 * what was set before, so that the fence needs no other place to keep that, survives `CONFIG REWRITE` and a restart with
 * it, and cannot be lifted by an older role change: `(epoch + 1) × 1000 + previous`.
 */
const UNIT = 1_000;
/** Redis reads the setting as a C int (config.c). */
const GREATEST_EPOCH = Math.floor(2_147_483_647 / UNIT) - 2;

export interface FenceLevel {
  readonly epoch: number;
  /** What the operator had set, to be put back. */
  readonly previous: number;
}

/** Null for a server that no role change has fenced. */
export function readFenceLevel(minReplicasToWrite: number): FenceLevel | null {
  if (minReplicasToWrite < UNIT) return null;
  return { epoch: Math.floor(minReplicasToWrite / UNIT) - 1, previous: minReplicasToWrite % UNIT };
}

export function fenceValue({ epoch, previous }: FenceLevel): number {
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > GREATEST_EPOCH)
    throw new RangeError(`no fence for epoch ${epoch}`);
  return (epoch + 1) * UNIT + previous;
}
