import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import type { FenceOutlook } from '../../../core/fencing';
import { addressOf, lookAtRedis, type RedisEndpoint, unlessRefused } from './connection';
import { PROBE_KEY } from './epoch';
import { readConfig, readInfo } from './info';

/** What `fenceRedis` asks of the server: by its setting, and by the rights of its users where that is not to be had. */
const BY_SETTING = [['CONFIG', 'SET', 'min-replicas-to-write', '1']] as const;
const KEEP = [['CONFIG', 'REWRITE']] as const;
const BY_RIGHTS = [
  ['ACL', 'LIST'],
  ['ACL', 'USERS'],
  ['ACL', 'SETUSER', 'drctl-fence'],
  ['ACL', 'DELUSER', 'drctl-fence'],
  ['ACL', 'SAVE'],
] as const;
const BY_EITHER = [
  ['CLIENT', 'KILL', 'TYPE', 'normal'],
  ['SET', PROBE_KEY, 'fence'],
] as const;

/** The rights that `fenceRedis` and `handOverRedis` need at a primary that answers. Nothing of it is carried out. */
export function redisFenceOutlook(endpoint: RedisEndpoint, ctx: CallContext): Promise<FenceOutlook> {
  return lookAtRedis(endpoint, ctx, async (client) => {
    const info = await readInfo(client, 'server', 'replication');
    if (info.get('role') === 'slave') {
      const how = `Redis at ${addressOf(endpoint)} is a replica: there is no primary to fence`;
      return { strength: 'none', how, lacking: [], handOverLacks: [how] };
    }
    const account = await unlessRefused(async () => String(await client.call('ACL', 'WHOAMI')));
    if (account === null || (await whyDenied(client, account, ['PING'])) !== null) {
      const why = `${account ?? 'our account'} may not ask what it may do, nor change users: ACL SETUSER ${account ?? '…'} +acl`;
      return { strength: 'none', how: 'what it may do is not known', lacking: [why], handOverLacks: [why] };
    }
    const denied = async (commands: readonly (readonly string[])[]) =>
      (await Promise.all(commands.map((command) => whyDenied(client, account, command)))).filter(
        (each) => each !== null,
      );
    const [toSet, toTake, toKeep, toProve, toFollow] = await Promise.all([
      denied(BY_SETTING),
      denied(BY_RIGHTS),
      denied(KEEP),
      denied(BY_EITHER),
      denied([['REPLICAOF', 'NO', 'ONE']]),
    ]);
    const none = toSet.length > 0 && toTake.length > 0;
    const configFile = (info.get('config_file') ?? '') !== '' && toKeep.length === 0;
    const kept = configFile ? !none : toTake.length === 0 && (await keepsUsers(client));
    return {
      ...(none || toProve.length > 0
        ? { strength: 'none', how: 'it cannot be made to refuse writes' }
        : kept
          ? { strength: 'proven', how: 'it would refuse writes, also after a restart' }
          : { strength: 'weak', how: 'it would refuse writes; no file of it is known to keep that through a restart' }),
      lacking: [...(none ? [...toSet, ...toTake] : []), ...toProve],
      handOverLacks: [...(none ? toSet : []), ...toProve, ...toFollow],
    };
  });
}

/** Null where the account may; the server's own sentence where it may not, or where it does not know the command. */
async function whyDenied(client: Redis, account: string, command: readonly string[]): Promise<string | null> {
  const what = command.slice(0, 2).join(' ');
  const answer = await unlessRefused(async () => String(await client.call('ACL', 'DRYRUN', account, ...command)));
  if (answer === 'OK') return null;
  return `${what}: ${answer ?? 'the server does not know it, or does not say'}`;
}

/** False also where the server does not say: a managed one without CONFIG may have an ACL file all the same. */
async function keepsUsers(client: Redis): Promise<boolean> {
  const settings = await unlessRefused(() => readConfig(client, 'aclfile'));
  return (settings?.get('aclfile') ?? '') !== '';
}
