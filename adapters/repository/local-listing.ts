import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { RESERVED_FOLDERS } from './keys';

/** Every key below the prefix, in the order of its bytes as S3 lists them; `after` and all before it left out. */
export async function* walkKeys(root: string, prefix: string, after = ''): AsyncGenerator<string, void> {
  const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  yield* walkFolder(root, folder, prefix, after);
}

async function* walkFolder(root: string, folder: string, prefix: string, after: string): AsyncGenerator<string, void> {
  const entries = await fs
    .readdir(path.join(root, folder), { withFileTypes: true })
    .catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
      throw error;
    });
  const names = entries
    .filter((entry) => entry.isDirectory() || entry.isFile())
    .filter((entry) => folder !== '' || !(RESERVED_FOLDERS as readonly string[]).includes(entry.name))
    // A folder sorts with its slash: `a-1` and `a.json` come before what is in `a/`.
    .map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`)
    .toSorted((a, b) => (a < b ? -1 : 1));
  for (const name of names) {
    if (!name.endsWith('/')) {
      if (name.startsWith(prefix) && name > after) yield name;
    } else if ((name.startsWith(prefix) || prefix.startsWith(name)) && (name > after || after.startsWith(name))) {
      yield* walkFolder(root, name, prefix, after);
    }
  }
}

/** See `Repository.folders`. */
export async function foldersOf(root: string, prefix: string): Promise<{ names: string[]; hasObjects: boolean }> {
  const names: string[] = [];
  const directory = await fs.opendir(path.join(root, prefix)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  // Ends, and closes the directory, with the first file.
  for await (const entry of directory ?? []) {
    if (entry.isFile()) return { names, hasObjects: true };
    const isReserved = prefix === '' && (RESERVED_FOLDERS as readonly string[]).includes(entry.name);
    if (entry.isDirectory() && !isReserved) names.push(entry.name);
  }
  return { names, hasObjects: false };
}
