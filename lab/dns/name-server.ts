import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { AUTHORITATIVE_ANSWER, decode, encode, RECURSION_DESIRED, streamEncode, TRUNCATED_RESPONSE } from 'dns-packet';
import type { OptAnswer, Packet } from 'dns-packet';
import type { ServedZone } from './zone-propagation';
import { answerFrom } from './zone';

export interface NameServer {
  stop(): Promise<void>;
}

/** What a client without EDNS can take over UDP (RFC 1035 §4.2.1), and what we claim and use with it (RFC 9715 §3). */
const PLAIN_UDP_BYTES = 512;
const EDNS_UDP_BYTES = 1_232;
const TCP_IDLE_MS = 5_000;

/** RFC 1035 §4.1.1. dns-packet has the codes as names only where it decodes. */
const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/** An authoritative name server on one address, over UDP and TCP; resolves when it answers on both. */
export async function startNameServer(host: string, port: number, served: ServedZone): Promise<NameServer> {
  const udp = createSocket('udp4');
  udp.on('message', (query, client) => {
    const reply = replyTo(query, served, 'udp');
    // A reply that is lost is asked for again: that is how DNS over UDP works.
    if (reply) udp.send(reply, client.port, client.address, () => undefined);
  });
  const tcp = createServer((socket) => {
    let pending = Buffer.alloc(0);
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    // The client broke the connection off; it has to ask again if it still wants to know.
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const sizeBytes = pending.readUInt16BE(0);
        const reply = replyTo(pending.subarray(2, 2 + sizeBytes), served, 'tcp');
        if (reply) socket.write(reply);
        pending = pending.subarray(2 + sizeBytes);
      }
    });
  });
  const listening = [once(udp, 'listening'), once(tcp, 'listening')];
  udp.bind(port, host);
  tcp.listen(port, host);
  await Promise.all(listening);
  return {
    async stop() {
      const closed = [once(udp, 'close'), once(tcp, 'close')];
      udp.close();
      tcp.close();
      await Promise.all(closed);
    },
  };
}

/** The encoded reply, with its length before it for TCP; nothing for what is no query at all. */
export function replyTo(message: Buffer, served: ServedZone, transport: 'udp' | 'tcp'): Buffer | undefined {
  let query: Packet;
  try {
    query = decode(message);
  } catch {
    // A server that answers noise can be made to talk to itself: stay silent, as the standard allows.
    return undefined;
  }
  if (query.type !== 'query') return undefined;
  const opt = query.additionals?.find((record): record is OptAnswer => record.type === 'OPT');
  const reply = answerQuery(query, served, opt !== undefined);
  if (transport === 'tcp') return streamEncode(reply);
  const encoded = encode(reply);
  const roomBytes = opt ? Math.max(PLAIN_UDP_BYTES, Math.min(opt.udpPayloadSize, EDNS_UDP_BYTES)) : PLAIN_UDP_BYTES;
  if (encoded.length <= roomBytes) return encoded;
  return encode({ ...reply, flags: (reply.flags ?? 0) | TRUNCATED_RESPONSE, answers: [], authorities: [] });
}

function answerQuery(query: Packet, { zone }: ServedZone, edns: boolean): Packet {
  const [question, ...more] = query.questions ?? [];
  const result = zone && question ? answerFrom(zone, question) : undefined;
  const rcode = rcodeOf(query, question !== undefined && more.length === 0, result?.rcode);
  const useful = rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN ? result : undefined;
  return {
    type: 'response',
    id: query.id,
    flags: ((query.flags ?? 0) & RECURSION_DESIRED) | (useful?.authoritative ? AUTHORITATIVE_ANSWER : 0) | rcode,
    questions: query.questions,
    answers: useful?.answers ?? [],
    authorities: useful?.authorities ?? [],
    additionals: edns
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: EDNS_UDP_BYTES,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  };
}

function rcodeOf(query: Packet, oneQuestion: boolean, result: keyof typeof RCODE | undefined): number {
  // `opcode` is decoded but missing from the type definitions.
  if ((query as Packet & { opcode?: string }).opcode !== 'QUERY') return RCODE.NOTIMP;
  if (!oneQuestion) return RCODE.FORMERR;
  return RCODE[result ?? 'SERVFAIL'];
}
