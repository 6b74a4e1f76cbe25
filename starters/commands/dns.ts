import { askDns, changeTtls, dnsLines, ttlSecondsOf } from '../dns';
import type { Front } from '../front';
import { detachOption } from '../options';

export function registerDns(front: Front): void {
  const group = front.group('dns', 'the public names: what everybody answers, and their TTLs');

  front.command(
    group,
    'show',
    'ask the zone, its name servers and the resolvers of the config',
    [['drctl dns show', 'from here, now; changes nothing']],
    async (session) => {
      const names = await askDns(session);
      session.print(names, () => dnsLines(names));
    },
  );

  front
    .command<{ to: string; detach?: boolean }>(
      group,
      'lower-ttl',
      'lower the TTL of every name ahead of a planned move; what they were is kept, and restored after the move',
      [['drctl dns lower-ttl --to 5s', 'then wait until it says that the old TTL is over']],
      (session, _, { to, detach }) => changeTtls(session, ttlSecondsOf(to), detach ?? false),
    )
    .requiredOption('--to <ttl>', 'the TTL until the move is over: 5s')
    .addOption(detachOption());

  front
    .command<{ detach?: boolean }>(
      group,
      'restore-ttl',
      'give the names the TTLs back that they had before they were lowered',
      [['drctl dns restore-ttl', 'when the move was called off']],
      (session, _, { detach }) => changeTtls(session, null, detach ?? false),
    )
    .addOption(detachOption());
}
