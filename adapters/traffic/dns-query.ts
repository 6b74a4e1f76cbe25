import { randomInt } from 'node:crypto';
import * as dgram from 'node:dgram';
import * as net from 'node:net';
import * as packet from 'dns-packet';

/** A UDP question or its answer is simply lost now and then; a server that is up answers the second one. */
const UDP_TRIES = 2;

/**
 * Asks one server one question, over UDP and over TCP when the answer was cut; recursively only a resolver. Rejects when no answer
 * came in time; answers that do not belong to the question are ignored, as RFC 5452 §9.1 demands.
 */
export async function queryServer(
  server: { readonly host: string; readonly port: number },
  question: Question,
  options: { readonly timeoutMilliseconds: number; readonly signal: AbortSignal },
): Promise<packet.DecodedPacket> {
  const perTry = Math.ceil(options.timeoutMilliseconds / UDP_TRIES);
  for (let attempt = 1; ; attempt += 1) {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(perTry)]);
    try {
      const answer = await overUdp(server, question, signal);
      if (!answer.flag_tc) return answer;
      const deadline = AbortSignal.timeout(options.timeoutMilliseconds);
      return await overTcp(server, question, AbortSignal.any([options.signal, deadline]));
    } catch (error) {
      options.signal.throwIfAborted();
      if (attempt === UDP_TRIES || !signal.aborted)
        throw signal.aborted ? noAnswer(options.timeoutMilliseconds, error) : error;
    }
  }
}

type Server = { readonly host: string; readonly port: number };
type Question = { readonly name: string; readonly type: packet.RecordType; readonly recursive?: boolean };

function noAnswer(milliseconds: number, cause: unknown): Error {
  return new Error(`no answer within ${milliseconds / 1_000} s`, { cause });
}

function encodeQuestion(id: number, { name, type, recursive }: Question): packet.Packet {
  const flags = recursive ? packet.RECURSION_DESIRED : 0;
  return { type: 'query', id, flags, questions: [{ name, type, class: 'IN' }] };
}

function belongs(answer: packet.DecodedPacket, id: number, { name, type }: Question): boolean {
  const asked = answer.questions?.[0];
  return answer.type === 'response' && answer.id === id && asked?.type === type && sameName(asked.name, name);
}

function sameName(one: string, other: string): boolean {
  return one.toLowerCase().replace(/\.$/, '') === other.toLowerCase().replace(/\.$/, '');
}

async function overUdp({ host, port }: Server, question: Question, signal: AbortSignal): Promise<packet.DecodedPacket> {
  const id = randomInt(0x1_0000);
  const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      socket.once('error', reject);
      socket.on('message', (bytes) => {
        const answer = decode(bytes);
        if (answer && belongs(answer, id, question)) resolve(answer);
      });
      // Connected, the kernel drops datagrams of other senders and reports a closed port.
      socket.connect(port, host, () => socket.send(packet.encode(encodeQuestion(id, question))));
    });
  } finally {
    socket.close();
  }
}

function decode(bytes: Buffer): packet.DecodedPacket | null {
  try {
    return packet.decode(bytes);
  } catch {
    return null; // not DNS: as good as no answer, and the deadline says so
  }
}

async function overTcp({ host, port }: Server, question: Question, signal: AbortSignal): Promise<packet.DecodedPacket> {
  const id = randomInt(0x1_0000);
  const socket = net.connect({ host, port, signal });
  try {
    socket.write(packet.streamEncode(encodeQuestion(id, question)));
    let received = Buffer.alloc(0);
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      // Two bytes of length come before the message (RFC 1035 §4.2.2).
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) continue;
      const answer = packet.streamDecode(received) as packet.DecodedPacket; // its types say less than it returns
      if (belongs(answer, id, question)) return answer;
      throw new Error('answered another question over TCP');
    }
    throw new Error('closed the TCP connection before the answer was whole');
  } finally {
    socket.destroy();
  }
}
