import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../adapters/repository';
import { describeRepository } from './repository.contract';

const root = path.join(os.tmpdir(), `drctl-local-repository-${process.pid}`);
let count = 0;
afterAll(() => fs.rm(root, { recursive: true, force: true }));

describeRepository('local', async () => ({
  async empty() {
    count += 1;
    return createRepository(
      'local',
      { kind: 'local', directory: path.join(root, String(count)), prefix: 'backups' },
      'shop',
    );
  },
  neighbour: (repository) =>
    createRepository(
      'local',
      { kind: 'local', directory: path.resolve(repository.location, '../..'), prefix: 'backups' },
      'shop-2',
    ),
  async alter(repository, key, change) {
    const file = path.join(repository.location, key);
    await fs.writeFile(file, change(await fs.readFile(file)));
  },
}));
