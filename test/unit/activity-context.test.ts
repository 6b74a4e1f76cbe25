import { withCallContext } from '../../activities/context';
import { inActivity } from '../support/in-activity';

interface Beat {
  readonly progress: { readonly doneItems: number } | null;
  readonly state: string | null;
}

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test('a report for each of many items is sent twice a second, and the newest one is told in the end', async () => {
  const beats: Beat[] = [];
  const work = () =>
    withCallContext(async (ctx) => {
      for (let item = 1; item <= 2_000; item += 1) {
        ctx.progress({ phase: 'reading', doneItems: item });
        jest.advanceTimersByTime(1);
      }
      jest.advanceTimersByTime(4_000);
    });
  await inActivity(work, {}, (beat) => beats.push(beat as Beat));
  expect(beats.map((each) => each.progress?.doneItems)).toEqual([1, 501, 1001, 1501, 2000]);
});

test('what the next attempt resumes from is sent at once, with the newest report', async () => {
  const beats: Beat[] = [];
  const work = () =>
    withCallContext<void, string>(async (ctx, resume) => {
      expect(resume.state).toBe('the attempt before');
      ctx.progress({ phase: 'reading', doneItems: 1 });
      ctx.progress({ phase: 'reading', doneItems: 2 });
      resume.keep('half');
      resume.keep('all');
    });
  await inActivity(work, { heartbeatDetails: { state: 'the attempt before' } }, (beat) => beats.push(beat as Beat));
  expect(beats.map(({ progress, state }) => [progress?.doneItems, state])).toEqual([
    [1, 'the attempt before'],
    [2, 'half'],
    [2, 'all'],
  ]);
});
