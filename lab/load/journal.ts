/** What the demo, the tests and the benchmarks need of the load generator: its journal, and the oracle over it. */
export type { JournalEntry } from './journal-entries';
export { readJournal, type Attempt, type Journal, type JournalOrder } from './journal-reader';
export {
  classify,
  compareOrders,
  type AlteredOrder,
  type Classification,
  type CompareOptions,
  type OrderComparison,
} from './oracle';
export { readOrderEventsFromMongo, readOrdersFromPostgres } from './stored-orders';
export { peakPerSecond, summarise, type Gap, type LoadSummary } from './measurements';
