import * as fs from 'node:fs';
import * as path from 'node:path';
import { projectRoot } from '../lab/runtime/servers';

/** Writes `bench/results/<date>-<name>.json`; of several on one day each gets a number. Answers its path. */
export function saveResult(name: string, result: object): string {
  const folder = path.join(projectRoot(), 'bench/results');
  fs.mkdirSync(folder, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  for (let number = 1; ; number += 1) {
    const file = path.join(folder, `${date}-${name}${number === 1 ? '' : `-${number}`}.json`);
    try {
      fs.writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`, { flag: 'wx' });
      return file;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
