import { restartWithBoundedMemory } from './bounded-memory';

/**
 * What the process of a worker does before anything else, so that it is the first import of workers/main.ts: what is loaded
 * before it starts again would be loaded twice, and that takes longer than all else of a start.
 */
restartWithBoundedMemory();
