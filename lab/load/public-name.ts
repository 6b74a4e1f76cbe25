import { Resolver } from 'node:dns/promises';

/** A name as the clients of the shop see it: asked of the given name servers, remembered for at most a second. */
export interface PublicName {
  address(): Promise<string>;
}

/** Short, so that the measured switch is that of the name servers and not of a cache here. */
const CACHE_MS = 1_000;
const QUERY_TIMEOUT_MS = 500;
const QUERY_TRIES = 2;

/** `servers` as `address:port`. The address's promise rejects while no server knows the name. */
export function publicName(name: string, servers: string[]): PublicName {
  let current: { address: Promise<string>; untilMs: number } | undefined;
  let turn = 0;
  const ask = async () => {
    // Servers take turns, as they do for a resolver: a name that only one of them has already changed shows as both.
    const first = turn++ % servers.length;
    const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
    resolver.setServers([...servers.slice(first), ...servers.slice(0, first)]);
    const [address] = await resolver.resolve4(name);
    if (!address) throw new Error(`${name} has no address`);
    return address;
  };
  return {
    address() {
      if (!current || performance.now() >= current.untilMs) {
        const address = ask();
        current = { address, untilMs: performance.now() + CACHE_MS };
        // A failure is not remembered: the next order asks again.
        address.catch(() => (current = undefined));
      }
      return current.address;
    },
  };
}
