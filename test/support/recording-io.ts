import type { Io } from '../../starters/io';

/** An Io for tests: what was said is kept, what is asked is answered in turn. */
export interface RecordingIo extends Io {
  readonly outLines: string[];
  readonly notes: string[];
  /** As at Ctrl-C. */
  interrupt(): void;
  /** Everything a person would have seen. */
  text(): string;
}

export interface RecordingOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Given: there is a terminal, and questions get these answers; the last one is repeated never. */
  readonly answers?: readonly string[];
  readonly now?: Date;
}

export function recordingIo({ env = {}, answers, now }: RecordingOptions = {}): RecordingIo {
  const outLines: string[] = [];
  const notes: string[] = [];
  const left = [...(answers ?? [])];
  let interrupt = () => {};
  const interrupted = new Promise<void>((resolve) => (interrupt = resolve));
  return {
    out: (line) => void outLines.push(line),
    note: (line) => void notes.push(line),
    live: () => {},
    ask(question) {
      notes.push(question);
      return Promise.resolve(left.shift() ?? null);
    },
    isTerminal: answers !== undefined,
    hasColour: false,
    env,
    now: () => now ?? new Date(),
    user: 'dana',
    interrupted,
    interrupt,
    outLines,
    notes,
    text: () => [...notes, ...outLines].join('\n'),
  };
}
