import { resumeStream } from '../../adapters/engines/redis/archive-start';
import { describeLineage, readLineage } from '../../adapters/engines/redis/lineage';
import type { ReplicaLink } from '../../adapters/engines/redis/replica-link';
import { naming } from '../../adapters/engines/redis/positions';
import { MemoryLogArchive } from '../support/engine-harness';
import { expectFailure } from '../support/expect-failure';

const LINEAGE = 'a'.repeat(40);

/** A server that answers so to PSYNC: a real one changes its role in the moment between two questions too seldom. */
function answering(answer: string): { link: ReplicaLink; asked: string[] } {
  const asked: string[] = [];
  const ask = async (...words: string[]) => {
    asked.push(words.join(' '));
    return words[0] === 'PSYNC' ? answer : '+OK';
  };
  return { asked, link: { peer: 'redis:6379', ask, tell: () => {} } as unknown as ReplicaLink };
}

test.each(['+CONTINUE', `+CONTINUE ${LINEAGE}`])('a stream goes on where the server answers %s', async (answer) => {
  const { link, asked } = answering(answer);
  await resumeStream(link, { lineage: LINEAGE, offset: 41 });
  expect(asked.at(-1)).toBe(`PSYNC ${LINEAGE} 42`);
});

test('nothing of another stream is taken for its continuation', async () => {
  const resume = (answer: string) => resumeStream(answering(answer).link, { lineage: LINEAGE, offset: 41 });
  const other = 'b'.repeat(40);
  await expectFailure(resume(`+CONTINUE ${other}`), 'TargetUnreachable', `goes on with the stream ${other} by now`);
  await expectFailure(resume(`+FULLRESYNC ${LINEAGE} 90`), 'TargetUnreachable', 'does not go on behind 41 any more');
});

test('what says how a stream began is damaged where it cannot be read, and hides no other', async () => {
  const archive = new MemoryLogArchive(naming);
  const about = { lineage: LINEAGE, beganAt: '2026-01-01T00:00:00.000Z', from: 0, database: 0, why: 'the first' };
  await describeLineage(archive, { ...about, isGap: false, parent: null });
  const history = new Map<string, Buffer | Error>(await archive.history());
  expect(readLineage(history, LINEAGE)).toMatchObject({ from: 0 });
  for (const damaged of [Buffer.from('{"lineage": "aaa'), Buffer.from('{}'), new Error('its digest differs')]) {
    history.set(`${LINEAGE}.json`, damaged);
    expect(readLineage(history, LINEAGE)).toBe('damaged');
  }
});
