import { type Client, escapeIdentifier } from 'pg';
import type { CallContext } from '../../../core/call';
import type { Fingerprint } from '../../../core/recovery';
import { SCHEMA } from './schema';

/** Named in the result: two fingerprints of different algorithms never compare as equal. */
const ALGORITHM = 'postgresql-rows-hashextended-2';

/** One table may take long on a large store; the caller's signal ends it sooner. */
export const FINGERPRINT_STATEMENT_MILLISECONDS = 4 * 60 * 60 * 1_000;

/** A row's text depends on these: the same on both sides, whatever the server or the role has set. */
const SESSION = `
  SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3;
  SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmloption = 'content'; SET search_path = pg_catalog;
  SET row_security = off; SET jit = off`;

const DATABASES = 'SELECT datname AS name FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname';

/** Permanent relations with rows of their own: tables, partitions (not their empty parents), materialised views. */
const RELATIONS = `
  SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, s.seqincrement::text AS step,
         fn.nspname AS feeds_schema, f.relname AS feeds_table, a.attname AS feeds_column
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
    LEFT JOIN pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_class f ON f.oid = d.refobjid LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = d.refobjsubid
  WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence = 'p' AND n.nspname <> 'information_schema'
    AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> '${SCHEMA}'
  ORDER BY 1, 2`;

/** Opens a connection to a database of the cluster for the time of a call. */
export type WithDatabase = <T>(database: string | null, use: (client: Client) => Promise<T>) => Promise<T>;

/**
 * Every table's row count and two sums of 64-bit hashes of its rows, computed in the server and independent of row order;
 * sequences by whether they are ahead of their column; all of a database in one snapshot.
 */
export async function fingerprint(withDatabase: WithDatabase, ctx: CallContext): Promise<Fingerprint> {
  const databases = await withDatabase(
    null,
    async (client) => (await client.query(DATABASES)).rows as { name: string }[],
  );
  const items: { name: string; count: number; digest: string }[] = [];
  for (const { name: database } of databases) {
    await withDatabase(database, async (client) => {
      await client.query(SESSION);
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const relations = (await client.query(RELATIONS)).rows as Relation[];
      for (const [index, relation] of relations.entries()) {
        ctx.progress({ phase: `fingerprint of ${database}`, doneItems: index, totalItems: relations.length });
        const { count, digest } = await (relation.kind === 'S' ? sequence(client, relation) : rows(client, relation));
        items.push({ name: `${database}.${relation.schema}.${relation.name}`, count, digest });
      }
      await client.query('COMMIT');
    });
  }
  return { algorithm: ALGORITHM, items };
}

interface Relation {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'r' | 'm' | 'S';
  readonly step: string | null;
  /** The column that a sequence feeds; null for tables and for sequences that stand alone. */
  readonly feeds_schema: string | null;
  readonly feeds_table: string | null;
  readonly feeds_column: string | null;
}

const qualified = ({ schema, name }: Pick<Relation, 'schema' | 'name'>) =>
  `${escapeIdentifier(schema)}.${escapeIdentifier(name)}`;

async function rows(client: Client, relation: Relation): Promise<{ count: number; digest: string }> {
  const result = await client.query(`
    SELECT count(*)::text AS count, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS first,
           coalesce(sum(hashtextextended(t::text, 727336701)), 0)::text AS second
    FROM ONLY ${qualified(relation)} t`);
  const { count, first, second } = result.rows[0] as { count: string; first: string; second: string };
  return { count: Number(count), digest: `${first}:${second}` };
}

/**
 * A sequence's definition, and whether it has passed every value of the column it feeds. Not its value: nextval is not
 * transactional and logs 32 values ahead (sequence.c), so that a copy replayed to an instant may stand further.
 */
async function sequence(client: Client, relation: Relation): Promise<{ count: number; digest: string }> {
  const { step, feeds_schema: schema, feeds_table: name, feeds_column: column } = relation;
  const value = await client.query(`SELECT last_value::text AS last FROM ${qualified(relation)}`);
  const { last } = value.rows[0] as { last: string };
  if (schema === null || name === null || column === null) return { count: 1, digest: `step ${step}` };
  const edge = step?.startsWith('-') ? 'min' : 'max';
  const fed = await client.query(
    `SELECT coalesce(${edge}(${escapeIdentifier(column)}) ${edge === 'max' ? '<=' : '>='} $1::bigint, true) AS passed
     FROM ${qualified({ ...relation, schema, name })}`,
    [last],
  );
  return {
    count: 1,
    digest: `step ${step}, ${(fed.rows[0] as { passed: boolean }).passed ? 'ahead of' : 'behind'} ${column}`,
  };
}
