/**
 * A place in a store's log: a PostgreSQL LSN, a MongoDB optime, a Redis offset, the instant of a file snapshot.
 * `value` has the engine's own notation and only that engine's codec reads it; positions of two engines never mix because
 * the type carries the engine's name. Plain JSON, so it crosses Temporal as it is.
 */
export interface Position<E extends string = string> {
  readonly engine: E;
  /** The unbroken history that the position belongs to (DESIGN §4 "Lineage"). */
  readonly lineage: string;
  readonly value: string;
}

/** How one engine reads, writes and orders its positions. Pure functions. */
export interface PositionCodec<E extends string = string> {
  /** Reads what a person types (`0/3000148`, `1763800000:3`, `1234567`); throws UsageInvalid that says the notation. */
  parse(text: string, lineage: string): Position<E>;
  /** What a person reads, lineage left out where it is plain. */
  format(position: Position<E>): string;
  /** Negative, zero or positive as `a` is before, at or after `b`. Throws UsageInvalid for different lineages. */
  compare(a: Position<E>, b: Position<E>): number;
}
