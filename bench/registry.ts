import type { Bench } from './bench';
import { failover } from './failover';
import { files } from './files/bench';
import { filesMemory, memory, mongodbMemory, redisMemory } from './memory';
import { mongodb } from './mongodb/bench';
import { monitoring } from './monitoring';
import { postgresql } from './postgresql/bench';
import { redis } from './redis/bench';
import { retention } from './retention';
import { volumes } from './volumes';

/** Every benchmark by the name that `npm run bench` knows it by. A new one is a file and a line here. */
export const benches: Readonly<Record<string, Bench>> = {
  memory,
  'memory-mongodb': mongodbMemory,
  'memory-redis': redisMemory,
  'memory-files': filesMemory,
  postgresql,
  mongodb,
  redis,
  files,
  failover,
  monitoring,
  retention,
  volumes,
};
