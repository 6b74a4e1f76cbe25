import type { ReplicationConnection } from '../../adapters/engines/postgresql/replication-connection';
import { WalCollector } from '../../adapters/engines/postgresql/wal-collector';
import { WalStream } from '../../adapters/engines/postgresql/wal-stream';
import { hasCode } from '../../core/errors';

const SEGMENT_BYTES = 1024n * 1024n;

/** A server that has sent two segments, which nobody stores. */
function heldUp() {
  const calls: string[] = [];
  const running = Promise.withResolvers<never[]>();
  let receive: (message: Buffer) => void = () => {};
  const connection = {
    copyOut(_: string, onData: (message: Buffer) => void) {
      receive = onData;
      return running.promise;
    },
    onCopyDone() {},
    pause: () => calls.push('pause'),
    resume: () => calls.push('resume'),
    send: () => {},
    abandon: (error: unknown) => running.reject(error),
  } as unknown as ReplicationConnection;
  const collector = new WalCollector(0n, SEGMENT_BYTES);
  const stream = new WalStream(connection, collector, { slot: 'drctl_orders', timeline: 1, durable: 0n });
  const message = Buffer.alloc(25 + Number(2n * SEGMENT_BYTES));
  message[0] = 0x77;
  receive(message);
  return { calls, collector, stream };
}

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test('a server whose WAL nobody stores is let go after a minute: a sender that is held up would hold its checkpoints', async () => {
  const { calls, stream } = heldUp();
  expect(calls).toEqual(['pause']);
  const ended = stream.ended.catch((error: unknown) => error);
  jest.advanceTimersByTime(60_000);
  expect(hasCode(await ended, 'RepositoryUnavailable')).toBe(true);
});

test('one that is slow and gets on is waited for', async () => {
  const { calls, collector, stream } = heldUp();
  jest.advanceTimersByTime(59_000);
  collector.takeSegment();
  stream.confirm(SEGMENT_BYTES);
  expect(calls).toEqual(['pause', 'resume']);
  const over = jest.fn();
  stream.ended.catch(over);
  await jest.advanceTimersByTimeAsync(120_000);
  expect(over).not.toHaveBeenCalled();
});
