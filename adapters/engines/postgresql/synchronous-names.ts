import type { Client } from 'pg';
import { APPLICATION_NAME } from './connection';

/** `FIRST 2 (a, b)`, `ANY 1 (*)`, `2 (a, b)`, or only names (syncrep_gram.y). */
const METHOD = /^\s*(?<method>(?:(?:FIRST|ANY)\s+)?\d+)\s*\((?<names>.*)\)\s*$/is;
const NAMES = /"(?:[^"]|"")*"|[^\s,]+/g;

interface Synchronous {
  readonly method: string | null;
  readonly names: readonly string[];
}

function read(setting: string): Synchronous {
  const groups = METHOD.exec(setting)?.groups;
  const names = (groups?.['names'] ?? setting).match(NAMES) ?? [];
  return {
    method: groups?.['method'] ?? null,
    names: names.map((name) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name)),
  };
}

/** Whether the server takes the archiver's walsender for one of the standbys named (syncrep.c SyncRepGetStandbyPriority). */
export function countsArchiver(setting: string): boolean {
  return read(setting).names.some((name) => name === '*' || name.toLowerCase() === APPLICATION_NAME);
}

/** The same setting without the archiver: `*` becomes those who are connected. Null where nobody is left to be named. */
export function withoutArchiver(setting: string, connected: readonly string[]): string | null {
  const { method, names } = read(setting);
  const left = names.flatMap((name) =>
    name === '*' ? connected : name.toLowerCase() === APPLICATION_NAME ? [] : name,
  );
  if (left.length === 0) return null;
  const list = [...new Set(left)].map((name) => `"${name.replaceAll('"', '""')}"`).join(', ');
  return method === null ? list : `${method} (${list})`;
}

/**
 * A receiver that confirms to a slot what it has stored counts as a synchronous standby wherever its name is meant, as
 * pg_receivewal with a slot does (receivelog.c): nothing that a receiver says of itself takes it out of `*`.
 */
export async function synchronousProblems(client: Client, setting: string): Promise<string[]> {
  if (!countsArchiver(setting)) return [];
  const { rows } = await client.query(
    `SELECT DISTINCT application_name AS name FROM pg_stat_replication
     WHERE state = 'streaming' AND application_name NOT IN ('', $1) ORDER BY 1`,
    [APPLICATION_NAME],
  );
  const better = withoutArchiver(
    setting,
    (rows as { name: string }[]).map(({ name }) => name),
  );
  const [value, why] =
    better === null ? ['', ' (no standby is connected that could be named)'] : [better.replaceAll("'", "''"), ''];
  return [
    `synchronous_standby_names = '${setting}' takes the archiver for a synchronous standby: commits wait for the repository ` +
      'instead of a standby, with remote_apply for ever. Name the standbys' +
      `${why}: ALTER SYSTEM SET synchronous_standby_names = '${value}'; SELECT pg_reload_conf()`,
  ];
}
