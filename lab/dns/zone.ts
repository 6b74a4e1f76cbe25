import type { Answer, Question, RecordType } from 'dns-packet';

/** One record set of the zone; `name` in lower case without the final dot. */
export interface RecordSet {
  name: string;
  type: string;
  ttlSeconds: number;
  /** Values as Route 53 writes them: an address, a name, quoted strings. */
  values: string[];
}

/** The content of a hosted zone at one moment. */
export interface Zone {
  /** The apex, in lower case without the final dot. */
  name: string;
  records: RecordSet[];
}

export interface ZoneAnswer {
  rcode: 'NOERROR' | 'NXDOMAIN' | 'REFUSED';
  authoritative: boolean;
  answers: Answer[];
  authorities: Answer[];
}

const SERVED_TYPES = new Set(['A', 'AAAA', 'CNAME', 'NS', 'SOA', 'TXT']);
/** A chain of aliases longer than this is a loop. */
const LONGEST_CNAME_CHAIN = 8;

/** Answers one question as the zone's authoritative server (RFC 1034 §4.3.2, negative answers as RFC 2308 §2). */
export function answerFrom(zone: Zone, { name, type }: Question): ZoneAnswer {
  let wanted = normalName(name);
  if (!isWithin(wanted, zone.name)) return { rcode: 'REFUSED', authoritative: false, answers: [], authorities: [] };
  const answers: Answer[] = [];
  for (let hop = 0; hop < LONGEST_CNAME_CHAIN; hop++) {
    const sets = zone.records.filter((set) => set.name === wanted && SERVED_TYPES.has(set.type));
    const found = sets.filter((set) => set.type === type || (type as string) === 'ANY');
    // The name in the answer keeps the case of the question: some resolvers check it (0x20 encoding).
    const owner = hop === 0 ? name : wanted;
    if (found.length > 0) {
      return positive([...answers, ...found.flatMap((set) => toAnswers(set, owner))]);
    }
    const alias = sets.find((set) => set.type === 'CNAME');
    if (!alias) return negative(zone, answers, exists(zone, wanted) ? 'NOERROR' : 'NXDOMAIN');
    answers.push(...toAnswers(alias, owner));
    wanted = normalName(alias.values[0] ?? '');
    if (!isWithin(wanted, zone.name)) return positive(answers);
  }
  return positive(answers);
}

/** Lower case, without the final dot, with Route 53's octal escapes (`\\052` for `*`) undone. */
export function normalName(name: string): string {
  const unescaped = name.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  return unescaped.replace(/\.$/, '').toLowerCase();
}

function positive(answers: Answer[]): ZoneAnswer {
  return { rcode: 'NOERROR', authoritative: true, answers, authorities: [] };
}

function negative(zone: Zone, answers: Answer[], rcode: 'NOERROR' | 'NXDOMAIN'): ZoneAnswer {
  const soa = zone.records.find((set) => set.type === 'SOA' && set.name === zone.name);
  return { rcode, authoritative: true, answers, authorities: soa ? toAnswers(soa, zone.name) : [] };
}

function isWithin(name: string, zone: string): boolean {
  return name === zone || name.endsWith(`.${zone}`);
}

/** A name exists also when only names below it have records (RFC 8020 §2). */
function exists(zone: Zone, name: string): boolean {
  return zone.records.some((set) => isWithin(set.name, name));
}

function toAnswers({ type, ttlSeconds, values }: RecordSet, name: string): Answer[] {
  return values.map(
    (value) => ({ name, type: type as RecordType, ttl: ttlSeconds, data: toData(type, value) }) as Answer,
  );
}

function toData(type: string, value: string): unknown {
  switch (type) {
    case 'TXT':
      return [...value.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text = '']) => Buffer.from(unquote(text), 'latin1'));
    case 'SOA':
      return soaData(value);
    case 'NS':
    case 'CNAME':
      return value.replace(/\.$/, '');
    default:
      return value;
  }
}

function unquote(text: string): string {
  return text.replace(/\\(\d{3}|.)/g, (_, escaped: string) =>
    escaped.length === 3 ? String.fromCharCode(parseInt(escaped, 8)) : escaped,
  );
}

function soaData(value: string) {
  const [mname = '', rname = '', ...numbers] = value.split(/\s+/);
  const [serial = 1, refresh = 7200, retry = 900, expire = 1_209_600, minimum = 86_400] = numbers.map(Number);
  return { mname: mname.replace(/\.$/, ''), rname: rname.replace(/\.$/, ''), serial, refresh, retry, expire, minimum };
}
