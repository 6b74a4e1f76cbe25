/** One client's connection to one store. Whatever throws but a `Refused` leaves open whether it had an effect. */
export interface Session {
  /** The site whose server answered last; the one that is asked before it ever did. */
  readonly site: string;
  /** The transfer happens as a whole or not at all; answers a position of the log that its commit lies beyond, if there is one. */
  transfer?(transfer: TransferOrder): Promise<number | undefined>;
  balances?(): Promise<number[]>;
  write(register: string, value: number): Promise<number | undefined>;
  /** 0: it was never written. */
  read(register: string): Promise<number>;
  /** Ends it at once, without asking the server, which may not answer; what is under way rejects. */
  destroy(): void;
}

export interface TransferOrder {
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

/** The operation certainly had no effect and never will. The session can be used again unless it is `broken`. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly broken: boolean;

  constructor(cause: unknown, { broken = false } = {}) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.broken = broken;
  }
}

/** How long a client waits for a connection; its whole operation has a deadline of its own. */
export const CONNECT_MILLISECONDS = 1_500;

export const ACCOUNTS = Array.from({ length: 8 }, () => 100);
