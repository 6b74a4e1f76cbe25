import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../core/errors';

export interface AssetFile {
  /** Below the mirrored directory, with `/`. */
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
}

/** One request stores an object of up to 5 GiB (docs.aws.amazon.com, PutObject); no static asset is larger. */
const GREATEST_OBJECT_BYTES = 5 * 2 ** 30;

/** Regular files. `onSkipped` hears of what cannot be an object: links, other kinds, names that are no UTF-8, giants. */
export async function* assetFiles(
  directory: string,
  onSkipped: (note: string) => void,
  below = '',
): AsyncGenerator<AssetFile> {
  for await (const entry of await openDirectory(path.join(directory, below))) {
    const name = below === '' ? entry.name : `${below}/${entry.name}`;
    const file = path.join(directory, name);
    if (entry.isDirectory()) {
      yield* assetFiles(directory, onSkipped, name);
    } else if (!entry.isFile()) {
      onSkipped(`${name} is no regular file`);
    } else if (entry.name.includes('\ufffd')) {
      onSkipped(`${name} has a name that is not UTF-8`);
    } else {
      const { size } = await fs.lstat(file);
      if (size > GREATEST_OBJECT_BYTES) onSkipped(`${name} is larger than 5 GiB`);
      else yield { name, path: file, sizeBytes: size };
    }
  }
}

async function openDirectory(directory: string) {
  try {
    return await fs.opendir(directory);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw failure('TargetUnreachable', `${directory} is not there, so nothing is mirrored`, { cause: error });
    }
    if (code === 'EACCES') throw failure('AccessDenied', `${directory} cannot be read`, { cause: error });
    throw error;
  }
}

export interface AssetDigest {
  readonly md5: string;
  readonly sha256: Buffer;
  readonly sizeBytes: number;
}

/** MD5 because it is what S3 lists as ETag of an object stored in one request; SHA-256 for everything else. */
export async function assetDigest(file: string, signal: AbortSignal): Promise<AssetDigest> {
  const [md5, sha256] = [createHash('md5'), createHash('sha256')];
  let sizeBytes = 0;
  for await (const part of createReadStream(file, { highWaterMark: 256 * 1024, signal }) as AsyncIterable<Buffer>) {
    md5.update(part);
    sha256.update(part);
    sizeBytes += part.length;
  }
  return { md5: md5.digest('hex'), sha256: sha256.digest(), sizeBytes };
}
