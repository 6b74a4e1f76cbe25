import type { StorageSizes } from '../../core/monitoring/facts';
import type { Repository } from '../../core/repository';

/** Adds up everything below `data/`: a page of listing for each thousand objects, which is why it is done once an hour. */
export async function addUpStorage(repositories: readonly Repository[]): Promise<StorageSizes> {
  const contents: StorageSizes['contents'][number][] = [];
  for (const repository of repositories) {
    const sums = new Map<string, { bytes: number; objects: number }>();
    for await (const { key, sizeBytes } of repository.list('data/')) {
      const [, content = '', store = ''] = key.split('/');
      const name = `${content}/${store}`;
      const sum = sums.get(name) ?? { bytes: 0, objects: 0 };
      sums.set(name, { bytes: sum.bytes + sizeBytes, objects: sum.objects + 1 });
    }
    for (const [name, sum] of sums) {
      const [content = '', store = ''] = name.split('/');
      contents.push({ repository: repository.name, store, content, ...sum });
    }
  }
  return { at: new Date().toISOString(), contents };
}
