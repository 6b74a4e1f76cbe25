/** Why one recipient could not unwrap a data key; another one may. */
export class CannotUnwrap extends Error {
  /** It may well work a moment later: KMS did not answer. */
  readonly passing: boolean;

  constructor(message: string, { passing = false, cause }: { passing?: boolean; cause?: unknown } = {}) {
    super(message, { cause });
    this.passing = passing;
  }
}
