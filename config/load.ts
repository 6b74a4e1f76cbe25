import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isMap, isNode, isPair, LineCounter, parseDocument, type Document } from 'yaml';
import { failure } from '../core/errors';
import { type ConfigProblem, problemsOf, wordIssue } from './problems';
import { configSchema, type Config } from './schema';
import { besideConfig, resolveSecretReferences } from './secret-input';

export interface LoadedConfig extends Config {
  /** Absolute path of the file it came from. */
  readonly file: string;
}

/**
 * Reads and validates the config of one application. Secrets are not read yet: each one is when it is first needed.
 * Throws ConfigInvalid that lists every problem with its line, path, value and what is allowed.
 */
export function loadConfig(file: string): LoadedConfig {
  const path = resolve(file);
  return parseConfig(readText(path), path);
}

/** The same for text that was read already; `file` is for messages and relative paths. */
export function parseConfig(text: string, file: string): LoadedConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const syntax = [...document.errors, ...document.warnings].map((error): ConfigProblem => ({
    path: '',
    line: lines.linePos(error.pos[0]).line,
    message: error.message,
  }));
  if (syntax.length > 0) throw invalid(file, syntax);

  const raw = absolutePaths(resolveSecretReferences(document.toJS({ maxAliasCount: 1_000 }), file), file);
  const parsed = configSchema.safeParse(raw, { error: wordIssue });
  if (parsed.success) return { ...parsed.data, file };
  const problems = parsed.error.issues
    .flatMap((issue) => problemsOf(issue, (path) => valueAt(raw, path)))
    .map(({ path, message }): ConfigProblem => ({
      path: path.join('.'),
      line: lineOf(document, lines, path),
      message,
    }));
  // In the order of the file; what is missing has no line and is often missing because of a misspelt key before it.
  throw invalid(
    file,
    problems.toSorted((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity)),
  );
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw failure(
      'ConfigInvalid',
      `the config ${file} cannot be read: ${missing ? 'there is no such file' : String(cause)}`,
      {
        next: 'Name it with --config FILE or DRCTL_CONFIG, or run the command in its folder when it is called drctl.yaml.',
        cause,
      },
    );
  }
}

/** Text that starts with `./` or `../` is a path beside the config file, wherever in the file it stands. */
function absolutePaths(value: unknown, file: string): unknown {
  if (typeof value === 'string') return /^\.\.?(\/|$)/.test(value) ? besideConfig(value, file) : value;
  if (Array.isArray(value)) return value.map((each) => absolutePaths(each, file));
  if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, absolutePaths(each, file)]));
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], raw);
}

/** The line of the deepest part of the path that is in the file. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | null {
  for (let depth = path.length; depth > 0; depth--) {
    const container = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
    const last = path[depth - 1];
    const pair = isMap(container) ? container.items.find(({ key }) => String(key) === String(last)) : undefined;
    const node = isPair(pair) ? pair.key : document.getIn(path.slice(0, depth), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return null;
}

function invalid(file: string, problems: readonly ConfigProblem[]) {
  const listed = problems.map(({ path, line, message }) => {
    const where = line === null ? file : `${file}:${line}`;
    return `  ${where}${path === '' ? '' : `  ${path}`}: ${message}`;
  });
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return failure('ConfigInvalid', `the config ${file} has ${count}:\n${listed.join('\n')}`, {
    next: 'Correct what is named; `drctl config check` shows whether it is right.',
  });
}
