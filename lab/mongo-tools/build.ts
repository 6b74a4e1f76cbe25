import { builtProgram, type GoProgram, whyNotBuilt } from '../runtime/go-program';

/** MongoDB's own, of the Database Tools: what a person restores with who has no drctl. */
const MONGORESTORE: GoProgram = {
  what: 'mongorestore',
  folder: 'mongo-tools',
  name: 'mongorestore',
  sources: ['go.mod', 'go.sum'],
  target: 'github.com/mongodb/mongo-tools/mongorestore/main',
  minGo: [1, 26],
  cost: 'about a minute',
};

export const whyNoMongorestore = (): string | null => whyNotBuilt(MONGORESTORE);

export const builtMongorestore = (onProgress?: (line: string) => void): Promise<string> =>
  builtProgram(MONGORESTORE, onProgress);
