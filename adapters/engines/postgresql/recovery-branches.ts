import { failure } from '../../../core/errors';
import { parseLsn, systemOf, timelineOf } from './lsn';
import { chooseLatest } from './recovery-instants';
import type { Archived, Candidate, Choice } from './recovery-candidates';

/**
 * The newest timeline is the latest state unless another one was written to after it: a promotion that was given up while the
 * old primary went on. Which of them is meant a person has to say: throws PitrTargetUnreachable with both.
 */
export async function requireLatestOf(store: string, choice: Choice, { all, log, search }: Archived): Promise<void> {
  const { lineage } = choice.candidate;
  const system = systemOf(lineage);
  const firsts = new Map<string, Candidate>();
  for (const each of all) {
    if (systemOf(each.lineage) === system && !firsts.has(each.lineage)) firsts.set(each.lineage, each);
  }
  for (const other of firsts.values()) {
    if (other.lineage === lineage) continue;
    const step = log.path(lineage)?.find(({ timeline }) => timeline === timelineOf(other.lineage));
    const end = other.chain.last;
    if (step?.until && end && parseLsn(end.to.value) <= step.until) continue; // all of it leads into the newest
    const otherwise = await chooseLatest(other, log, search);
    if (!otherwise || Date.parse(otherwise.reaches.time) <= Date.parse(choice.reaches.time)) continue;
    const [newest, later] = [timelineOf(lineage), timelineOf(other.lineage)];
    throw failure(
      'PitrTargetUnreachable',
      `${store} has two latest states: timeline ${newest} ends at ${choice.reaches.time}, timeline ${later} was written to after that, ` +
        `until ${otherwise.reaches.time}`,
      {
        next:
          `Say which is meant: --timeline ${newest} or --timeline ${later}. One that was given up for good can be taken out of ` +
          'the repository as docs/postgresql.md has it under "Split brain".',
      },
    );
  }
}
