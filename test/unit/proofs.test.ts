import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createProofs } from '../../adapters/catalog/proofs';
import { createLocalRepository } from '../../adapters/repository/local';
import { findFailure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Proof, ProofKind, ProofResult } from '../../core/proofs';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-proofs-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const repository = createLocalRepository({ name: 'local', directory: root, prefix: 'shop' });
const proofs = createProofs(repository);

function proofOf(store: string, time: string, kind: ProofKind, result: ProofResult): Proof {
  const at = `2026-11-${time.slice(0, 2)}T${time.slice(3, 5)}:00:00.000Z`;
  return {
    formatVersion: 1,
    application: 'shop',
    store,
    proofId: `202611${time.slice(0, 2)}T${time.slice(3, 5)}0000Z-${kind}-${result}-0000000a`,
    kind,
    result,
    at,
    startedAt: at,
    requestedBy: 'sam',
    workflowId: 'verify:shop:1',
    runId: 'r1',
    seed: 7,
    backups: [],
    looked: { backups: 1, objects: 2, logPieces: 3, readBytes: 4 },
    findings: [],
    moreFindings: 0,
    log: [],
    problem: null,
    restorable: [],
    restore: null,
  };
}

test('what was proven when is told by the names alone; each proof is read back as it was written', async () => {
  const [old, failed, quick] = [
    proofOf('orders', '20 01', 'full', 'proven'),
    proofOf('orders', '22 01', 'full', 'failed'),
    proofOf('orders', '21 01', 'quick', 'proven'),
  ];
  for (const each of [old, failed, quick, failed]) await proofs.keep(each);
  await proofs.keep(proofOf('events', '23 01', 'restore', 'proven'));
  await repository.put(`${layout.proofs('orders')}note.txt`, Buffer.from('of somebody else'));

  const summary = ({ store, proofId, kind, result, at }: Proof) => ({ store, proofId, kind, result, at });
  expect(await proofs.list('orders')).toEqual([failed, quick, old].map(summary));
  expect(await proofs.newest('orders')).toEqual([quick, failed].map(summary));
  expect(await proofs.newest('nothing')).toEqual([]);
  expect(await proofs.get('orders', failed.proofId)).toEqual(failed);
});

test('a proof that is not there, or not as it was written, is refused by name', async () => {
  const said = async (proofId: string) =>
    findFailure(await proofs.get('orders', proofId).catch((error: unknown) => error));
  expect(await said('20261101T000000Z-full-proven-00000001')).toMatchObject({ code: 'NotFound' });
  expect(await said('../../secret')).toMatchObject({ code: 'NotFound' });
  const kept = proofOf('orders', '24 01', 'full', 'failed');
  await proofs.keep(kept);
  const file = path.join(repository.location, layout.proof('orders', kept.proofId));
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('"failed"', '"proven"'));
  expect(await said(kept.proofId)).toMatchObject({
    code: 'BackupCorrupt',
    message: expect.stringContaining(kept.proofId),
  });
});
