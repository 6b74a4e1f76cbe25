import { failure } from '../../../core/errors';

/** Longer words are no names, database numbers or marks. */
const WORD_BYTES = 64;
/** The first words of a command that are kept. */
const WORDS = 3;

const [ASTERISK, DOLLAR, LINE_FEED, CARRIAGE_RETURN, ZERO] = [0x2a, 0x24, 0x0a, 0x0d, 0x30];

/** What is known of the command that is read. The same object each time: take what is needed. */
export interface ScannedCommand {
  /** In the stream: its first byte, and the first byte behind it. */
  readonly from: number;
  readonly to: number;
  /** Upper case. */
  readonly name: string;
  /** Up to three; empty where a word is longer than a name. */
  readonly words: readonly string[];
}

type State = 'command' | 'count' | 'bulk' | 'length' | 'content';

/**
 * Finds the commands in a replication stream, in whatever pieces it arrives, without keeping what they hold. The stream is
 * RESP arrays of bulk strings and nothing else. `offset` is that of the first byte that comes.
 */
export class CommandScanner {
  /** Behind everything that was fed. */
  offset: number;
  #state: State = 'command';
  #from: number;
  #number = 0;
  #wordsLeft = 0;
  #contentLeft = 0;
  #wordBytes = 0;
  #kept: Buffer[] = [];
  #words: string[] = [];

  constructor(offset: number) {
    this.offset = offset;
    this.#from = offset;
  }

  /** Whether what comes next begins a command. */
  get isBetween(): boolean {
    return this.#state === 'command';
  }

  /** Where the command begins that is not whole yet, or the next one. */
  get from(): number {
    return this.#state === 'command' ? this.offset : this.#from;
  }

  /** The name of the command that is not whole yet; null while it is not known. */
  get pendingName(): string | null {
    return this.#words[0]?.toUpperCase() ?? null;
  }

  /** Calls back for each command that ends in the chunk. Throws BackupCorrupt for what is no replication stream. */
  feed(chunk: Buffer, onCommand: (command: ScannedCommand) => void): void {
    const base = this.offset;
    for (let at = 0; at < chunk.length;) {
      if (this.#state === 'content') {
        const taken = Math.min(this.#contentLeft, chunk.length - at);
        this.#keep(chunk, at, taken);
        this.#contentLeft -= taken;
        at += taken;
        if (this.#contentLeft === 0) this.#endWord(base + at, onCommand);
        continue;
      }
      const byte = chunk[at] as number;
      at += 1;
      if (this.#state === 'command' || this.#state === 'bulk') {
        const isExpected = byte === (this.#state === 'command' ? ASTERISK : DOLLAR);
        if (!isExpected) throw notOne(base + at - 1, byte);
        if (this.#state === 'command') [this.#from, this.#words] = [base + at - 1, []];
        this.#state = this.#state === 'command' ? 'count' : 'length';
        this.#number = 0;
      } else if (byte === LINE_FEED) this.#endLine(base + at, onCommand);
      else if (byte !== CARRIAGE_RETURN) {
        const digit = byte - ZERO;
        if (digit < 0 || digit > 9) throw notOne(base + at - 1, byte);
        this.#number = this.#number * 10 + digit;
      }
    }
    this.offset = base + chunk.length;
  }

  #endLine(to: number, onCommand: (command: ScannedCommand) => void): void {
    if (this.#state === 'count') {
      this.#wordsLeft = this.#number;
      if (this.#wordsLeft > 0) this.#state = 'bulk';
      else this.#endCommand(to, onCommand);
      return;
    }
    this.#wordBytes = this.#number;
    this.#contentLeft = this.#number + 2; // and the end of its line
    this.#kept = [];
    this.#state = 'content';
  }

  /** Only short words among the first ones are of interest. */
  #keep(chunk: Buffer, at: number, length: number): void {
    if (this.#words.length < WORDS && this.#wordBytes <= WORD_BYTES) this.#kept.push(chunk.subarray(at, at + length));
  }

  #endWord(to: number, onCommand: (command: ScannedCommand) => void): void {
    if (this.#words.length < WORDS) {
      const [only] = this.#kept;
      const word = this.#kept.length === 1 && only ? only : Buffer.concat(this.#kept);
      this.#words.push(word.toString('latin1', 0, Math.min(word.length, this.#wordBytes)));
    }
    this.#wordsLeft -= 1;
    if (this.#wordsLeft > 0) this.#state = 'bulk';
    else this.#endCommand(to, onCommand);
  }

  #endCommand(to: number, onCommand: (command: ScannedCommand) => void): void {
    this.#state = 'command';
    const words = this.#words;
    this.#words = [];
    onCommand({ from: this.#from, to, name: (words[0] ?? '').toUpperCase(), words });
  }
}

function notOne(offset: number, byte: number): Error {
  return failure('BackupCorrupt', `the replication stream has byte ${byte} at ${offset}, where no command can go on`);
}
