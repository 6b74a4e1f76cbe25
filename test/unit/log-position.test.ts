import type { OpenApplication } from '../../activities/deps';
import { waitForLogTo } from '../../activities/log-position';
import type { LogEntry } from '../../core/log-archive';
import { testContext } from '../support/call-context';
import { dumpResult } from '../support/manifests';

const MINUTE = 60_000;
const at = (value: number) => ({ engine: 'fake', lineage: '1', value: String(value) });

/** Waits for position 5 of a log that is looked at every `minutes` and then ends at these positions. */
async function wait(minutes: number, ends: readonly number[]): Promise<number> {
  let looks = 0;
  let clock = 0;
  const archive = {
    entries: async () => {
      const end = ends[Math.min(looks, ends.length - 1)] as number;
      looks += 1;
      clock += minutes * MINUTE;
      return [{ key: 'k', lineage: '1', from: at(0), to: at(end) } as LogEntry];
    },
  };
  const open = {
    application: { name: 'shop' },
    logArchive: () => archive,
    engine: () => ({
      positions: {
        compare: (a: { value: string }, b: { value: string }) => Number(a.value) - Number(b.value),
        format: ({ value }: { value: string }) => value,
      },
    }),
  } as unknown as OpenApplication;
  const now = jest.spyOn(Date, 'now').mockImplementation(() => clock);
  try {
    await waitForLogTo(open, 'orders', dumpResult({ lineage: '1', stop: at(5) }), testContext());
    return looks;
  } finally {
    now.mockRestore();
  }
}

test('a log that is hours behind is waited for while it comes nearer', async () => {
  expect(await wait(25, [1, 2, 3, 4, 5])).toBe(5);
});

test('one that stands still is told, with where it is and what is needed', async () => {
  await expect(wait(20, [1, 2, 2, 2, 2])).rejects.toMatchObject({
    type: 'BackupIncomplete',
    message: expect.stringMatching(/stands still at 2, the backup needs it up to 5/),
  });
});
