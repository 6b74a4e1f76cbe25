import type { Readable } from 'node:stream';

/** A body that sends nothing for this long is taken for dead, however long the whole of it takes. */
const SILENCE_MILLISECONDS = 60_000;

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
    for await (const chunk of body as AsyncIterable<Buffer>) {
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
