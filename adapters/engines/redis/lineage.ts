import * as z from 'zod';
import type { LogArchive } from '../../../core/log-archive';
import type { LineageParent } from '../../../core/retention/log-reach';
import { redisPosition } from './positions';

/**
 * How the archived stream of one replication id began. Kept for ever beside the catalogue; written anew where the same id
 * is taken up again behind a gap.
 */
const description = z.object({
  lineage: z.string(),
  beganAt: z.string(),
  /** Where its stored pieces begin, or go on behind the newest gap. */
  from: z.number(),
  /** Selected there. */
  database: z.number(),
  why: z.string(),
  /** Nothing that is archived leads up to `from`: a full has to be taken behind it. */
  isGap: z.boolean(),
  /** The replication id that it continued, and where: a promoted replica has a new id and goes on counting. */
  parent: z.object({ lineage: z.string(), leftAt: z.number() }).nullable(),
});

export type LineageDescription = z.infer<typeof description>;

const historyName = (lineage: string) => `${lineage}.json`;

export async function describeLineage(archive: LogArchive, about: LineageDescription): Promise<void> {
  await archive.putHistory(historyName(about.lineage), Buffer.from(`${JSON.stringify(about)}\n`));
}

/** Null where nothing says it, `damaged` where what says it cannot be read. */
export function readLineage(
  history: ReadonlyMap<string, Buffer | Error>,
  lineage: string,
): LineageDescription | null | 'damaged' {
  const bytes = history.get(historyName(lineage));
  if (!bytes) return null;
  if (bytes instanceof Error) return 'damaged';
  const read = description.safeParse(parsed(bytes));
  return read.success ? read.data : 'damaged';
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return null; // as damaged as one that says something else
  }
}

export function parentOf(
  lineage: string,
  history: ReadonlyMap<string, Buffer | Error>,
): LineageParent | null | 'unknown' {
  const about = readLineage(history, lineage);
  // Each is described before anything of it is stored.
  if (about === null || about === 'damaged') return 'unknown';
  const { parent } = about;
  return parent && { lineage: parent.lineage, leftAt: redisPosition(parent.lineage, parent.leftAt) };
}
