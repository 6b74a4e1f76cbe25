/** What is being done, for heartbeats, progress lines and the Web UI. Small and free of secrets. */
export interface Progress {
  /** A few words a person understands: "copying base backup". */
  readonly phase: string;
  readonly doneBytes?: number;
  readonly totalBytes?: number;
  readonly doneItems?: number;
  readonly totalItems?: number;
  readonly note?: string;
}

/** The part of pino's interface that is used everywhere below the workers. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * What the caller of an adapter hands in. The activity makes it of Temporal's context, a test of nothing.
 * `progress` is cheap, may be called for every chunk, and also tells Temporal that the work is alive.
 */
export interface CallContext {
  /** Aborted when the activity is cancelled or its worker shuts down: stop soon and leave nothing running. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  progress(report: Progress): void;
}
