import {
  ChangeResourceRecordSetsCommand,
  GetChangeCommand,
  ListResourceRecordSetsCommand,
  type ResourceRecordSet,
  Route53Client,
} from '@aws-sdk/client-route-53';
import type { CallContext } from '../../core/call';
import { failure, hasCode } from '../../core/errors';
import type { DnsRecord, DnsZone } from '../../core/traffic';
import { AwsProblem, callAws } from '../aws/aws-errors';
import { awsClientOptions } from '../aws/client-options';
import { absoluteName } from './domain-name';
import type { Route53Settings } from './settings';

const CODE_OF = {
  denied: 'AccessDenied',
  missing: 'NotFound',
  busy: 'TargetUnreachable',
  refused: 'ConfigInvalid',
} as const;

/**
 * A hosted zone of Route 53. INSYNC is the control plane's word only: ask the name servers too (`PublicProbe`).
 * Throws TargetUnreachable (network, throttling, an earlier change still pending), AccessDenied, NotFound for an unknown
 * zone or change, ConfigInvalid for a record that the zone refuses.
 */
export function createRoute53Zone(settings: Route53Settings): DnsZone {
  const HostedZoneId = settings.zoneId.replace(/^\/?hostedzone\//, '');
  const where = `Route 53 zone ${HostedZoneId}`;
  const client = new Route53Client(awsClientOptions(settings, where));

  async function call<T>(what: string, ctx: CallContext, send: Parameters<typeof callAws<T>>[2]): Promise<T> {
    try {
      return await callAws(settings, ctx.signal, send);
    } catch (cause) {
      if (!(cause instanceof AwsProblem)) throw cause;
      throw failure(CODE_OF[cause.kind], `${what} in ${where}: ${cause.message}`, { cause });
    }
  }

  async function record(name: string, type: DnsRecord['type'], ctx: CallContext): Promise<DnsRecord | null> {
    const StartRecordName = absoluteName(name);
    const request = new ListResourceRecordSetsCommand({
      HostedZoneId,
      StartRecordName,
      StartRecordType: type,
      MaxItems: 1,
    });
    const reply = await call(`reading ${name} ${type}`, ctx, (options) => client.send(request, options));
    // The listing starts at the name, so without such a record the next one of the zone is answered.
    const found = reply.ResourceRecordSets?.find(
      (each) => each.Type === type && absoluteName(each.Name ?? '') === StartRecordName,
    );
    return found ? simpleRecord(found, name, type, where) : null;
  }

  async function upsert(wanted: DnsRecord, ctx: CallContext): Promise<string> {
    // An UPSERT over an alias or a weighted record is refused or leaves the others answering: reading first says which it is.
    await record(wanted.name, wanted.type, ctx);
    return write('UPSERT', wanted, `setting ${wanted.name} ${wanted.type} to ${wanted.values.join(', ')}`, ctx);
  }

  /** Route 53 removes a record only by exactly what it holds: what somebody else has put there meanwhile stays. */
  async function remove(wanted: DnsRecord, ctx: CallContext): Promise<string | null> {
    if ((await record(wanted.name, wanted.type, ctx)) === null) return null;
    return write('DELETE', wanted, `removing ${wanted.name} ${wanted.type} (${wanted.values.join(', ')})`, ctx);
  }

  async function write(
    Action: 'UPSERT' | 'DELETE',
    { name, type, ttlSeconds, values }: DnsRecord,
    what: string,
    ctx: CallContext,
  ): Promise<string> {
    const ResourceRecords = values.map((Value) => ({ Value }));
    const ResourceRecordSet = { Name: absoluteName(name), Type: type, TTL: ttlSeconds, ResourceRecords };
    const ChangeBatch = { Comment: 'drctl', Changes: [{ Action, ResourceRecordSet }] };
    const request = new ChangeResourceRecordSetsCommand({ HostedZoneId, ChangeBatch });
    const reply = await call(what, ctx, (options) => client.send(request, options));
    const changeId = reply.ChangeInfo?.Id;
    if (!changeId) throw failure('TargetUnreachable', `${what} in ${where}: the answer names no change`);
    return changeId.replace(/^\/?change\//, '');
  }

  async function inSync(changeId: string, ctx: CallContext): Promise<boolean> {
    const request = new GetChangeCommand({ Id: changeId });
    const reply = await call(`reading change ${changeId}`, ctx, (options) => client.send(request, options));
    return reply.ChangeInfo?.Status === 'INSYNC';
  }

  /**
   * The API has no dry run. It looks at rights before it looks at the zone, and refuses a DELETE whose values are not those of
   * the record: so a refusal of the values says that the rights are there, and nothing can be changed by it. The address is
   * one that nobody can have (RFC 5737, RFC 3849, RFC 6761).
   */
  async function rehearse({ name, type }: Pick<DnsRecord, 'name' | 'type'>, ctx: CallContext): Promise<void> {
    const Value = { A: '192.0.2.1', AAAA: '2001:db8::1', CNAME: 'drctl.invalid.' }[type];
    const ResourceRecordSet = { Name: absoluteName(name), Type: type, TTL: 0, ResourceRecords: [{ Value }] };
    const Changes = [{ Action: 'DELETE' as const, ResourceRecordSet }];
    const change = new ChangeResourceRecordSetsCommand({ HostedZoneId, ChangeBatch: { Comment: 'drctl', Changes } });
    await refusedForItsValues(
      call(`asking for the right to change ${name} ${type}`, ctx, (options) => client.send(change, options)),
    );
    await refusedForItsValues(
      call('asking for the right to read changes', ctx, (options) =>
        client.send(new GetChangeCommand({ Id: 'C0DRCTLNOSUCHCHANGE' }), options),
      ),
    );
  }

  return { kind: 'route53', record, rehearse, upsert, remove, inSync };
}

async function refusedForItsValues(asked: Promise<unknown>): Promise<void> {
  try {
    await asked;
  } catch (error) {
    if (!hasCode(error, 'ConfigInvalid') && !hasCode(error, 'NotFound')) throw error;
  }
}

function simpleRecord(found: ResourceRecordSet, name: string, type: DnsRecord['type'], where: string): DnsRecord {
  const other = found.AliasTarget
    ? 'an alias'
    : found.SetIdentifier
      ? 'one of several weighted or routed records'
      : null;
  if (other) {
    throw failure('ConfigInvalid', `${name} ${type} in ${where} is ${other}; only a simple record can be moved`, {
      next: 'Replace it by a simple record, or take it out of `dns.records`.',
    });
  }
  const values = (found.ResourceRecords ?? []).map(({ Value }) => Value ?? '');
  return { name, type, ttlSeconds: found.TTL ?? 0, values };
}
