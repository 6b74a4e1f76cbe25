import { Command, Option } from 'commander';
import type { Io } from './io';
import { Session, type SessionOptions } from './session';

/** What a command does; a number is an exit code other than 0. */
export type Action<O> = (session: Session, named: string[], options: O) => Promise<number | void>;

/** Where the commands hang: gives each one the options that all have, and its session. */
export class Front {
  readonly program: Command;
  exitCode = 0;
  private readonly io: Io;

  constructor(io: Io) {
    this.io = io;
    this.program = new Command('drctl')
      .description('Backups that restore, and failovers that are proven, for one application.')
      .configureOutput({ writeOut: (text) => io.out(text.trimEnd()), writeErr: (text) => io.note(text.trimEnd()) })
      .exitOverride()
      .showHelpAfterError('Add --help for what is allowed.')
      .helpCommand(false)
      .enablePositionalOptions();
  }

  /** A noun with verbs below it. */
  group(name: string, description: string): Command {
    return this.program.command(name).description(description).copyInheritedSettings(this.program).helpCommand(false);
  }

  /** A command that runs. `examples` are shown under its help, each with what it does. */
  command<O = object>(
    parent: Command,
    usage: string,
    description: string,
    examples: readonly (readonly [string, string])[],
    act: Action<O>,
  ): Command {
    const command = parent.command(usage).description(description).copyInheritedSettings(this.program);
    command.addOption(
      new Option('-c, --config <file>', 'config of the application (default: $DRCTL_CONFIG, else ./drctl.yaml)'),
    );
    command.addOption(
      new Option('-o, --output <form>', 'form of the result').choices(['text', 'json']).default('text'),
    );
    if (examples.length > 0)
      command.addHelpText(
        'after',
        `\nExamples:\n${examples.map(([line, what]) => `  $ ${line}\n      ${what}`).join('\n')}`,
      );
    return command.action(async (...args: unknown[]) => {
      const options = command.opts<O & SessionOptions>();
      const named = args
        .slice(0, command.registeredArguments.length)
        .flat()
        .filter((each) => each !== undefined) as string[];
      const session = new Session(this.io, options);
      try {
        this.exitCode = (await act(session, named, options)) ?? 0;
      } finally {
        await session.close();
      }
    });
  }
}
