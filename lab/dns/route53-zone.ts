import { GetHostedZoneCommand, ListResourceRecordSetsCommand, Route53Client } from '@aws-sdk/client-route-53';
import type { ListResourceRecordSetsCommandInput, ResourceRecordSet } from '@aws-sdk/client-route-53';
import { normalName, type RecordSet, type Zone } from './zone';

/** Reads the whole of a hosted zone. */
export interface ZoneReader {
  read(signal: AbortSignal): Promise<Zone>;
  close(): void;
}

export function route53ZoneReader(endpoint: string, hostedZoneId: string): ZoneReader {
  const client = new Route53Client({
    endpoint,
    region: 'us-east-1',
    maxAttempts: 1,
    // The lab's emulator takes any key. Without one the SDK would look for an instance's role, and wait for it.
    credentials: { accessKeyId: 'lab', secretAccessKey: 'lab' },
  });
  let zoneName: string | undefined;
  return {
    async read(abortSignal) {
      zoneName ??= await readName(client, hostedZoneId, abortSignal);
      return { name: zoneName, records: await readRecords(client, hostedZoneId, abortSignal) };
    },
    close: () => client.destroy(),
  };
}

async function readName(client: Route53Client, Id: string, abortSignal: AbortSignal): Promise<string> {
  const { HostedZone } = await client.send(new GetHostedZoneCommand({ Id }), { abortSignal });
  if (!HostedZone?.Name) throw new Error(`the hosted zone ${Id} has no name`);
  return normalName(HostedZone.Name);
}

async function readRecords(
  client: Route53Client,
  HostedZoneId: string,
  abortSignal: AbortSignal,
): Promise<RecordSet[]> {
  const records: RecordSet[] = [];
  let from: Omit<ListResourceRecordSetsCommandInput, 'HostedZoneId'> = {};
  for (;;) {
    const page = await client.send(new ListResourceRecordSetsCommand({ HostedZoneId, ...from }), { abortSignal });
    records.push(...(page.ResourceRecordSets ?? []).flatMap(toRecordSet));
    if (!page.IsTruncated) return records;
    from = {
      StartRecordName: page.NextRecordName,
      StartRecordType: page.NextRecordType,
      StartRecordIdentifier: page.NextRecordIdentifier,
    };
  }
}

/** Simple record sets only: weighted, failover and alias sets have no one answer that this server could give. */
function toRecordSet({ Name, Type, TTL, ResourceRecords, SetIdentifier }: ResourceRecordSet): RecordSet[] {
  if (!Name || !Type || !ResourceRecords?.length || SetIdentifier) return [];
  const values = ResourceRecords.flatMap(({ Value }) => Value ?? []);
  return [{ name: normalName(Name), type: Type, ttlSeconds: TTL ?? 300, values }];
}
