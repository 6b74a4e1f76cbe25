import type { LoweredTtl } from '../core/dns-moves';
import { hasCode } from '../core/errors';
import { layout } from '../core/layout';
import type { Repository } from '../core/repository';
import type { DnsRecord } from '../core/traffic';

type Which = Pick<DnsRecord, 'name' | 'type'>;

const keyOf = ({ name, type }: Which) => layout.loweredTtl(name.toLowerCase().replace(/\.$/, ''), type);

/** Null where the TTL of the record is not lowered. */
export async function readLoweredTtl(control: Repository, record: Which): Promise<LoweredTtl | null> {
  try {
    return JSON.parse((await control.read(keyOf(record))).toString('utf8')) as LoweredTtl;
  } catch (error) {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  }
}

export async function keepLoweredTtl(control: Repository, lowered: LoweredTtl): Promise<void> {
  await control.put(keyOf(lowered), Buffer.from(JSON.stringify(lowered, null, 2)));
}

export async function forgetLoweredTtl(control: Repository, record: Which): Promise<void> {
  await control.delete([keyOf(record)]);
}
