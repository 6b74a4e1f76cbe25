import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { mixed } from '../../core/seeded-choice';

/** Means of the shares below, so that 3 GB are 100,000 files. */
const BYTES_A_FILE = 30_000;
const FILES_A_FOLDER = 120;
const CHANGED_SHARE = 1_000;
/** Of text that repeats seldom within what zstd looks back to. */
const POOL_BYTES = 64 * 2 ** 20;

const WORDS =
  'const return order customer import export async await function price total index catalog { } ( ) => ; "status": null true false <div class="row"> </div> select from where'.split(
    ' ',
  );

/** An application's tree: sources and JSON, pages and logs, and pictures that no codec makes smaller. The same each time. */
export class ApplicationTree {
  readonly root: string;
  readonly files: number;
  private readonly pool = textPool();

  constructor(root: string, megabytes: number) {
    this.root = root;
    this.files = Math.round((megabytes * 1e6) / BYTES_A_FILE);
    for (let file = 0; file < this.files; file += 1) {
      const target = this.pathOf(file);
      if (file % FILES_A_FOLDER === 0) fs.mkdirSync(path.dirname(target), { recursive: true });
      fs.writeFileSync(target, this.content(file, 0));
    }
  }

  /** One file in 1,000, others in each round. Answers their paths. */
  change(round: number): string[] {
    const changed = Array.from({ length: Math.max(1, Math.round(this.files / CHANGED_SHARE)) }, (_, nth) =>
      this.pathOf((nth * CHANGED_SHARE + round) % this.files),
    );
    for (const [nth, file] of changed.entries())
      fs.writeFileSync(file, this.content(nth * CHANGED_SHARE + round, round));
    return changed;
  }

  /** What the files come to as a compressed tar. */
  compressedBytes(files: readonly string[]): number {
    const tar = execFileSync('tar', ['-cf', '-', '-P', '-T', '-'], { input: files.join('\n'), maxBuffer: 2 ** 30 });
    return execFileSync('zstd', ['-3', '-q', '-c'], { input: tar, maxBuffer: 2 ** 30 }).length;
  }

  private pathOf(file: number): string {
    const folder = Math.floor(file / FILES_A_FOLDER);
    return path.join(this.root, `module-${folder % 40}`, `part-${folder}`, `file-${file}${kindOf(file).extension}`);
  }

  private content(file: number, round: number): Buffer {
    const { least, most, isText } = kindOf(file);
    const sizeBytes = least + (mixed(file * 31 + round) % (most - least));
    const from = mixed(file * 17 + round) % (POOL_BYTES - most);
    const content = isText ? Buffer.from(this.pool.subarray(from, from + sizeBytes)) : noise(file, sizeBytes);
    content.write(`${file} ${round} `);
    return content;
  }
}

interface Kind {
  readonly extension: string;
  readonly least: number;
  readonly most: number;
  readonly isText: boolean;
}

const KINDS: readonly Kind[] = [
  { extension: '.js', least: 500, most: 12_000, isText: true },
  { extension: '.json', least: 1_000, most: 30_000, isText: true },
  { extension: '.html', least: 10_000, most: 60_000, isText: true },
  { extension: '.jpg', least: 60_000, most: 300_000, isText: false },
];

/** Of 20: 10 sources, 5 JSON, 3 pages, 2 pictures. */
function kindOf(file: number): Kind {
  const share = mixed(file) % 20;
  return KINDS[share < 10 ? 0 : share < 15 ? 1 : share < 18 ? 2 : 3] as Kind;
}

function textPool(): Buffer {
  const pool = Buffer.alloc(POOL_BYTES);
  for (let at = 0, nth = 0; at < POOL_BYTES; nth += 1) {
    const bits = mixed(nth);
    const word = bits % 5 === 0 ? bits.toString(36) : (WORDS[bits % WORDS.length] as string);
    at += pool.write(`${word}${bits % 11 === 0 ? '\n  ' : ' '}`, at);
  }
  return pool;
}

function noise(seed: number, sizeBytes: number): Buffer {
  const content = Buffer.alloc(Math.ceil(sizeBytes / 4) * 4);
  for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(mixed(seed * 100_003 + at), at);
  return content.subarray(0, sizeBytes);
}
