import * as fs from 'node:fs';
import type { Socket } from 'node:net';
import { MongoClient } from 'mongodb';
import { parse, stringify } from 'yaml';
import { mongoSetUrl } from '../../../lab/sites/mongodb';
import { type Address, SITES } from '../../../lab/sites/address-plan';
import { STORES } from '../../../lab/sites/build';
import { type E2eLab, waitUntil } from '../e2e-lab';
import { Link } from '../link';
import { SocketOwners } from '../socket-owner';

/** The way to one member of the replica set, which everybody takes: the set knows the member by it. */
export interface MemberLink {
  readonly site: string;
  readonly member: Address;
  readonly link: Link;
}

interface SetConfig {
  version: number;
  readonly members: { host: string }[];
}

/**
 * Gives each member of a lab's replica set the address of a link, in the set's configuration and in the application's. What a
 * program of the site `primary` sends to the others, and they to it, is subject to the links; clients that are no program of the lab
 * reach every member on ways of their own.
 */
export async function linkMembers(e2e: E2eLab): Promise<MemberLink[]> {
  const { sites, witness } = e2e.access.plan;
  const members = [
    ...SITES.flatMap((site) => sites[site].mongodb.map((member) => ({ site: site as string, member }))),
    { site: 'witness', member: witness },
  ];
  const callers = new Callers(e2e);
  const links = await Promise.all(
    members.map(async ({ site, member }) => {
      const crosses = async (near: Socket) => isBetween(site, await callers.siteOf(near));
      return { site, member, link: await Link.to(member, crosses) };
    }),
  );
  await knownByLinks(e2e, links);
  configure(e2e, links);
  return links;
}

function isBetween(site: string, caller: string | null): boolean {
  return caller !== null && caller !== site && (caller === 'primary' || site === 'primary');
}

/** Tells whose connection it is; asked for each that is made, of which a partition makes many. */
class Callers {
  private readonly e2e: E2eLab;
  private readonly owners = new SocketOwners();
  private sites = new Map<number, string>();
  private looking: Promise<void> | null = null;

  constructor(e2e: E2eLab) {
    this.e2e = e2e;
  }

  /** Null for whoever is no program of the lab: the clients are this process. */
  async siteOf(near: Socket): Promise<string | null> {
    const owner = (await this.owner(near)) ?? (await this.look(), await this.owner(near));
    return owner === null ? null : (this.sites.get(owner) ?? null);
  }

  private owner(near: Socket): Promise<number | null> {
    return this.owners.ownerOf(near, () => [process.pid, ...this.sites.keys()]);
  }

  /** A program that was started since has another pid. */
  private look(): Promise<void> {
    this.looking ??= this.askSupervisor().finally(() => (this.looking = null));
    return this.looking;
  }

  private async askSupervisor(): Promise<void> {
    const programs = await this.e2e.supervisor.processes();
    this.sites = new Map(programs.flatMap(({ pid, site }) => (pid === null ? [] : [[pid, site] as const])));
  }
}

async function knownByLinks(e2e: E2eLab, links: readonly MemberLink[]): Promise<void> {
  const client = await new MongoClient(mongoSetUrl(e2e.access, 'root'), { serverSelectionTimeoutMS: 20_000 }).connect();
  try {
    const admin = client.db('admin');
    const { config } = (await admin.command({ replSetGetConfig: 1 })) as unknown as { config: SetConfig };
    for (const { member, link } of links) {
      const entry = config.members.find(({ host }) => host === textOf(member));
      if (!entry) throw new Error(`the set has no member ${textOf(member)}`);
      entry.host = textOf(link.address);
    }
    config.version += 1;
    await admin.command({ replSetReconfig: config });
    const expected = links.map(({ link }) => textOf(link.address)).toSorted();
    await waitUntil('every member being known and well by its link', async () => {
      const status = await admin.command({ replSetGetStatus: 1 });
      const found = status['members'] as { name: string; stateStr: string; configVersion: number }[];
      const isWell = found.every(
        ({ stateStr, configVersion }) =>
          ['PRIMARY', 'SECONDARY'].includes(stateStr) && configVersion === status['members'][0].configVersion,
      );
      return (
        isWell &&
        found
          .map(({ name }) => name)
          .toSorted()
          .join() === expected.join()
      );
    });
  } finally {
    await client.close();
  }
}

/** In the config that every command and worker reads. */
function configure(e2e: E2eLab, links: readonly MemberLink[]): void {
  const config = parse(fs.readFileSync(e2e.configFile, 'utf8')) as {
    stores: Record<string, { sites: Record<string, { members?: string[] }> }>;
  };
  for (const site of SITES) {
    const members = links.filter((each) => each.site === site).map(({ link }) => textOf(link.address));
    Object.assign(config.stores[STORES.mongodb]?.sites[site] ?? {}, { members });
  }
  fs.writeFileSync(e2e.configFile, stringify(config));
}

export function textOf({ host, port }: Address): string {
  return `${host}:${port}`;
}
