import { createHash } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { finished } from 'node:stream/promises';
import { storeUrls } from '../lab/lab';
import { inPostgres } from '../lab/servers/postgresql-client';
import { seedBulkMongo, seedBulkPostgres, seedBulkRedis } from '../lab/shop/seed-bulk';
import { STORES } from '../lab/sites/build';
import { applicationRoot } from '../lab/sites/files';
import type { BenchLab } from './lab';

/** A store of the lab that can be made as large as wanted: its next full backup holds at least `sizeBytes` of content. */
export interface MemorySubject {
  readonly store: string;
  readonly words: string;
  grow(bench: BenchLab, sizeBytes: number): Promise<void>;
}

const FILE_BYTES = 4e6;
const SMALL_FILE_BYTES = 4_096;
const FILES_A_FOLDER = 1_000;
const BLOCK_BYTES = 1_024;
const SEED = 1;

export const postgresql: MemorySubject = {
  store: STORES.postgresql,
  words: 'PostgreSQL',
  async grow(bench, sizeBytes) {
    const url = storeUrls(bench.lab, 'primary').postgresql;
    await seedBulkPostgres(url, { sizeBytes, seed: SEED });
    // Else autovacuum does it in the middle of the first backup, and writes as much log as there is data.
    await inPostgres(url, (client) => client.query('VACUUM (FREEZE) bulk_rows'));
    // The log of what was just written is archived first: what is measured is a backup with an ordinary load beside it.
    await bench.waitForArchiver(STORES.postgresql);
  },
};

export const mongodb: MemorySubject = {
  store: STORES.mongodb,
  words: 'MongoDB',
  async grow(bench, sizeBytes) {
    await seedBulkMongo(storeUrls(bench.lab, 'primary').mongodb, { sizeBytes, seed: SEED });
    await bench.waitForArchiver(STORES.mongodb);
  },
};

export const redis: MemorySubject = {
  store: STORES.redis,
  words: 'Redis',
  // Its backup holds the same data twice: the RDB, and beside it the append-only file, which is the larger one.
  grow: ({ lab }, sizeBytes) =>
    seedBulkRedis(storeUrls(lab, 'primary').redis, { sizeBytes: sizeBytes / 2, seed: SEED }),
};

export const files: MemorySubject = { store: 'application', words: 'files', grow: growFiles };

/** Large files for seven eighths of the bytes; for the rest many small ones, of each of which a dump holds what it knows. */
async function growFiles({ lab }: BenchLab, sizeBytes: number): Promise<void> {
  const folder = path.join(applicationRoot(lab, 'primary'), 'bulk');
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const smallBytes = sizeBytes / 8;
  for (let file = 0; file * FILE_BYTES < sizeBytes - smallBytes; file += 1)
    await writeBulkFile(path.join(folder, `part-${String(file).padStart(5, '0')}`), file, FILE_BYTES);
  for (let file = 0; file * SMALL_FILE_BYTES < smallBytes; file += 1) {
    const parent = path.join(folder, `documents-${Math.floor(file / FILES_A_FOLDER)}`);
    fs.mkdirSync(parent, { recursive: true });
    fs.writeFileSync(
      path.join(parent, `order-${file}.json`),
      bulkBlock(file, 0).repeat(SMALL_FILE_BYTES / BLOCK_BYTES),
    );
  }
}

async function writeBulkFile(file: string, number: number, sizeBytes: number): Promise<void> {
  const stream = fs.createWriteStream(file);
  for (let block = 0; block * BLOCK_BYTES < sizeBytes; block += 1)
    if (!stream.write(bulkBlock(number, block))) await once(stream, 'drain');
  stream.end();
  await finished(stream);
}

/** Half hexadecimal digits, half words, as the rows of `seedBulk`. */
function bulkBlock(file: number, block: number): string {
  const digits = createHash('sha512').update(`${file}:${block}`).digest('hex').repeat(4);
  return digits + `ultramarket order ${block % 100} `.repeat(24).padEnd(512);
}
