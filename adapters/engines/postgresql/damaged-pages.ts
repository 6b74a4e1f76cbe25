import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import { withClient } from './connection';
import type { PostgresqlSite } from './settings';

/** A page whose checksum is wrong, as the server's warning names it. */
export interface DamagedPage {
  /** Below the data directory: `base/5/16384.1`. */
  readonly file: string;
  /** Within that file. */
  readonly block: number;
}

/** Where a file of the data directory belongs. */
export interface RelationFile {
  /** 0 for what all databases share. */
  readonly databaseOid: number;
  readonly tablespaceOid: number;
  readonly filenode: number;
  readonly fork: 'main' | 'fsm' | 'vm' | 'init';
  /** Files of a large relation are numbered from 0. */
  readonly segment: number;
}

/** OIDs of pg_default and pg_global (pg_tablespace.dat); a database that lives elsewhere by default has its files there. */
const DEFAULT_TABLESPACE = 1663;
const GLOBAL_TABLESPACE = 1664;
/** Enough to know which relations are meant; a broken disk damages thousands. */
const MAXIMUM_PAGES = 20;

/** The pages that the warnings of a base backup name (basebackup.c `verify_page_checksum`). */
export function damagedPages(warnings: readonly string[]): DamagedPage[] {
  return warnings.flatMap((warning) => {
    const match = /checksum verification failed in file "(?:\.\/)?(.+)", block (\d+)/.exec(warning);
    return match ? [{ file: match[1] as string, block: Number(match[2]) }] : [];
  });
}

/** What a path below the data directory is a part of; null for what is no relation. */
export function readRelationPath(file: string): RelationFile | null {
  const path =
    /^(?:(?<global>global)|base\/(?<database>\d+)|pg_tblspc\/(?<space>\d+)\/[^/]+\/(?<spaceDatabase>\d+))\/(?<node>\d+)(?:_(?<fork>fsm|vm|init))?(?:\.(?<segment>\d+))?$/.exec(
      file,
    )?.groups;
  if (!path) return null;
  return {
    databaseOid: Number(path['database'] ?? path['spaceDatabase'] ?? 0),
    tablespaceOid: path['global'] ? GLOBAL_TABLESPACE : Number(path['space'] ?? DEFAULT_TABLESPACE),
    filenode: Number(path['node']),
    fork: (path['fork'] as RelationFile['fork'] | undefined) ?? 'main',
    segment: Number(path['segment'] ?? 0),
  };
}

/**
 * The error of a base backup that met damaged pages: BackupCorrupt naming each relation and block; any other error as it
 * is. The server's warnings name files; its error says only that something was wrong.
 */
export async function damagedSource(
  site: PostgresqlSite,
  error: unknown,
  warnings: readonly string[],
  ctx: CallContext,
): Promise<unknown> {
  const pages = damagedPages(warnings);
  if (pages.length === 0 && !/checksum verification failure/i.test(String(error))) return error;
  const shown = await belowDataDirectory(site, pages.slice(0, MAXIMUM_PAGES), ctx);
  const named = await nameRelations(site, shown, ctx);
  const lines = shown.map((page) => describe(page, named.get(page.file) ?? 'a file of no relation'));
  const more = pages.length > shown.length ? `; and ${pages.length - shown.length} more` : '';
  return failure('BackupCorrupt', `the source has damaged pages: ${lines.join('; ') || String(error)}${more}`, {
    data: 'The source itself is damaged; no backup was committed, earlier ones are not affected.',
    next: 'Restore the relation that is named from an earlier backup; an index can be rebuilt (REINDEX). Find out more with pg_amcheck.',
    context: { pages: pages.length, relations: [...new Set(named.values())].join(', ') },
    cause: error,
  });
}

/** `block 3 of shop.public.orders (base/16384/16390)`; blocks are counted over all files of a relation, as PostgreSQL does. */
function describe({ file, block }: DamagedPage, relation: string): string {
  const part = readRelationPath(file);
  if (!part) return `block ${block} of ${file}`;
  // RELSEG_SIZE, 1 GiB of 8 KiB pages, in every build that is distributed.
  const inRelation = part.segment * 131_072 + block;
  return `block ${inRelation}${part.fork === 'main' ? '' : ` of the ${part.fork} fork`} of ${relation} (${file})`;
}

/** The server names a tablespace's files by where the tablespace lies; what it is cannot be seen from that. */
async function belowDataDirectory(
  site: PostgresqlSite,
  pages: readonly DamagedPage[],
  ctx: CallContext,
): Promise<readonly DamagedPage[]> {
  if (pages.every(({ file }) => !file.startsWith('/'))) return pages;
  const ask = (client: Client) =>
    client.query('SELECT oid, pg_tablespace_location(oid) AS location FROM pg_tablespace');
  try {
    const { rows } = await withClient(site, ask, { signal: ctx.signal });
    const spaces = (rows as { oid: number; location: string }[]).filter(({ location }) => location !== '');
    return pages.map(({ file, block }) => {
      const space = spaces.find(({ location }) => file.startsWith(`${location}/`));
      return { file: space ? `pg_tblspc/${space.oid}/${file.slice(space.location.length + 1)}` : file, block };
    });
  } catch {
    ctx.signal.throwIfAborted();
    return pages; // the paths alone still say which files are damaged, and the error that they are for goes out
  }
}

/** Names by file. What cannot be looked up (the damage may be in the catalogue itself) is said in the name's place. */
async function nameRelations(
  site: PostgresqlSite,
  pages: readonly DamagedPage[],
  ctx: CallContext,
): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  const byDatabase = Map.groupBy(
    [...new Set(pages.map(({ file }) => file))].flatMap((file) => {
      const part = readRelationPath(file);
      return part ? [{ file, part }] : [];
    }),
    ({ part }) => part.databaseOid,
  );
  for (const [databaseOid, files] of byDatabase) {
    let database = databaseOid === 0 ? '' : `database ${databaseOid}`;
    try {
      database = databaseOid === 0 ? '' : await databaseName(site, databaseOid, ctx);
      const look = async (client: Client) => {
        for (const { file, part } of files) {
          const name = await relationName(client, part);
          names.set(file, [database, name].filter(Boolean).join('.'));
        }
      };
      await withClient(site, look, { ...(database ? { database } : {}), signal: ctx.signal });
    } catch (error) {
      ctx.signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      for (const { file } of files) {
        if (!names.has(file)) names.set(file, `a relation${database ? ` of ${database}` : ''} (its name: ${why})`);
      }
    }
  }
  return names;
}

async function databaseName(site: PostgresqlSite, oid: number, ctx: CallContext): Promise<string> {
  const ask = (client: Client) => client.query('SELECT datname FROM pg_database WHERE oid = $1', [oid]);
  const { rows } = await withClient(site, ask, { signal: ctx.signal });
  return (rows[0] as { datname: string } | undefined)?.datname ?? `database ${oid}`;
}

/** `public.orders`; an index and a TOAST table say whose they are. */
async function relationName(client: Client, { tablespaceOid, filenode }: RelationFile): Promise<string> {
  const { rows } = await client.query(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind,
            owner.oid::regclass::text AS table_of_index,
            (SELECT t.oid::regclass::text FROM pg_class t WHERE t.reltoastrelid = coalesce(owner.oid, c.oid)) AS table_of_toast
     FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_index i ON i.indexrelid = c.oid
     LEFT JOIN pg_class owner ON owner.oid = i.indrelid
     WHERE c.oid = pg_filenode_relation($1, $2)`,
    [tablespaceOid, filenode],
  );
  const row = rows[0] as { name: string; table_of_index: string | null; table_of_toast: string | null } | undefined;
  if (!row) return `a relation that is gone (filenode ${filenode})`;
  if (row.table_of_toast !== null) return `${row.name} (TOAST of ${row.table_of_toast})`;
  return row.table_of_index === null ? row.name : `${row.name} (index of ${row.table_of_index})`;
}
