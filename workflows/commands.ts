import { defineQuery, defineSignal, defineUpdate, setHandler } from '@temporalio/workflow';
import { ApplicationFailure } from '@temporalio/common';
import type { Command } from '../core/runs';

/**
 * Registers a command as an update *and* as a signal of the same name. The update is refused by its validator before it
 * enters the history; a signal cannot be refused, so what the validator says against it is handed to `onRefused`. So is
 * what `act` throws afterwards: an update answers it, and a signal that threw would fail the whole run.
 */
export function onCommand(
  name: string,
  validate: (command: Command) => void,
  act: (command: Command) => void | Promise<void>,
  onRefused: (message: string) => void,
): void {
  const check = (command: Command) => {
    if (typeof command?.by !== 'string' || command.by.trim() === '')
      throw refuse(`${name} needs to say by whom: {"by": "<name>"}`);
    validate(command);
  };
  setHandler(defineUpdate<void, [Command]>(name), act, { validator: check });
  setHandler(defineSignal<[Command]>(name), async (command) => {
    try {
      check(command);
      await act(command);
    } catch (error) {
      onRefused(error instanceof Error ? error.message : String(error));
    }
  });
}

/** What a validator throws: shown to the person who sent the command, nothing changes. */
export function refuse(message: string): ApplicationFailure {
  return ApplicationFailure.create({ message, type: 'UsageInvalid', nonRetryable: true });
}

export const planQuery = <T>() => defineQuery<T>('plan');
