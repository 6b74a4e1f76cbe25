import type { Artifact, Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import type { VolumeSource } from '../../core/volumes';
import type { Place, Places } from './places';

/**
 * Volumes from the first place that has each of them intact. What tells is the repository's word before the first byte; bytes that
 * differ in spite of it end the stream with BackupCorrupt, because they were handed on: with `readFirst` they are read before.
 */
export function createFallbackSource(
  places: Places,
  chain: readonly Manifest[],
  { readFirst, fromLocalTier }: { readonly readFirst: boolean; readonly fromLocalTier: boolean },
): VolumeSource {
  const sources = new Map(places.all.map((place) => [place.name, place.transfer.source(chain, { fromLocalTier })]));
  const sourceOf = ({ name }: Place) => sources.get(name) as VolumeSource;

  /** Throws what keeps the place from being used for it. */
  async function usable(place: Place, artifact: Artifact): Promise<VolumeSource> {
    const why = await place.transfer.whyUnusable(artifact, readFirst ? 'read' : 'head');
    if (why === null) return sourceOf(place);
    throw failure('BackupCorrupt', why, { context: { key: artifact.key, repository: place.name } });
  }

  const choose = (artifact: Artifact) => places.first(artifact.key, (place) => usable(place, artifact));

  async function* lend(artifact: Artifact): AsyncGenerator<Buffer, void> {
    const source = await choose(artifact);
    yield* source.lend ? source.lend(artifact) : ((await source.open(artifact)) as AsyncIterable<Buffer>);
  }

  return {
    open: async (artifact) => (await choose(artifact)).open(artifact),
    lend,
    early(backupId, name) {
      const key =
        chain.find((each) => each.backupId === backupId)?.early.find((each) => each.name === name)?.key ?? name;
      return places.first(key, (place) => sourceOf(place).early(backupId, name));
    },
  };
}
