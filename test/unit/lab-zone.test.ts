import { decode, encode, type Packet, type Question } from 'dns-packet';
import { replyTo } from '../../lab/dns/name-server';
import { answerFrom, type Zone } from '../../lab/dns/zone';

const ZONE: Zone = {
  name: 'ultramarket.com',
  records: [
    { name: 'ultramarket.com', type: 'NS', ttlSeconds: 172_800, values: ['ns-1.example.net.', 'ns-2.example.org.'] },
    {
      name: 'ultramarket.com',
      type: 'SOA',
      ttlSeconds: 900,
      values: ['ns-1.example.net. host.example.net. 7 7200 900 1209600 60'],
    },
    { name: 'api.ultramarket.com', type: 'A', ttlSeconds: 60, values: ['127.21.1.100'] },
    { name: 'api.ultramarket.com', type: 'AAAA', ttlSeconds: 30, values: ['::1'] },
    { name: 'www.ultramarket.com', type: 'CNAME', ttlSeconds: 300, values: ['api.ultramarket.com.'] },
    { name: 'cdn.ultramarket.com', type: 'CNAME', ttlSeconds: 300, values: ['cdn.example.net.'] },
    { name: 'loop.ultramarket.com', type: 'CNAME', ttlSeconds: 300, values: ['loop.ultramarket.com.'] },
    { name: 'ultramarket.com', type: 'TXT', ttlSeconds: 300, values: ['"one" "t\\"wo"', '"three"'] },
    { name: 'a.b.ultramarket.com', type: 'A', ttlSeconds: 5, values: ['127.0.0.1', '127.0.0.2'] },
  ],
};

const ask = (name: string, type: Question['type']) => answerFrom(ZONE, { name, type });
const over = (transport: 'udp' | 'tcp', query: Packet, zone: Zone | undefined = ZONE) => {
  const reply = replyTo(encode(query), { zone }, transport);
  return reply && decode(transport === 'tcp' ? reply.subarray(2) : reply);
};
const query = (name: string, type: Question['type'], more: Partial<Packet> = {}): Packet => ({
  type: 'query',
  id: 4711,
  questions: [{ name, type }],
  ...more,
});

describe('answers from the zone', () => {
  test('an address has the TTL of its record and the case of the question', () => {
    expect(ask('API.UltraMarket.com', 'A')).toEqual({
      rcode: 'NOERROR',
      authoritative: true,
      answers: [{ name: 'API.UltraMarket.com', type: 'A', ttl: 60, data: '127.21.1.100' }],
      authorities: [],
    });
    expect(ask('api.ultramarket.com', 'AAAA').answers).toMatchObject([{ ttl: 30, data: '::1' }]);
    expect(ask('a.b.ultramarket.com', 'A').answers.map((answer) => 'data' in answer && answer.data)).toEqual([
      '127.0.0.1',
      '127.0.0.2',
    ]);
  });

  test('an alias comes with its target where that is in the zone', () => {
    expect(ask('www.ultramarket.com', 'A').answers).toMatchObject([
      { type: 'CNAME', data: 'api.ultramarket.com' },
      { type: 'A', name: 'api.ultramarket.com', data: '127.21.1.100' },
    ]);
    expect(ask('www.ultramarket.com', 'CNAME').answers).toHaveLength(1);
    expect(ask('cdn.ultramarket.com', 'A').answers).toMatchObject([{ type: 'CNAME', data: 'cdn.example.net' }]);
    expect(ask('loop.ultramarket.com', 'A').answers.length).toBeLessThanOrEqual(8);
  });

  test.each([
    ['nothing.ultramarket.com', 'A', 'NXDOMAIN'],
    ['api.ultramarket.com', 'TXT', 'NOERROR'],
    ['b.ultramarket.com', 'A', 'NOERROR'],
  ] as const)('%s %s does not exist: %s with the SOA', (name, type, rcode) => {
    expect(ask(name, type)).toMatchObject({
      rcode,
      authoritative: true,
      answers: [],
      authorities: [{ type: 'SOA', name: 'ultramarket.com', data: { serial: 7, minimum: 60 } }],
    });
  });

  test.each(['example.com', 'notultramarket.com', 'com'])('%s is refused, without authority', (name) => {
    expect(ask(name, 'A')).toMatchObject({ rcode: 'REFUSED', authoritative: false, answers: [], authorities: [] });
  });

  test('texts keep their strings and quotes', () => {
    const texts = ask('ultramarket.com', 'TXT').answers.map((answer) => 'data' in answer && answer.data);
    expect(texts).toEqual([[Buffer.from('one'), Buffer.from('t"wo')], [Buffer.from('three')]]);
  });
});

describe('messages', () => {
  test('a reply repeats id and question and has the AA bit, over UDP and TCP', () => {
    for (const transport of ['udp', 'tcp'] as const) {
      expect(over(transport, query('api.ultramarket.com', 'A', { flags: 0x100 }))).toMatchObject({
        type: 'response',
        id: 4711,
        rcode: 'NOERROR',
        flag_aa: true,
        flag_rd: true,
        flag_ra: false,
        flag_tc: false,
        questions: [{ name: 'api.ultramarket.com', type: 'A' }],
        answers: [{ data: '127.21.1.100', ttl: 60 }],
      });
    }
    expect(over('udp', query('nothing.ultramarket.com', 'A'))).toMatchObject({
      rcode: 'NXDOMAIN',
      flag_aa: true,
      authorities: [{ type: 'SOA' }],
    });
    expect(over('udp', query('example.com', 'A'))).toMatchObject({ rcode: 'REFUSED', flag_aa: false });
  });

  test('before the zone is known the server fails instead of denying names', () => {
    expect(over('udp', query('api.ultramarket.com', 'A'), { ...ZONE, records: [] })).toMatchObject({
      rcode: 'NXDOMAIN',
    });
    const reply = replyTo(encode(query('api.ultramarket.com', 'A')), { zone: undefined }, 'udp');
    expect(decode(reply!)).toMatchObject({ rcode: 'SERVFAIL', flag_aa: false, answers: [] });
  });

  test('what does not fit is truncated over UDP, whole over TCP, and fits with EDNS', () => {
    const values = Array.from({ length: 25 }, (_, n) => `127.0.0.${n + 1}`);
    const wide = { ...ZONE, records: [{ name: 'many.ultramarket.com', type: 'A', ttlSeconds: 1, values }] };
    const opt = { type: 'OPT', name: '.', udpPayloadSize: 4_096, flags: 0, options: [] } as const;
    const many = query('many.ultramarket.com', 'A');
    expect(over('udp', many, wide)).toMatchObject({ flag_tc: true, answers: [] });
    expect(over('tcp', many, wide)).toMatchObject({ flag_tc: false, answers: { length: 25 } });
    const withEdns = over('udp', { ...many, additionals: [opt as never] }, wide);
    expect(withEdns).toMatchObject({ flag_tc: false, answers: { length: 25 }, additionals: [{ type: 'OPT' }] });
  });

  test('noise and replies get no answer; other opcodes and question counts are refused by name', () => {
    expect(replyTo(Buffer.from('hello'), { zone: ZONE }, 'udp')).toBeUndefined();
    expect(over('udp', { ...query('api.ultramarket.com', 'A'), type: 'response' })).toBeUndefined();
    expect(over('udp', { type: 'query', id: 1, questions: [] })).toMatchObject({ rcode: 'FORMERR' });
    const notify = encode(query('api.ultramarket.com', 'A', { flags: 4 << 11 }));
    expect(decode(replyTo(notify, { zone: ZONE }, 'udp')!)).toMatchObject({ rcode: 'NOTIMP' });
  });
});
