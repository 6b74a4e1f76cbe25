import type { z } from 'zod';

/** One thing that is wrong in a config file. */
export interface ConfigProblem {
  /** `stores.orders-db.sites.primary.port`; empty for the file as a whole. */
  readonly path: string;
  readonly line: number | null;
  readonly message: string;
}

const CLEAR_SECRET =
  'holds a secret in clear text; write {env: NAME} or {file: path}, so that it is in no file that is committed or copied';

/** An issue of zod as what a person corrects: where, and what is wrong there. A misspelt key is a place of its own. */
export function problemsOf(
  issue: z.core.$ZodIssue,
  valueAt: (path: readonly PropertyKey[]) => unknown,
): { readonly path: readonly PropertyKey[]; readonly message: string }[] {
  if (issue.code !== 'unrecognized_keys')
    return [{ path: issue.path, message: wordProblem(issue, valueAt(issue.path)) }];
  const messages = issue.message.split('\n');
  return issue.keys.map((key, index) => ({ path: [...issue.path, key], message: messages[index] ?? issue.message }));
}

/**
 * The message for one issue of zod, with the value in it where a schema's own text left it out. What stands where a secret
 * belongs is never shown.
 */
function wordProblem(issue: z.core.$ZodIssue, value: unknown): string {
  // The message of a bad key of a map is one level down; on the surface zod only says that there is one.
  if (issue.code === 'invalid_key') return `${shown(issue.path.at(-1))} ${issue.issues[0]?.message ?? issue.message}`;
  const { message } = issue;
  if (issue.code === 'custom' && /secret/.test(message)) {
    return value === undefined ? 'is missing; allowed: {env: NAME} or {file: path}' : CLEAR_SECRET;
  }
  if (message.startsWith('is not ')) return `${shown(value)} ${message}`;
  return message.startsWith('must ') && value !== undefined ? `is ${shown(value)}; ${message}` : message;
}

/** Where a message is worded for people; keys and values that are allowed come with it. */
export const wordIssue: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'unrecognized_keys':
      // One line a key: `problemsOf` makes a problem of each.
      return issue.keys.map((key) => `is not a key here${hint(key, allowedKeys(issue.inst))}`).join('\n');
    case 'invalid_type':
      return issue.input === undefined ? 'is missing' : `is ${shown(issue.input)}; allowed: ${article(issue.expected)}`;
    case 'invalid_value':
      return issue.input === undefined
        ? `is missing; allowed: ${issue.values.join(', ')}`
        : `is ${shown(issue.input)}${hint(issue.input, issue.values.map(String))}`;
    case 'invalid_union':
      return wordUnion(issue);
    case 'too_small':
      return `is ${measured(issue.origin, issue.input)}; allowed: at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `is ${measured(issue.origin, issue.input)}; allowed: at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_format':
      return `is ${shown(issue.input)}; allowed: ${FORMATS[issue.format] ?? `text in the form ${issue.pattern ?? issue.format}`}`;
    default:
      return undefined;
  }
};

const FORMATS: Record<string, string> = {
  url: 'a URL, such as http://127.0.0.1:9000',
  hostname: 'a host name, such as api.example.com',
};

function wordUnion(issue: Extract<z.core.$ZodRawIssue, { code: 'invalid_union' }>): string {
  const discriminator = issue.discriminator ?? 'kind';
  const given = (issue.input as Record<string, unknown> | null | undefined)?.[discriminator];
  const values = discriminatorValues(issue.inst, discriminator);
  if (values.length === 0) return 'has none of the allowed forms';
  if (given === undefined) return `"${discriminator}" is missing; allowed: ${values.join(', ')}`;
  return `${discriminator} is ${shown(given)}${hint(given, values)}`;
}

/** The values of the discriminator, from the literals of the union's options. */
function discriminatorValues(inst: unknown, discriminator: string): string[] {
  const options = (inst as { options?: { shape?: Record<string, { value?: unknown }> }[] } | undefined)?.options ?? [];
  return options.map(({ shape }) => String(shape?.[discriminator]?.value));
}

const allowedKeys = (inst: unknown) => Object.keys((inst as { shape?: object } | undefined)?.shape ?? {});

function shown(input: unknown): string {
  if (Array.isArray(input)) return 'a list';
  if (input !== null && typeof input === 'object') return 'a map';
  return JSON.stringify(input) ?? String(input);
}

const article = (expected: string) =>
  ({
    object: 'a map',
    record: 'a map',
    array: 'a list',
    string: 'text',
    int: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
  })[expected] ?? expected;

const measured = (origin: string, input: unknown) =>
  origin === 'array' ? `a list of ${(input as unknown[]).length}` : origin === 'string' ? shown(input) : String(input);

const UNITS: Record<string, string> = { array: ' in the list', string: ' characters' };
const unitOf = (origin: string) => UNITS[origin] ?? '';

/** `; did you mean "port"? allowed: host, port` */
function hint(input: unknown, allowed: readonly string[]): string {
  const given = typeof input === 'string' ? input : '';
  const nearest = allowed.toSorted((a, b) => distance(given, a) - distance(given, b))[0];
  const tolerated = given.length < 4 ? 1 : Math.max(2, Math.floor(given.length / 3));
  const near = nearest !== undefined && distance(given, nearest) <= tolerated;
  return `${near ? `; did you mean "${nearest}"?` : ';'} allowed: ${allowed.join(', ')}`;
}

/** Levenshtein's, in one row. */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(b).entries()) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
