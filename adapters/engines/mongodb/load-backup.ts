import type { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import { ArchiveLoader, createNamespaces } from './archive-loader';
import { readArchive } from './archive-reader';
import type { ArchivedNamespace } from './archive-writer';
import { documentsIn } from './bson-bytes';
import { chunksOf } from './document-stream';
import { ARCHIVE_NAME } from './dump';
import { openTransactionsIn } from './open-transactions';
import { OplogApplier } from './oplog-applier';
import { readEntry } from './oplog';
import { SelectedPart } from './selection';
import { WireConnection } from './wire';

/** Loads the archive of the request's full backup and applies the oplog in it: the server then holds the dump's last instant. */
export async function loadBackup(
  client: MongoClient,
  request: RestoreRequest,
  address: { readonly host: string; readonly port: number },
  source: VolumeSource,
  ctx: CallContext,
): Promise<void> {
  const [manifest] = request.chain;
  const artifact = manifest?.artifacts.find(({ name }) => name === ARCHIVE_NAME);
  if (!manifest || !artifact) throw failure('BackupCorrupt', `backup ${manifest?.backupId} names no ${ARCHIVE_NAME}`);
  await setCompatibility(client, manifest.detail['featureCompatibilityVersion']);
  const part = new SelectedPart(request.plan);
  const loader = await ArchiveLoader.open(address, ctx);
  const wire = await WireConnection.open(address, ctx.signal);
  const applier = new OplogApplier(client, wire, openTransactionsIn(request.place.directory), {
    fuzzy: true,
    part,
  });
  const chunks = chunksOf(await source.open(artifact));
  let inOplog = false;
  try {
    for await (const found of readArchive(chunks, artifact.key)) {
      ctx.signal.throwIfAborted();
      if (found.kind === 'head') {
        loader.inOrder = await createNamespaces(client, placed(found.namespaces, part), applier.indexes);
        continue;
      }
      const { db: from, collection } = found;
      if (from !== '') {
        const db = part.isLoaded(from, collection) ? part.databaseOf(from) : null;
        if (db !== null && found.kind === 'documents') await loader.add(db, collection, found.documents);
        if (db !== null && found.kind === 'end') await loader.end(db, collection);
        continue;
      }
      if (found.kind !== 'documents') continue;
      if (!inOplog) {
        // Our archives end with the oplog: everything it changes is loaded by then.
        await loader.finish();
        await applier.resume();
        inOplog = true;
      }
      for (const entry of documentsIn(found.documents)) await applier.apply(readEntry(entry));
      ctx.progress({ phase: 'applying the oplog of the dump', doneItems: applier.applied });
    }
    await loader.finish();
    await applier.flush();
  } catch (error) {
    ctx.signal.throwIfAborted();
    // Damaged bytes may be refused by the server before the digest at the stream's end tells why: that error is the true one.
    while (!(await chunks.next()).done) ctx.signal.throwIfAborted();
    throw error;
  } finally {
    await chunks.return?.();
    loader.close();
    wire.close();
  }
}

/** Those that are restored, by the names of the databases that they are restored to. */
function placed(namespaces: readonly ArchivedNamespace[], part: SelectedPart): ArchivedNamespace[] {
  return namespaces.flatMap((each) => {
    const db = part.isLoaded(each.db, each.collection) ? part.databaseOf(each.db) : null;
    return db === null ? [] : [{ ...each, db }];
  });
}

/** A set of an older compatibility version keeps it: its data may be read by an older server again. */
async function setCompatibility(client: MongoClient, wanted: unknown): Promise<void> {
  if (typeof wanted !== 'string') return;
  const reply = await client.db('admin').command({ getParameter: 1, featureCompatibilityVersion: 1 });
  if (String(reply['featureCompatibilityVersion']?.['version']) === wanted) return;
  const { version } = await client.db('admin').command({ buildInfo: 1 });
  const confirm = Number(String(version).split('.')[0]) >= 7 ? { confirm: true } : {};
  await client.db('admin').command({ setFeatureCompatibilityVersion: wanted, ...confirm });
}
