import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { WireConnection } from '../../adapters/engines/mongodb/wire';

test('a connection that is not wanted any more when it is made only rejects: an error that nobody hears would end the worker', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const unheard: unknown[] = [];
  const note = (error: unknown) => unheard.push(error);
  process.on('uncaughtException', note);
  try {
    const giveUp = new AbortController();
    giveUp.abort();
    const opening = WireConnection.open(
      { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
      giveUp.signal,
    );
    await expect(opening).rejects.toMatchObject({ name: 'AbortError' });
    await turn();
    expect(unheard).toEqual([]);
  } finally {
    process.off('uncaughtException', note);
    server.close();
  }
});
