import { setTimeout as sleep } from 'node:timers/promises';
import type { ZoneReader } from './route53-zone';
import type { Zone } from './zone';

/** What one name server serves at this moment; undefined until the zone was read once. */
export interface ServedZone {
  zone: Zone | undefined;
}

export interface Propagation {
  /** One a name server, in the order of the delays given. */
  served: ServedZone[];
  /** Resolves when the zone was read for the first time. */
  ready: Promise<void>;
  stop(): void;
}

const READ_EVERY_MS = 300;
const READ_TIMEOUT_MS = 5_000;

/**
 * Reads the zone every 300 ms and lets each name server see a change only after its own delay, as the name servers of
 * Route 53 do. While it cannot be read, the servers go on with what they have, as those would.
 */
export function propagateZone(
  reader: ZoneReader,
  delaysMs: number[],
  log: (event: string, fields?: object) => void,
): Propagation {
  const served: ServedZone[] = delaysMs.map(() => ({ zone: undefined }));
  const stopping = new AbortController();
  const timers = new Set<NodeJS.Timeout>();
  let latest = '';
  let first: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => (first = resolve));

  const publish = (zone: Zone) => {
    const text = JSON.stringify(zone);
    if (text === latest) return;
    // The first zone is no change: a server that starts has had it for long.
    const isFirst = latest === '';
    latest = text;
    log('zone changed', { zone: zone.name, records: zone.records.length });
    for (const [index, server] of served.entries()) {
      if (isFirst) {
        server.zone = zone;
        continue;
      }
      const timer = setTimeout(() => {
        timers.delete(timer);
        server.zone = zone;
      }, delaysMs[index]);
      timers.add(timer);
    }
    first();
  };

  void (async () => {
    let readable = true;
    while (!stopping.signal.aborted) {
      try {
        publish(await reader.read(AbortSignal.any([stopping.signal, AbortSignal.timeout(READ_TIMEOUT_MS)])));
        if (!readable) log('zone readable again');
        readable = true;
      } catch (cause) {
        if (stopping.signal.aborted) return;
        if (readable) log('zone not readable', { reason: cause instanceof Error ? cause.message : String(cause) });
        readable = false;
      }
      // An aborted sleep is the end of the loop, not an error.
      await sleep(READ_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  })();

  return {
    served,
    ready,
    stop() {
      stopping.abort();
      for (const timer of timers) clearTimeout(timer);
      reader.close();
    },
  };
}
