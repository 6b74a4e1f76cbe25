import { showItems, showLists, signItem } from '../checklists';
import type { Front } from '../front';
import { limitOption } from '../options';

export function registerChecklist(front: Front): void {
  const group = front.group('checklist', 'the daily, weekly, monthly and quarterly lists, and their sign-off');
  front
    .command<{ limit: string }>(
      group,
      'list',
      'the lists that are open, and how earlier ones ended',
      [['drctl checklist list', 'what waits for somebody']],
      (session, _, { limit }) => showLists(session, Number(limit)),
    )
    .addOption(limitOption('at most this many earlier ones'));
  front.command(
    group,
    'show [list]',
    'the items of the open lists with what was found, or of the one named by its period or its run',
    [['drctl checklist show weekly', 'what is left to do this week']],
    (session, [list]) => showItems(session, list ?? null),
  );
  front
    .command<{ note: string; by?: string; list?: string }>(
      group,
      'sign <item>',
      'sign an item as a named person, with a note of what was looked at; it stands in the report',
      [['drctl checklist sign training --by dana --note "sam restored orders-db"', 'in the name of dana']],
      (session, [item = ''], { note, by, list }) =>
        signItem(session, { item, note, by: by ?? session.io.user, list: list ?? null }),
    )
    .requiredOption('--note <text>', 'what was looked at; of an item that fails, why it is taken on')
    .option('--by <name>', 'the person who signs (default: you)')
    .option('--list <list>', 'the period or the run of the list, where several open ones have the item');
}
