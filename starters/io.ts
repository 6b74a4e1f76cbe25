import { createInterface } from 'node:readline/promises';
import { userInfo } from 'node:os';

/** What a command speaks with: handed in, so that a test needs no process. */
export interface Io {
  /** A line of the result. */
  out(line: string): void;
  /** A line beside the result: progress, notes, questions. */
  note(line: string): void;
  /** Replaces the one live line of a terminal; null removes it. Nothing happens where there is no terminal. */
  live(line: string | null): void;
  /** Asks on the terminal; null where there is none or when it was closed. */
  ask(question: string): Promise<string | null>;
  /** Whether a person watches. */
  readonly isTerminal: boolean;
  /** Whether the result may be coloured: it goes to a terminal, and nobody asked for none (no-color.org). */
  readonly hasColour: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  now(): Date;
  /** The person at the keyboard, for histories and reports. */
  readonly user: string;
  /** Resolves at Ctrl-C. The first one is the command's to handle; the second ends the process. */
  readonly interrupted: Promise<void>;
}

const CLEAR_LINE = '\r\x1b[2K';

/** Results to standard output, everything else to standard error. */
export function processIo(): Io {
  const isTerminal = process.stdin.isTTY && process.stderr.isTTY;
  let liveShown = false;
  const clear = () => {
    if (liveShown) process.stderr.write(CLEAR_LINE);
    liveShown = false;
  };
  const interrupted = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  return {
    out(line) {
      clear();
      process.stdout.write(`${line}\n`);
    },
    note(line) {
      clear();
      process.stderr.write(`${line}\n`);
    },
    live(line) {
      if (!isTerminal) return;
      clear();
      if (line === null) return;
      process.stderr.write(line.slice(0, Math.max(20, process.stderr.columns - 1)));
      liveShown = true;
    },
    async ask(question) {
      if (!isTerminal) return null;
      clear();
      const terminal = createInterface({ input: process.stdin, output: process.stderr });
      try {
        const closed = new Promise<null>((resolve) => {
          terminal.once('close', () => resolve(null));
          // readline takes Ctrl-C away from the process: give it back.
          terminal.once('SIGINT', () => {
            resolve(null);
            process.emit('SIGINT');
          });
        });
        return await Promise.race([terminal.question(question), closed]);
      } finally {
        terminal.close();
      }
    },
    isTerminal,
    hasColour: process.stdout.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
    env: process.env,
    now: () => new Date(),
    user: process.env['DRCTL_USER'] ?? process.env['SUDO_USER'] ?? userInfo().username,
    interrupted,
  };
}

/** Ends the process once all that was said is written; clients that still wait for what does not answer hold nobody up. */
export function leave(exitCode: number): void {
  process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
}
