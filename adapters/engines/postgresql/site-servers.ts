import { setTimeout as delay } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import type { StoreProbe } from '../../../core/engine';
import { failure, findFailure } from '../../../core/errors';
import type { Position } from '../../../core/positions';
import type { Candidate } from '../../../core/roles';
import { answerWithin } from '../answer-within';
import { addressOf, withClient } from './connection';
import { formatLsn, parseLsn, systemOf, timelineOf } from './lsn';
import type { PostgresqlSite } from './settings';
import { readStandbyPlace } from './standby-place';

/** One of several servers that needs longer is not chosen, and what it is stays unknown. */
const LOOK_MILLISECONDS = 2_000;
/** Once a primary has answered: how long the others are waited for, which only could show that it is an old one. */
const MORE_MILLISECONDS = 300;

/** What one of a site's servers says of itself. */
export interface ServerLook {
  readonly server: PostgresqlSite;
  /** Null where it does not answer. */
  readonly place: {
    readonly primary: boolean;
    readonly systemId: string;
    readonly timeline: number;
    /** Flushed at a primary, received at a standby. */
    readonly lsn: bigint;
  } | null;
}

/**
 * The servers of a store at a site: one, or the one that the config names first and its `standbys`. Which of them leads is
 * asked of them, because it changes: a promotion takes the best of them.
 */
export class SiteServers {
  private readonly store: string;
  private readonly sites: Readonly<Record<string, PostgresqlSite>>;

  constructor(store: string, sites: Readonly<Record<string, PostgresqlSite>>) {
    this.store = store;
    this.sites = sites;
  }

  /** As the config has it. */
  named(name: string): PostgresqlSite {
    const site = this.sites[name];
    if (site) return site;
    const known = Object.keys(this.sites).join(', ');
    throw failure('NotFound', `${this.store} has no endpoint at the site "${name}"; there is one at ${known}`);
  }

  /** The config with the site's leader in the place of its first server, for whoever reads what several sites have. */
  async led(name: string, ctx: CallContext): Promise<Readonly<Record<string, PostgresqlSite>>> {
    return { ...this.sites, [name]: await this.primaryAt(name, ctx) };
  }

  /**
   * The server that takes the writes, or would be asked whether it does: where none says that it is a primary, one that does not
   * answer, because that may be it. The others are its `standbys`.
   */
  async primaryAt(name: string, ctx: CallContext): Promise<PostgresqlSite> {
    const site = this.named(name);
    if (site.standbys.length === 0) return site;
    const looks = await lookAtServers(site, ctx);
    const best = bestOf(looks);
    const leader = best?.place?.primary ? best : (looks.find(({ place }) => place === null) ?? looks[0]);
    return ledBy(site, leader?.server ?? site);
  }

  /** The server that a promotion takes, or has taken, and in words why that one; null where there is one only. */
  async candidateAt(
    name: string,
    ctx: CallContext,
  ): Promise<{ readonly site: PostgresqlSite; readonly why: string | null; readonly looks: readonly ServerLook[] }> {
    const site = this.named(name);
    if (site.standbys.length === 0) return { site, why: null, looks: [] };
    const looks = await lookAtServers(site, ctx);
    const best = bestOf(looks);
    if (!best) return { site, why: 'none of its servers answers', looks };
    return { site: ledBy(site, best.server), why: whyThat(best, looks), looks };
  }

  /** See core/roles.ts `Replication.choose`. */
  async choose(name: string, atLeast: Position | null, ctx: CallContext): Promise<Candidate> {
    const { site, why, looks } = await this.candidateAt(name, ctx);
    const place = looks.find(({ server }) => sameServer(server, site))?.place;
    if (place === null) throw failure('PromotionFailed', `none of the servers of ${this.store} at ${name} answers`);
    if (atLeast && place && hasLess(place, atLeast)) {
      throw failure(
        'PromotionFailed',
        `no server of ${this.store} at ${name} that answers has ${atLeast.value}, which one had: ${why}`,
        {
          data: 'Nothing was promoted. What was acknowledged is at the old primary, which stays fenced, and at the server that had it.',
          next: 'Bring the server that does not answer back, then retry.',
        },
      );
    }
    return { server: nameOf(site), why: why ?? 'the only one' };
  }

  /** As `candidateAt`, for what has chosen already. Throws NotFound for a server that the config does not have. */
  at(name: string, server: string): PostgresqlSite {
    const site = this.named(name);
    const known = serversOf(site);
    const meant = known.find((each) => nameOf(each) === server);
    if (meant) return ledBy(site, meant);
    throw failure('NotFound', `${this.store} has no server ${server} at ${name}, but ${known.map(nameOf).join(', ')}`);
  }
}

/**
 * What the look at the site's leader says of the site: a server that does not answer may be another primary, so that nobody
 * knows whether a site takes writes whose other servers are standbys.
 */
export function withOthers(
  probe: StoreProbe,
  { site, looks }: { readonly site: PostgresqlSite; readonly looks: readonly ServerLook[] },
): StoreProbe {
  const others = looks.filter(({ server }) => !sameServer(server, site));
  const silent = others.filter(({ place }) => place === null);
  const strangers = others.filter(({ place }) => place !== null && place.systemId !== probe.identity);
  const problems = [
    ...silent.map(({ server }) => `${addressOf(server)} does not answer`),
    ...(probe.identity === null ? [] : strangers.map(({ server }) => `${addressOf(server)} is of another cluster`)),
  ];
  const writable = probe.writable === false && silent.length > 0 ? null : probe.writable;
  return problems.length === 0 ? probe : { ...probe, writable, problems: [...probe.problems, ...problems] };
}

/** As candidates and what was caught up are named. */
export const nameOf = ({ host, port }: PostgresqlSite) => `${host}:${port}`;
export const sameServer = (a: PostgresqlSite, b: PostgresqlSite) => a.host === b.host && a.port === b.port;

export function serversOf(site: PostgresqlSite): PostgresqlSite[] {
  return [site, ...site.standbys.map((standby) => ({ ...site, ...standby, standbys: [] }))];
}

function ledBy(site: PostgresqlSite, leader: PostgresqlSite): PostgresqlSite {
  const others = serversOf(site).filter((each) => !sameServer(each, leader));
  return { ...site, host: leader.host, port: leader.port, standbys: others.map(({ host, port }) => ({ host, port })) };
}

/**
 * Of those of one cluster the one on the newest timeline, and on that a primary before its standbys, else the one that has
 * received most. Which cluster is meant the first server says, or where that is silent most of them do. Null where none
 * answers.
 */
export function bestOf(looks: readonly ServerLook[]): ServerLook | null {
  const answering = looks.filter(({ place }) => place !== null);
  const clusters = answering.map(({ place }) => place?.systemId);
  const [first] = looks;
  const meant = first?.place?.systemId ?? mostFrequent(clusters);
  const ranked = answering
    .filter(({ place }) => place?.systemId === meant)
    .toSorted((a, b) => {
      const [left, right] = [a.place as Place, b.place as Place];
      if (left.timeline !== right.timeline) return right.timeline - left.timeline;
      if (left.primary !== right.primary) return left.primary ? -1 : 1;
      return left.lsn === right.lsn ? 0 : left.lsn < right.lsn ? 1 : -1;
    });
  return ranked[0] ?? null;
}

type Place = NonNullable<ServerLook['place']>;

/** A newer timeline says that it was promoted, by whomever: what it had of the old one then is not asked here. */
const hasLess = ({ systemId, timeline, lsn }: Place, { lineage, value }: Position) =>
  systemId === systemOf(lineage) && timeline === timelineOf(lineage) && lsn < parseLsn(value);

function mostFrequent(values: readonly (string | undefined)[]): string | undefined {
  const count = (wanted: string | undefined) => values.filter((each) => each === wanted).length;
  return values.toSorted((a, b) => count(b) - count(a))[0];
}

function whyThat({ server, place }: ServerLook, looks: readonly ServerLook[]): string {
  const others = looks.filter((each) => !sameServer(each.server, server)).map(inWords);
  const what = place?.primary ? 'leads already' : 'has the newest timeline and most of its log';
  return `${nameOf(server)} ${what} (${placeInWords(place)}); ${others.join('; ')}`;
}

const inWords = ({ server, place }: ServerLook) => `${nameOf(server)}: ${placeInWords(place)}`;
const placeInWords = (place: ServerLook['place']) =>
  place === null
    ? 'does not answer'
    : `timeline ${place.timeline}, ${formatLsn(place.lsn)}${place.primary ? ', a primary' : ''}`;

export async function lookAtServers(site: PostgresqlSite, ctx: CallContext): Promise<ServerLook[]> {
  const servers = serversOf(site);
  const looks: ServerLook[] = servers.map((server) => ({ server, place: null }));
  const enough = new AbortController();
  const asked = servers.map(async (server, index) => {
    const place = await placeOf(server, ctx);
    looks[index] = { server, place };
    if (place?.primary) enough.abort();
  });
  const primarySeen = new Promise<void>((resolve) => {
    enough.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const all = Promise.all(asked).then(() => undefined);
  const over = new AbortController();
  try {
    await Promise.race([
      all,
      primarySeen.then(() => Promise.race([all, delay(MORE_MILLISECONDS, undefined, { signal: over.signal })])),
    ]);
    return [...looks];
  } finally {
    over.abort();
    void Promise.allSettled([all]);
  }
}

async function placeOf(server: PostgresqlSite, ctx: CallContext): Promise<ServerLook['place']> {
  try {
    return await answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(server), (signal) =>
      withClient(
        server,
        async (client) => {
          const { inRecovery, systemId, timeline, received } = await readStandbyPlace(client, addressOf(server));
          return { primary: !inRecovery, systemId, timeline, lsn: received };
        },
        { statementMilliseconds: LOOK_MILLISECONDS, signal },
      ),
    );
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (!findFailure(error)) throw error;
    return null;
  }
}
