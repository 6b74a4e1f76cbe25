import type { DiskSpace } from '../checklist-judgements';
import type { Finding } from '../checklist';
import type { ReadinessReport } from './report';

export interface ReportReadinessInput {
  readonly application: string;
  /** `2026-11`; the month that was over last when the run began where it is left out. */
  readonly month?: string;
  readonly requestedBy: string;
  /** False where a person looks at the result anyway. */
  readonly tell: boolean;
}

export interface MakeReadinessReport extends Pick<ReportReadinessInput, 'application' | 'requestedBy'> {
  readonly month: string;
  /** When the run began: a repeated step makes the same report. */
  readonly at: string;
  readonly disks: readonly (DiskSpace | Finding)[];
}

/** The report itself is in the repository: histories stay small. */
export interface ReportReadinessResult extends Pick<
  ReadinessReport,
  'id' | 'outcome' | 'verdict' | 'because' | 'objectives'
> {
  readonly application: string;
  readonly title: string;
  /** The gravest, so many as fit into a message. */
  readonly risks: ReadinessReport['risks'];
  readonly risksInAll: number;
}

/** More in a message are read by nobody; all are in the report. */
export const RISKS_TOLD = 8;
