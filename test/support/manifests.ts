import type { Artifact, DumpResult, Manifest } from '../../core/catalog';

export function dumpResult(changes: Partial<DumpResult> = {}): DumpResult {
  return {
    start: null,
    stop: null,
    startedAt: '2026-11-22T13:05:03.000Z',
    consistentAt: '2026-11-22T13:05:09.000Z',
    identity: 'test-store',
    lineage: null,
    serverVersion: '1.0',
    toolVersions: {},
    source: { site: 'primary', member: '127.0.0.1:1' },
    warnings: [],
    detail: {},
    ...changes,
  };
}

export function manifestOf(
  backupId: string,
  artifacts: readonly Artifact[],
  changes: Partial<Manifest> = {},
): Manifest {
  return {
    ...dumpResult(),
    formatVersion: 1,
    backupId,
    application: 'shop',
    store: 'orders',
    engine: 'files',
    type: 'full',
    parent: null,
    typeReason: null,
    committedAt: '2026-11-22T13:06:00.000Z',
    artifacts,
    early: [],
    attempt: 1,
    workflowId: 'backup:shop:orders',
    runId: 'run-1',
    ...changes,
  };
}
