/** What a primary tells its replicas and what it passes on to subscribers: it changes no data. */
const NOISE = new Set(['PING', 'REPLCONF', 'PUBLISH', 'SPUBLISH']);

export const isNoise = (name: string): boolean => NOISE.has(name);
