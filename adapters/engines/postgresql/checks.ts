import type { CustomTypesConfig, QueryArrayConfig } from 'pg';
import type { CallContext } from '../../../core/call';
import type { RestoreChecks, CheckResult } from '../../../core/restore-checks';
import { addressOf, sqlState, translate } from './connection';
import { restoredMarker, withRestored } from './restored-server';
import { pathsOf } from './restore-place';
import type { PostgresqlCheck } from './settings';

/** What a check's answer is compared with, in words. */
function expectedText({ expect }: PostgresqlCheck): string {
  if (typeof expect !== 'object') return String(expect);
  const { atLeast, atMost } = expect;
  return [atLeast === undefined ? [] : [`at least ${atLeast}`], atMost === undefined ? [] : [`at most ${atMost}`]]
    .flat()
    .join(' and ');
}

function holds({ expect }: PostgresqlCheck, found: string): boolean {
  // Numbers come as text ("12.50" of a numeric): as numbers they are equal to what the config says.
  const number = found.trim() === '' ? Number.NaN : Number(found);
  if (typeof expect === 'number') return number === expect;
  if (typeof expect !== 'object') return found === String(expect);
  return number >= (expect.atLeast ?? -Infinity) && number <= (expect.atMost ?? Infinity);
}

/** The SQL assertions of a store's config, run on its restored copies; see core/restore-checks.ts. */
export function createChecks(checks: readonly PostgresqlCheck[]): RestoreChecks {
  return {
    names: checks.map(({ name }) => name),
    async run(restored, ctx) {
      const paths = pathsOf(restored.directory);
      const marker = await restoredMarker(paths);
      const results: CheckResult[] = [];
      for (const [index, check] of checks.entries()) {
        ctx.signal.throwIfAborted();
        ctx.progress({ phase: `check "${check.name}"`, doneItems: index, totalItems: checks.length });
        const login = check.database === undefined ? marker : { ...marker, database: check.database };
        results.push(await runCheck(check, paths, login, ctx));
      }
      return results;
    },
  };
}

async function runCheck(
  check: PostgresqlCheck,
  paths: ReturnType<typeof pathsOf>,
  login: { readonly host: string; readonly port: number; readonly user: string; readonly database: string },
  ctx: CallContext,
): Promise<CheckResult> {
  const startedAt = Date.now();
  const milliseconds = check.timeoutSeconds * 1_000;
  const result = (outcome: Pick<CheckResult, 'ok' | 'found' | 'problem'>): CheckResult => ({
    name: check.name,
    expected: expectedText(check),
    ...outcome,
    seconds: (Date.now() - startedAt) / 1_000,
  });
  const failed = (problem: string) => result({ ok: false, found: null, problem });
  try {
    const rows = await withRestored(
      paths,
      login,
      async (client) => {
        await client.query(`SET statement_timeout = ${milliseconds}`);
        await client.query('BEGIN READ ONLY');
        // As one prepared statement: several in one text, of which the first ends the transaction, are refused.
        const statement: OneStatement = { text: check.sql, rowMode: 'array', queryMode: 'extended', types: AS_TEXT };
        const answer = await client.query<(string | null)[]>(statement);
        await client.query('ROLLBACK');
        return answer.rows;
      },
      // The server's own deadline comes first, and says so; this one is for a server that hangs.
      { signal: ctx.signal, statementMilliseconds: milliseconds + 5_000 },
    );
    const [row, ...more] = rows;
    if (!row || more.length > 0 || row.length !== 1) {
      return failed(`answered ${rows.length} rows of ${row?.length ?? 0} columns instead of one value`);
    }
    const found = row[0] ?? null;
    if (found === null) return failed('answered NULL');
    return result({ ok: holds(check, found), found, problem: null });
  } catch (error) {
    ctx.signal.throwIfAborted();
    const state = sqlState(error);
    // 57014 is query_canceled: the deadline. Classes 08 and 57P0x are a server that is not there.
    if (state === '57014') return failed(`no answer within ${check.timeoutSeconds} s`);
    if (state === null || state.startsWith('08') || state.startsWith('57P')) throw translate(error, addressOf(login));
    return failed(error instanceof Error ? error.message : String(error));
  }
}

/** The driver's types do not know how a statement without parameters is sent as one. */
type OneStatement = QueryArrayConfig & { readonly queryMode: 'extended' };

const BOOLEAN_OID = 16;

/** As the server writes it: the driver would make numbers and dates of its own out of them. Booleans as the config writes them. */
const AS_TEXT: CustomTypesConfig = {
  getTypeParser: (oid: number) => (value: string) => (oid === BOOLEAN_OID ? String(value === 't') : value),
};
