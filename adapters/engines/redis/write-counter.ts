import type Redis from 'ioredis';
import { isNativeError } from './connection';

/**
 * Counts executed write commands: the sum over `INFO commandstats` of the commands in the ACL category `write`.
 * `total_commands_processed` would count reads too and make every bound of a loss too wide; `rdb_changes_since_last_save`
 * falls back to zero. A `CONFIG RESETSTAT` does the same to commandstats, which is made good here for as long as the
 * process lives.
 */
export class WriteCounter {
  #writeCommands: ReadonlySet<string> | null = null;
  #run: string | null = null;
  #last = 0;
  #carried = 0;

  /** Null where the server does not say (before Redis 7, or COMMAND not allowed). `run` is its `run_id`. */
  async read(client: Redis, run: string): Promise<number | null> {
    try {
      this.#writeCommands ??= new Set(
        (await client.call('COMMAND', 'LIST', 'FILTERBY', 'ACLCAT', 'write')) as string[],
      );
      const current = sumCalls(await client.info('commandstats'), this.#writeCommands);
      if (this.#run !== run) [this.#run, this.#carried] = [run, 0];
      else if (current < this.#last) this.#carried += this.#last;
      this.#last = current;
      return this.#carried + current;
    } catch (error) {
      // Unknown is an answer here (rule 3): the position is still measured.
      if (isNativeError(error) && error.name === 'ReplyError') return null;
      throw error;
    }
  }
}

/** `cmdstat_set:calls=5,…` and, for subcommands, `cmdstat_xgroup|create:calls=…`. */
export function sumCalls(commandstats: string, writeCommands: ReadonlySet<string>): number {
  let calls = 0;
  for (const [, name, count] of commandstats.matchAll(/^cmdstat_([^:\r\n]+):calls=(\d+)/gm)) {
    if (name && writeCommands.has(name)) calls += Number(count);
  }
  return calls;
}
