import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { SeededRandom } from '../random';
import type { Operation } from './history';
import { ACCOUNTS, Refused, type Session } from './session';

/** Which operations a client does; a bank needs transactions. */
export type Kind = Operation['kind'];

export interface ClientOptions {
  readonly name: string;
  readonly store: string;
  readonly kinds: readonly Kind[];
  /** Every register of the store; a client writes only the one of its own name. */
  readonly registers: readonly string[];
  /** Where it goes now. Rejects while the name does not resolve. */
  readonly site: () => Promise<string>;
  readonly open: (site: string) => Promise<Session>;
  readonly random: SeededRandom;
  readonly record: (operation: Operation) => void;
}

/** Longer than an election, a fence or a promotion needs, short enough to notice them. */
const DEADLINE_MILLISECONDS = 2_500;
/** For drivers that do not reject at once what is under way when they are closed. */
const GRACE_MILLISECONDS = 1_000;
const PAUSE_MILLISECONDS = { least: 40, spread: 80 };
const MOST_MONEY = 20;

type Ends = { readonly endedAtMs: number; readonly outcome: Operation['outcome']; readonly error?: string };

/** A client that does one operation after the other until it is stopped, and records each with what it knows of it. */
export class HistoryClient {
  private readonly options: ClientOptions;
  private session: Session | null = null;
  private openFor: string | null = null;
  private stopped = false;
  private written = 0;
  private lastSite = '';
  private readonly running: Promise<void>;

  constructor(options: ClientOptions) {
    this.options = options;
    this.running = this.run();
  }

  /** Resolves when the operation under way has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    this.drop();
  }

  private async run(): Promise<void> {
    const { random, kinds } = this.options;
    while (!this.stopped) {
      await this.perform(random.pick(kinds));
      await delay(PAUSE_MILLISECONDS.least + random.integer(PAUSE_MILLISECONDS.spread));
    }
  }

  private async perform(kind: Kind): Promise<void> {
    const { name: client, store, random, registers, record } = this.options;
    const common = { client, store };
    if (kind === 'transfer') {
      const from = random.integer(ACCOUNTS.length);
      const to = (from + 1 + random.integer(ACCOUNTS.length - 1)) % ACCOUNTS.length;
      const transfer = { id: randomUUID(), from, to, amount: 1 + random.integer(MOST_MONEY) };
      const { invoked, ends, result } = await this.attempt(false, async (session) => session.transfer?.(transfer));
      record({
        ...common,
        ...invoked(),
        ...ends,
        kind,
        ...transfer,
        ...(result === undefined ? {} : { logBytes: result }),
      });
    } else if (kind === 'balances') {
      const { invoked, ends, result } = await this.attempt(true, async (session) => session.balances?.());
      record({ ...common, ...invoked(), ...ends, kind, balances: result ?? [] });
    } else if (kind === 'write') {
      const value = (this.written += 1);
      const { invoked, ends, result } = await this.attempt(false, (session) => session.write(client, value));
      const mutation = { register: client, value, ...(result === undefined ? {} : { logBytes: result }) };
      record({ ...common, ...invoked(), ...ends, kind, ...mutation });
    } else {
      const register = random.pick(registers);
      const { invoked, ends, result } = await this.attempt(true, (session) => session.read(register));
      record({ ...common, ...invoked(), ...ends, kind, register, value: result ?? 0 });
    }
  }

  private async attempt<T>(isRead: boolean, work: (session: Session) => Promise<T>) {
    const invokedAtMs = Date.now();
    const invoked = () => ({ site: this.lastSite, invokedAtMs });
    const ended = (outcome: Operation['outcome'], error?: unknown): Ends => ({
      endedAtMs: Date.now(),
      outcome,
      ...(error === undefined ? {} : { error: (error as Error).message }),
    });
    try {
      const session = await this.connected();
      const result = await within(work(session), () => session.destroy());
      this.lastSite = session.site;
      return { invoked, ends: ended('ok'), result };
    } catch (error) {
      if (!(error instanceof Refused) || error.broken) this.drop();
      return {
        invoked,
        ends: ended(isRead || error instanceof Refused ? 'fail' : 'unknown', error),
        result: undefined,
      };
    }
  }

  private async connected(): Promise<Session> {
    let site: string;
    try {
      site = await this.options.site();
    } catch (error) {
      throw new Refused(error);
    }
    this.lastSite = site;
    if (this.openFor !== site) this.drop();
    this.session ??= await this.options.open(site);
    this.openFor = site;
    this.lastSite = this.session.site;
    return this.session;
  }

  private drop(): void {
    this.session?.destroy();
    this.session = null;
    this.openFor = null;
  }
}

/** The work's own end, or that of the client's patience: then the session is destroyed, which ends the work. */
async function within<T>(work: Promise<T>, destroy: () => void): Promise<T> {
  let late: NodeJS.Timeout | undefined;
  let given: NodeJS.Timeout | undefined;
  const gaveUp = new Promise<never>((_, reject) => {
    late = setTimeout(() => {
      destroy();
      given = setTimeout(() => reject(new Error('no answer')), GRACE_MILLISECONDS);
    }, DEADLINE_MILLISECONDS);
  });
  try {
    return await Promise.race([work, gaveUp]);
  } finally {
    clearTimeout(late);
    clearTimeout(given);
  }
}
