import { once } from 'node:events';
import { connect } from 'node:net';
import { type Document, MongoClient, type MongoClientOptions, MongoError, MongoServerError } from 'mongodb';
import { failure } from '../../../core/errors';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import type { MongodbSettings } from './settings';

/** A member that is alive answers within milliseconds; a dead one must not hold up a failover. */
const CONNECT_MILLISECONDS = 3_000;

const UNREACHABLE = [
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerSelectionError',
  'MongoTopologyClosedError',
];

/** What one member says of itself. */
export interface MemberState {
  readonly member: string;
  readonly hello: Document;
}

/** The members of one replica set, reached one by one (so that a dead one is seen as such) or as the set. */
export class Members {
  readonly settings: MongodbSettings;
  readonly store: string;

  constructor(store: string, settings: MongodbSettings) {
    this.store = store;
    this.settings = settings;
  }

  at(site: string): readonly string[] {
    const found = this.settings.sites[site];
    if (!found) {
      const known = Object.keys(this.settings.sites).join(', ');
      throw failure('ConfigInvalid', `store ${this.store} has no site "${site}": its sites are ${known}`);
    }
    return found.members;
  }

  /** Every member named in the config, whatever its site. */
  all(): readonly string[] {
    return [...new Set(Object.values(this.settings.sites).flatMap((site) => site.members))];
  }

  siteOf(member: string): string | null {
    return Object.entries(this.settings.sites).find(([, site]) => site.members.includes(member))?.[0] ?? null;
  }

  /** One member alone, whatever its role. Errors come out as errors of ours. The connection is closed afterwards. */
  async withMember<T>(member: string, use: (client: MongoClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    await answers(member, `${this.store} at ${member}`);
    const options = { ...this.options(), directConnection: true, readPreference: 'secondaryPreferred' as const };
    return this.with(new MongoClient(`mongodb://${member}/`, options), `${this.store} at ${member}`, use, signal);
  }

  /** A short question to one member: TargetUnreachable when it is silent for that long, whatever it was doing. */
  ask<T>(
    member: string,
    use: (client: MongoClient) => Promise<T>,
    milliseconds = LOOK_MILLISECONDS,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<T> {
    const where = `MongoDB ${this.store} at ${member}`;
    return answerWithin(signal, milliseconds, where, (bounded) => this.withMember(member, use, bounded));
  }

  /** The set as an application sees it: writes find the primary wherever it is. */
  async withSet<T>(use: (client: MongoClient) => Promise<T>, seeds = this.all()): Promise<T> {
    const options = { ...this.options(), replicaSet: this.settings.replicaSet, retryWrites: true };
    return this.with(
      new MongoClient(`mongodb://${seeds.join(',')}/`, options),
      `${this.store} (${seeds.join(', ')})`,
      use,
    );
  }

  /** What each member says, null for those that do not answer; never throws for those. */
  async hellos(
    members: readonly string[],
  ): Promise<(MemberState | { readonly member: string; readonly hello: null; readonly problem: string })[]> {
    const hello = (client: MongoClient) => client.db('admin').command({ hello: 1 });
    return Promise.all(
      members.map(async (member) => {
        try {
          return { member, hello: await this.ask(member, hello, CONNECT_MILLISECONDS) };
        } catch (error) {
          return { member, hello: null, problem: error instanceof Error ? error.message : String(error) };
        }
      }),
    );
  }

  /**
   * Which of these belong to the set and answer `hello`, asked without a login: an arbiter holds no users, so that nobody can
   * log in to it. Never throws for those that do not answer.
   */
  async greeted(hosts: readonly string[]): Promise<string[]> {
    const options = { ...this.options(false), directConnection: true };
    const greet = async (host: string): Promise<string | null> => {
      const where = `${this.store} at ${host}`;
      const hello = async (signal: AbortSignal) => {
        await answers(host, where);
        const client = new MongoClient(`mongodb://${host}/`, options);
        return this.with(client, where, (connected) => connected.db('admin').command({ hello: 1 }), signal);
      };
      try {
        const answer = await answerWithin(new AbortController().signal, CONNECT_MILLISECONDS, where, hello);
        return answer['setName'] === this.settings.replicaSet ? host : null;
      } catch {
        return null; // no answer is an answer here: it is counted as one that is missing
      }
    };
    return (await Promise.all(hosts.map(greet))).filter((each) => each !== null);
  }

  private async with<T>(
    client: MongoClient,
    where: string,
    use: (client: MongoClient) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const cut = () => void client.close().catch(() => undefined); // what is asked meanwhile fails by it, which is wanted
    signal?.addEventListener('abort', cut, { once: true });
    try {
      signal?.throwIfAborted();
      return await use(await client.connect());
    } catch (error) {
      throw mongoFailure(error, where);
    } finally {
      signal?.removeEventListener('abort', cut);
      await client.close();
    }
  }

  private options(login = true): MongoClientOptions {
    const { user, password, authSource, tls } = this.settings;
    return {
      appName: 'drctl',
      serverSelectionTimeoutMS: CONNECT_MILLISECONDS,
      connectTimeoutMS: CONNECT_MILLISECONDS,
      ...(login && user && password ? { auth: { username: user, password: password.reveal() }, authSource } : {}),
      ...(tls && {
        tls: true,
        tlsAllowInvalidHostnames: tls.allowInvalidHostnames,
        ...(tls.authorityFile ? { tlsCAFile: tls.authorityFile } : {}),
        ...(tls.certificateKeyFile ? { tlsCertificateKeyFile: tls.certificateKeyFile } : {}),
      }),
    };
  }
}

/** A refused connection is known at once; the driver would try again until its time is up. */
async function answers(member: string, where: string): Promise<void> {
  const at = member.lastIndexOf(':');
  const socket = connect({ host: member.slice(0, at), port: Number(member.slice(at + 1)) });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MILLISECONDS) });
  } catch (error) {
    const reason = error instanceof Error && error.name === 'AbortError' ? 'no answer in time' : String(error);
    throw failure('TargetUnreachable', `MongoDB ${where} does not answer: ${reason}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

export function codeNameOf(error: unknown): string | null {
  return error instanceof MongoServerError ? (error.codeName ?? null) : null;
}

/** The driver's error as one of ours; what is one already, or is not the driver's, stays as it is. */
export function mongoFailure(error: unknown, where: string): unknown {
  if (!(error instanceof MongoError)) return error;
  const codeName = codeNameOf(error);
  if (codeName === 'AuthenticationFailed' || codeName === 'Unauthorized') {
    // The message ends with the whole command, which may hold the user's data.
    return failure('AccessDenied', `MongoDB ${where}: ${error.message.replace(/ \{.*$/s, '')}`, { cause: error });
  }
  const retryable =
    error instanceof MongoServerError && (error.hasErrorLabel('RetryableWriteError') || isRoleChange(codeName));
  if (UNREACHABLE.includes(error.name) || retryable) {
    return failure('TargetUnreachable', `MongoDB ${where} does not answer: ${error.message}`, { cause: error });
  }
  return error;
}

function isRoleChange(codeName: string | null): boolean {
  return [
    'NotWritablePrimary',
    'PrimarySteppedDown',
    'InterruptedDueToReplStateChange',
    'ShutdownInProgress',
    'NotPrimaryNoSecondaryOk',
    'NotPrimaryOrSecondary',
  ].includes(codeName ?? '');
}
