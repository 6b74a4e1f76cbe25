import type { LogArchive, LogEntry } from '../../../core/log-archive';

/**
 * The whole content of an entry of the log, which is a segment of WAL at most. Not with `buffer` of node:stream/consumers: that
 * goes by way of a Blob, which copies everything once more and takes several times as long.
 */
export async function entryBytes(archive: Pick<LogArchive, 'open'>, entry: LogEntry): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await archive.open(entry)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
