import { spawn } from 'node:child_process';
import type { Readable, Transform, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { failure } from '../../../core/errors';

/** Names in warnings are escaped by tar itself, so that a line break in a name breaks no line. */
const QUOTING = '--quoting-style=escape';
/** What tar says on standard error is kept up to here; a tree of unreadable files would fill the memory otherwise. */
const WARNINGS_KEPT = 1_000;

/**
 * Names from standard input and nothing else, so that what was listed is what is archived. pax for names, sizes and times
 * without limits; owners by number, because the restoring host may give the names to others.
 */
const CREATE = [
  '--create',
  '--file=-',
  '--directory=/',
  '--format=pax',
  // Without it a header names the process id of tar, and the same tree gives other bytes each time.
  '--pax-option=exthdr.name=%d/PaxHeaders/%f',
  '--xattrs',
  '--acls',
  '--sparse',
  '--numeric-owner',
  '--no-recursion',
  '--ignore-failed-read',
  '--null',
  '--files-from=-',
  QUOTING,
];

/** `user.*` only: security labels and capabilities are the receiving host's to give. */
const EXTRACT = [
  '--extract',
  '--file=-',
  '--preserve-permissions',
  '--numeric-owner',
  '--xattrs',
  '--xattrs-include=user.*',
  '--acls',
  '--delay-directory-restore',
  '--warning=no-timestamp', // a file from the future is not what a person should read about here
  QUOTING,
];

export interface TarWarnings {
  /** Archive names of files that were being written while tar read them. */
  readonly changed: readonly Buffer[];
  readonly other: readonly string[];
}

/**
 * Archives the names, which are relative to `/`, through `members` into the output. Resolves when the output is finished. The first failure of tar, names or
 * output stops the other two and is thrown once nothing runs any more: BackupIncomplete where tar itself failed.
 */
export async function createArchive(
  names: Iterable<Buffer> | AsyncIterable<Buffer>,
  members: Transform,
  output: Writable,
  signal: AbortSignal,
): Promise<TarWarnings> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const changed: Buffer[] = [];
  // Whatever their number: a name that is forgotten would be a torn copy that nobody hears of.
  const tar = start(CREATE, either, (line) => {
    const name = CHANGED.exec(line)?.[1];
    if (name !== undefined) changed.push(unescapeName(name));
    return name !== undefined || UNREMARKABLE.test(line);
  });
  const feed = async function* () {
    for await (const name of names) yield Buffer.concat([name, NUL]);
  };
  const guarded = async <T>(work: Promise<T>): Promise<T | null> => {
    try {
      return await work;
    } catch (error) {
      // A pipe that closed is what the death of tar looks like from here; its exit status says why.
      if (!CLOSED.has((error as NodeJS.ErrnoException).code ?? '')) stop.abort(error);
      return null;
    }
  };
  const [ended, fed, written] = await Promise.all([
    guarded(tar.ended),
    guarded(pipeline(feed(), tar.stdin, { signal: either }).then(() => true)),
    guarded(pipeline(tar.stdout, members, output, { signal: either }).then(() => true)),
  ]);
  signal.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
  // 1: some files changed or vanished while they were read, which the warnings name (tar manual, "Exit status").
  if (!ended || ended.status > 1 || !fed || !written) {
    throw failure('BackupIncomplete', `tar failed: ${ended?.lines.slice(-4).join(' | ') || 'its pipes were closed'}`);
  }
  return { changed, other: ended.lines };
}

const CLOSED = new Set(['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED']);
const NUL = Buffer.from([0]);

/** Unpacks a stream of members that were all found harmless. What tar itself cannot do is the error. */
export async function extractArchive(content: Readable, directory: string, signal: AbortSignal): Promise<void> {
  const tar = start([...EXTRACT, `--directory=${directory}`], signal);
  tar.stdout.resume();
  try {
    await pipeline(content, tar.stdin, { signal });
  } catch (error) {
    // A tar that died closes its input: its own words say why. Any other error is the content's and goes first, once tar
    // writes no more.
    if (!CLOSED.has((error as NodeJS.ErrnoException).code ?? '')) {
      await tar.ended.catch(() => undefined);
      throw error;
    }
  }
  const { status, lines } = await tar.ended;
  if (status === 0) return;
  const words = lines.slice(-4).join(' | ');
  const code = /No space left|Disk quota/.test(words) ? 'DiskFull' : 'BackupCorrupt';
  throw failure(code, `unpacking into ${directory}: ${words}`);
}

/** Lines of standard error that `take` answers true for are not kept. */
function start(args: readonly string[], signal: AbortSignal, take: (line: string) => boolean = () => false) {
  const child = spawn('tar', args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' }, // messages are read
    signal,
    killSignal: 'SIGKILL',
  });
  const lines: string[] = [];
  let rest = '';
  child.stderr.setEncoding('latin1').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts.filter((line) => !take(line)));
    if (lines.length > WARNINGS_KEPT) lines.splice(WARNINGS_KEPT / 2, lines.length - WARNINGS_KEPT);
  });
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT' ? failure('ToolMissing', 'GNU tar was not found in the PATH', { cause: error }) : error,
      ),
    );
    child.once('close', (code) => resolve(code ?? 2));
  });
  const ended = Promise.all([exited, finished(child.stderr)]).then(([status]) => ({ status, lines }));
  ended.catch(() => undefined); // whoever awaits it hears of it; until then it is no unhandled rejection
  return { stdin: child.stdin, stdout: child.stdout, ended };
}

const CHANGED = /^tar: (.*): (?:file changed as we read it|File shrank by \d+ bytes?; padding with zeros)$/;
/** What was deleted meanwhile was deleted by its owner. */
const UNREMARKABLE =
  /Exiting with failure status|File removed before we read it|Cannot stat: (?:No such file|Not a directory)|socket ignored/;

const ESCAPES: Readonly<Record<string, number>> = { a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '\\': 92, ' ': 32 };

/** Undoes `--quoting-style=escape`. */
export function unescapeName(text: string): Buffer {
  const bytes: number[] = [];
  for (const [token] of text.matchAll(/\\[0-7]{3}|\\.|[\s\S]/g)) {
    if (token.length === 4) bytes.push(Number.parseInt(token.slice(1), 8));
    else if (token.length === 2) bytes.push(ESCAPES[token.charAt(1)] ?? token.charCodeAt(1));
    else bytes.push(token.charCodeAt(0));
  }
  return Buffer.from(bytes);
}
