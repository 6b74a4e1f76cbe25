/**
 * The archiver writes the source's time into the store each second, so that a restored copy says itself what instant it shows,
 * and the archive noted, from outside, which of these writes it had stored when.
 */
export interface HeartbeatFound {
  /** In the copy; null where it holds none. */
  readonly at: string | null;
  /** The copy has to hold this one or a later one; null where the archive noted none. */
  readonly noted: string | null;
}

/** `2026-11-22T13:05:02.981Z in it, 2026-11-22T13:05:01.973Z or later was archived`. */
export const heartbeatLine = ({ at, noted }: HeartbeatFound): string =>
  `${at ?? 'none'} in it${noted === null ? '' : `, ${noted} or later was archived`}`;

/** Why the copy cannot be the state of the instant; null where its heartbeat is one of that instant. */
export function heartbeatProblem({ at, noted }: HeartbeatFound, time: string): string | null {
  if (at === null) return `no heartbeat is in it, though the one of ${noted} was archived before ${time}`;
  if (Date.parse(at) > Date.parse(time)) return `it holds the heartbeat of ${at}, which was written after ${time}`;
  if (noted !== null && Date.parse(at) < Date.parse(noted))
    return `its last heartbeat is of ${at}, though the one of ${noted} was archived before ${time}`;
  return null;
}
