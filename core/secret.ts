const REDACTED = '***';

/**
 * A value that must not be seen: it prints, logs, inspects and serialises as `***`. `reveal()` is the only way out and is
 * called by an adapter at the moment the value goes to the outside system.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return REDACTED;
  }
}
