import { layout } from '../core/layout';
import type { KeptHealth } from '../core/monitoring/told';
import type { OpenApplication } from './deps';
import { isRecord, readKept } from './kept-state';

/** What the newest health check found and told; null before the first. Throws BackupCorrupt where that is damaged. */
export async function readKeptHealth({ control }: Pick<OpenApplication, 'control'>): Promise<KeptHealth | null> {
  return readKept(control, layout.health(), isKeptHealth);
}

function isKeptHealth(value: unknown): value is KeptHealth {
  if (!isRecord(value) || !isRecord(value['result']) || !isRecord(value['told'])) return false;
  const { at, stores } = value['result'];
  const isStore = (store: unknown) =>
    isRecord(store) && typeof store['store'] === 'string' && Array.isArray(store['reasons']);
  return typeof at === 'string' && Array.isArray(stores) && stores.every(isStore);
}
