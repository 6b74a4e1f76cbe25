import { failure } from '../../../core/errors';

/** `keyword = value` or `keyword = 'va\'lue'` (PostgreSQL documentation, "Connection Strings"). */
const PAIR = /\s*(?<key>\w+)\s*=\s*(?:'(?<quoted>(?:[^'\\]|\\.)*)'|(?<plain>(?:[^'\\\s]|\\.)*))\s*/gy;

/** The connection string of libpq that leads to another server, all else as it was. Throws RoleMismatch for one that cannot be read. */
export function leadingTo({ host, port }: { readonly host: string; readonly port: number }, conninfo: string): string {
  if (/^postgres(ql)?:\/\//.test(conninfo)) return uriTo({ host, port }, conninfo);
  const kept: string[] = [];
  let at = 0;
  for (const match of conninfo.matchAll(PAIR)) {
    at += match[0].length;
    const { key = '', quoted, plain } = match.groups ?? {};
    if (/^(host|hostaddr|port)$/.test(key)) continue;
    kept.push(`${key}=${quoted === undefined ? plain : `'${quoted}'`}`);
  }
  if (at !== conninfo.length) throw unreadable();
  return [`host=${host}`, `port=${port}`, ...kept].join(' ');
}

/** Several hosts in one URI are none that URL reads: somebody has to say which are meant. */
function uriTo({ host, port }: { readonly host: string; readonly port: number }, uri: string): string {
  if (!URL.canParse(uri)) throw unreadable();
  const url = new URL(uri);
  for (const name of ['host', 'hostaddr', 'port']) url.searchParams.delete(name);
  url.hostname = host.includes(':') ? `[${host}]` : host;
  url.port = String(port);
  return url.toString();
}

// Never with its text: a password may stand in it.
const unreadable = () => failure('RoleMismatch', 'its primary_conninfo is none that can be read');
