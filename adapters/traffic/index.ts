import type { DnsZone } from '../../core/traffic';
import { createRoute53Zone } from './route53';
import type { ZoneSettings } from './settings';

export { createPublicProbe, type PublicProbeOptions } from './probe';

/** Connects to nothing yet: the first call does. */
export function createDnsZone(settings: ZoneSettings): DnsZone {
  return createRoute53Zone(settings);
}
