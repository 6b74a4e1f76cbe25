import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { leftCopies } from '../../adapters/engines/left-copies';
import { drillPlace } from '../../core/drill';
import { waitUntil } from '../../lab/servers/process';

test('what drills of an application left is found by its name, with its processes, and nothing else is', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'drctl-left-'));
  const place = join(folder, `${drillPlace('shop', '1a2b3c4d')}-orders-db`);
  for (const name of [place, join(folder, 'verify-1a2b3c4d-orders-db'), join(folder, 'drill-other-1a2b3c4d-orders-db')])
    mkdirSync(name);
  // As a restored server does: it works in the place, and its command line need not name it.
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)'], { cwd: place, stdio: 'ignore' });
  try {
    await waitUntil('the process being there', async () => (await leftCopies('shop', [folder])).length === 2);
    expect(await leftCopies('shop', [folder, folder])).toEqual([
      { store: 'orders-db', drillId: '1a2b3c4d', what: place },
      { store: null, drillId: '1a2b3c4d', what: expect.stringMatching(new RegExp(`^process ${child.pid} `)) },
    ]);
    rmSync(place, { recursive: true });
    // One whose folder was removed under it is found all the same.
    expect(await leftCopies('shop', [folder])).toMatchObject([{ store: null }]);
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
  expect(await leftCopies('shop', [folder])).toEqual([]);
  expect(await leftCopies('shop', [join(folder, 'absent')])).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});
