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
