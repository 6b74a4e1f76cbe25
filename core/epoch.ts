/**
 * `epochs/<n>.json`: one role change. Created conditionally, so that of two role changes only one gets the number; the
 * greatest one says which site is active. It outlives Temporal (rule 7).
 */
export interface EpochRecord {
  readonly epoch: number;
  readonly activeSite: string;
  readonly previousSite: string | null;
  readonly takenAt: string;
  readonly reason: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly approvedBy: string | null;
}

/** The epochs of one application in one repository; the authority for which site is active (rule 7). */
export interface EpochStore {
  /** The greatest epoch; null before the first role change. */
  current(): Promise<EpochRecord | null>;
  /**
   * Takes `record.epoch`, which must be one more than the current (1 at first). Repeatable by the same workflow run, which
   * gets back what it stored first. Throws StaleEpoch, naming the other run, when that has taken it or gone beyond; of two
   * that take it at the same moment exactly one succeeds.
   */
  take(record: EpochRecord): Promise<EpochRecord>;
  /** Every record, oldest first. */
  history(): Promise<EpochRecord[]>;
}
