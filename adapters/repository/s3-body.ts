import type { Readable } from 'node:stream';

/** A body that sends nothing for this long is taken for dead, however long the whole of it takes. */
const SILENCE_MILLISECONDS = 60_000;

/** What may have come and not been taken yet. */
const AHEAD_BYTES = 2 ** 18;

/**
 * The bytes of a response, its errors mapped, the connection closed when the reader stops early. The deadline runs only
 * while the other side is waited for, not while a slow reader is busy.
 */
export async function* readBody(body: Readable, mapError: (error: unknown) => unknown): AsyncGenerator<Buffer, void> {
  let waiting = true;
  const deadline = setTimeout(() => {
    if (waiting) body.destroy(new Error(`nothing was received for ${SILENCE_MILLISECONDS / 1_000} s`));
  }, SILENCE_MILLISECONDS);
  try {
    for await (const chunk of asItComes(body)) {
      waiting = false;
      yield chunk;
      waiting = true;
      deadline.refresh();
    }
  } catch (error) {
    throw mapError(error);
  } finally {
    clearTimeout(deadline);
    body.destroy();
  }
}

/**
 * Every chunk as the connection gave it. A stream's own iterator joins what has gathered into a new buffer: a copy of all
 * that is read, and as much again for V8 to collect, which it does by looking through its whole heap.
 */
async function* asItComes(body: Readable): AsyncGenerator<Buffer, void> {
  const arrived: Buffer[] = [];
  let arrivedBytes = 0;
  let over: { readonly error: unknown } | null = null;
  let wake = () => {};
  body.on('data', (chunk: Buffer) => {
    arrived.push(chunk);
    arrivedBytes += chunk.length;
    if (arrivedBytes >= AHEAD_BYTES) body.pause();
    wake();
  });
  const end = (error: unknown) => {
    over ??= { error };
    wake();
  };
  body.once('end', () => end(null));
  body.on('error', end); // also those that come once nobody reads any more
  // An answer that is cut off closes without an end (Node's manual, http.ClientRequest, "aborted").
  body.once('close', () => end(new Error('the connection was closed before the end')));
  for (;;) {
    for (let chunk = arrived.shift(); chunk; chunk = arrived.shift()) {
      arrivedBytes -= chunk.length;
      yield chunk;
    }
    if (over !== null) break;
    body.resume();
    await new Promise<void>((resolve) => (wake = resolve));
  }
  const { error } = over as { readonly error: unknown };
  if (error !== null) throw error;
}
