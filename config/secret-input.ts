import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { failure } from '../core/errors';
import { Secret } from '../core/secret';

/**
 * A secret that the config only points to. It is read at the moment it is needed, so that a command needs only the secrets
 * that it uses, a worker those of its site, and a rotated secret is taken up without a restart.
 */
export class SecretReference extends Secret {
  readonly #source: { readonly env: string } | { readonly file: string };
  readonly #where: string;

  constructor(source: { readonly env: string } | { readonly file: string }, where: string) {
    super('');
    this.#source = source;
    this.#where = where;
  }

  /** What a person may see: `environment variable PGPASSWORD` or `file /run/secrets/pg`. */
  get origin(): string {
    return 'env' in this.#source ? `environment variable ${this.#source.env}` : `file ${this.#source.file}`;
  }

  /** Throws ConfigInvalid that names the field and the variable or file. */
  override reveal(): string {
    const value = 'env' in this.#source ? this.#fromEnvironment(this.#source.env) : this.#fromFile(this.#source.file);
    if (value === '') throw this.#invalid('it is empty');
    return value;
  }

  #fromEnvironment(variable: string): string {
    const value = process.env[variable];
    if (value === undefined) throw this.#invalid('it is not set');
    return value;
  }

  #fromFile(file: string): string {
    try {
      // Secrets written with an editor or `echo` end in a newline that is not part of them.
      return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    } catch (cause) {
      throw this.#invalid(
        (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(cause),
        cause,
      );
    }
  }

  #invalid(why: string, cause?: unknown) {
    return failure('ConfigInvalid', `the secret of ${this.#where} cannot be read from ${this.origin}: ${why}`, {
      next: 'Set it for this process, or correct the reference in the config.',
      cause,
    });
  }
}

/** Replaces every `{env: NAME}` and `{file: path}` of the raw config by a reference; files are relative to the config file. */
export function resolveSecretReferences(raw: unknown, configFile: string, path: readonly PropertyKey[] = []): unknown {
  if (Array.isArray(raw)) return raw.map((each, index) => resolveSecretReferences(each, configFile, [...path, index]));
  if (raw === null || typeof raw !== 'object') return raw;
  const entries = Object.entries(raw);
  const [only] = entries;
  if (entries.length === 1 && only && typeof only[1] === 'string' && path.length > 0) {
    const where = `${path.join('.')} in ${configFile}`;
    if (only[0] === 'env') return new SecretReference({ env: only[1] }, where);
    if (only[0] === 'file') return new SecretReference({ file: besideConfig(only[1], configFile) }, where);
  }
  return Object.fromEntries(
    entries.map(([key, each]) => [key, resolveSecretReferences(each, configFile, [...path, key])]),
  );
}

/** Every secret that a parsed config points to. */
export function secretReferences(value: unknown): SecretReference[] {
  if (value instanceof SecretReference) return [value];
  if (value === null || typeof value !== 'object') return [];
  return Object.values(value).flatMap(secretReferences);
}

/** Paths in a config are relative to its file, wherever the command is run. */
export function besideConfig(path: string, configFile: string): string {
  return isAbsolute(path) ? path : resolve(dirname(configFile), path);
}
