import type { CallContext, Progress } from '../../core/call';

/** A context for adapters under test: silent, never cancelled unless a signal is given, progress kept. */
export function testContext(
  signal: AbortSignal = new AbortController().signal,
): CallContext & { readonly reports: Progress[] } {
  const reports: Progress[] = [];
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  return { signal, log, reports, progress: (report) => void reports.push(report) };
}
