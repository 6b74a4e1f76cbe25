import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED } from 'dns-packet';
import type { Answer, Packet, Question } from 'dns-packet';
import type { NameServer } from './name-server';

export interface ResolverSettings {
  readonly host: string;
  readonly port: number;
  /** The authoritative servers that it asks, one after the other, all at this port. */
  readonly nameServers: readonly string[];
}

interface Cached {
  readonly answers: readonly Answer[];
  readonly storedAt: number;
  readonly untilMs: number;
}

const SERVFAIL = 2;
const UPSTREAM_MS = 1_000;

/**
 * A resolver as users' providers run them: asks the name servers in turn, keeps each answer for as long as its TTL says, and
 * hands it out with what is left of that. Over UDP only, which is all that the lab's names need.
 */
export async function startCachingResolver({ host, port, nameServers }: ResolverSettings): Promise<NameServer> {
  const cache = new Map<string, Cached>();
  let turn = 0;
  let stopped = false;
  const socket = createSocket('udp4');

  async function answersOf(question: Question): Promise<readonly Answer[]> {
    const key = `${question.name.toLowerCase()} ${question.type}`;
    const known = cache.get(key);
    const now = Date.now();
    if (known && known.untilMs > now) return aged(known, now);
    const upstream = nameServers[(turn += 1) % nameServers.length] as string;
    const answers = await askUpstream(upstream, port, question);
    const ttls = answers.map((answer) => ('ttl' in answer ? (answer.ttl ?? 0) : 0));
    // What does not exist is not kept: nobody in the lab waits for a name that comes into being.
    if (answers.length > 0) cache.set(key, { answers, storedAt: now, untilMs: now + Math.min(...ttls) * 1_000 });
    return answers;
  }

  async function replyTo(query: Packet, question: Question): Promise<Buffer> {
    const reply = (flags: number, answers: readonly Answer[]) =>
      encode({
        type: 'response',
        id: query.id,
        flags: RECURSION_AVAILABLE | RECURSION_DESIRED | flags,
        questions: [question],
        answers: [...answers],
      });
    try {
      return reply(0, await answersOf(question));
    } catch {
      return reply(SERVFAIL, []); // as a resolver says that nobody answered it
    }
  }

  async function serve(message: Buffer, client: RemoteInfo): Promise<void> {
    const query = read(message, 'query');
    const question = query?.questions?.[0];
    if (!query || !question) return;
    const bytes = await replyTo(query, question);
    if (!stopped) socket.send(bytes, client.port, client.address, () => undefined);
  }

  socket.on('message', (message, client) => void serve(message, client));
  const listening = once(socket, 'listening');
  socket.bind(port, host);
  await listening;
  return {
    async stop() {
      stopped = true;
      const closed = once(socket, 'close');
      socket.close();
      await closed;
    },
  };
}

function read(message: Buffer, type: Packet['type']): Packet | null {
  try {
    const found = decode(message);
    return found.type === type ? found : null;
  } catch {
    return null; // noise: silence, as a name server does
  }
}

function aged({ answers, storedAt }: Cached, now: number): Answer[] {
  const seconds = Math.floor((now - storedAt) / 1_000);
  return answers.map((answer) =>
    'ttl' in answer ? { ...answer, ttl: Math.max(0, (answer.ttl ?? 0) - seconds) } : answer,
  );
}

async function askUpstream(host: string, port: number, question: Question): Promise<Answer[]> {
  const socket = createSocket('udp4');
  const id = Math.floor(Math.random() * 0x1_0000);
  try {
    return await new Promise((resolve, reject) => {
      const deadline = AbortSignal.timeout(UPSTREAM_MS);
      deadline.addEventListener('abort', () => reject(deadline.reason as Error), { once: true });
      socket.once('error', reject);
      socket.on('message', (bytes) => {
        const reply = read(bytes, 'response');
        if (reply?.id === id) resolve(reply.answers ?? []);
      });
      socket.connect(port, host, () => socket.send(encode({ type: 'query', id, questions: [question] })));
    });
  } finally {
    socket.close();
  }
}
