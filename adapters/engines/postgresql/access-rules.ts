/**
 * A fence in the words of pg_hba.conf: a block at the top of the file, since the first rule that matches decides. What the
 * file said before stays below it, unreached, so that lifting the fence is taking the block away again, by hand as well.
 */
const BEGIN = '# drctl fence, epoch ';
const END = '# drctl fence ends here';
const HEAD = /^# drctl fence, epoch (?<epoch>\d+)/;

const REJECT = ['local all all reject', 'host all all all reject'];

/** One line of `pg_hba_file_rules`, which has read the file as the server does. */
export interface AccessRule {
  readonly line_number: number;
  readonly type: string;
  readonly database: readonly string[];
  readonly user_name: readonly string[];
  readonly address: string | null;
  readonly netmask: string | null;
  readonly auth_method: string;
  readonly options: readonly string[] | null;
}

/** The epoch of the fence that is in force in the file; null where none is. */
export function fencedBy(file: string): number | null {
  const epoch = HEAD.exec(file)?.groups?.['epoch'];
  return epoch === undefined ? null : Number(epoch);
}

export function withoutFence(file: string): string {
  if (fencedBy(file) === null) return file;
  const end = file.indexOf(`${END}\n`);
  return end < 0 ? file : file.slice(end + END.length + 1);
}

/**
 * Everybody is rejected but `ours`; replicas still come in by the rules below, whose `replication` is not among `all`. A file
 * that is fenced already keeps its block for the newer epoch.
 */
export function withFence(file: string, epoch: number, ours: readonly string[]): string {
  if (fencedBy(file) !== null) return file.replace(HEAD, `${BEGIN}${epoch}`);
  const head = `${BEGIN}${epoch}. To lift it by hand: delete the lines to the end mark, then SELECT pg_reload_conf()`;
  return [head, ...ours, ...REJECT, END, file].join('\n');
}

/**
 * The rules by which our own account comes into its own database, narrowed to the two. A number is the line of a rule of which
 * it cannot be said whether it is meant (a group, an expression): then nothing is changed.
 */
export function ownRules(
  rules: readonly AccessRule[],
  { database, user }: { readonly database: string; readonly user: string },
): string[] | number {
  const lines: string[] = [];
  for (const rule of rules) {
    const meant = [
      covers(rule.database, database, user === database ? ['all', 'sameuser'] : ['all']),
      covers(rule.user_name, user, ['all']),
    ];
    if (meant.includes('no')) continue;
    if (meant.includes('unclear')) return rule.line_number;
    const place = [rule.address, rule.netmask].filter((each) => each !== null);
    const options = (rule.options ?? []).map((option) =>
      option.replace(/=(.*)$/s, (_, value: string) => `=${quoted(value)}`),
    );
    lines.push([rule.type, quoted(database), quoted(user), ...place, rule.auth_method, ...options].join(' '));
  }
  return lines;
}

function covers(names: readonly string[], wanted: string, everything: readonly string[]): 'yes' | 'no' | 'unclear' {
  if (names.some((name) => name === wanted || everything.includes(name))) return 'yes';
  const unclear = (name: string) => /^[+/@]/.test(name) || name === 'samerole' || name === 'samegroup';
  return names.some(unclear) ? 'unclear' : 'no';
}

/** A name in quotes has no other meaning than its own. */
const quoted = (value: string) => `"${value.replaceAll('"', '""')}"`;
