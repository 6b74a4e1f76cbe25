import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHooks } from '../../adapters/hooks';
import { hooksOf, hookSettings } from '../../config/hooks';
import type { HookCall } from '../../core/hooks';
import { Secret } from '../../core/secret';
import { testContext } from '../support/call-context';

const call: HookCall = {
  ...{ hook: 'drain', action: 'run', application: 'shop', kind: 'failover', from: 'primary', to: 'dr', epoch: 5 },
  runId: 'f3a9',
};

describe('a program', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'drctl-hooks-'))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const program = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const hooks = (argv: string[], environment: string[] = []) => createHooks({ drain: { run: { argv, environment } } });

  test('is given the call as a line on standard input, its arguments as they are, and no secret that the config does not name', async () => {
    process.env['DRCTL_HOOK_GIVEN'] = 'yes';
    process.env['DRCTL_HOOK_KEPT'] = 'no';
    const file = program(
      'note',
      `read -r call || exit 9; printf %s "$call" > "$1.json"; echo "$2|$DRCTL_HOOK_GIVEN|$DRCTL_HOOK_KEPT" > "$1.txt"`,
    );
    const out = join(folder, 'out');
    const said = await hooks([file, out, '$(whoami); *'], ['DRCTL_HOOK_GIVEN']).call(call, 10, testContext());
    expect(said).toBe('exit 0, no output');
    expect(JSON.parse(readFileSync(`${out}.json`, 'utf8'))).toEqual(call);
    expect(readFileSync(`${out}.txt`, 'utf8')).toBe('$(whoami); *|yes|\n');
  });

  test('its last words are shown without the secrets that it was given', async () => {
    process.env['DRCTL_HOOK_TOKEN'] = 'geheim-4711';
    const said = 'with geheim-4711';
    const speaking = hooks([program('speak', `echo begun; echo "paused 3 imports ${said}"`)], ['DRCTL_HOOK_TOKEN']);
    await expect(speaking.call(call, 10, testContext())).resolves.toBe('paused 3 imports with ***');
    // Cut in the middle of the secret, were it cut before it is hidden.
    const long = `${'x'.repeat(295)} ${said}`;
    const failing = hooks([program('complain', `echo "${long}" >&2; exit 1`)], ['DRCTL_HOOK_TOKEN']);
    const failed = await failing.call(call, 10, testContext()).catch((error: unknown) => error);
    expect(failed).toMatchObject({ type: 'HookFailed' });
    expect(JSON.stringify(failed)).not.toContain('geheim');
  });

  test('that fails, is late or is not there says so', async () => {
    const failing = hooks([program('fail', 'echo first >&2; echo "the queue is not empty" >&2; exit 3')]);
    await expect(failing.call(call, 10, testContext())).rejects.toMatchObject({
      type: 'HookFailed',
      nonRetryable: false,
      message: expect.stringMatching(/^hook drain: exit 3: the queue is not empty/),
    });
    await expect(hooks([program('sleep', 'sleep 60')]).call(call, 0.2, testContext())).rejects.toThrow(
      /not finished within 0.2 s, killed/,
    );
    const absent = hooks([join(folder, 'absent')]);
    await expect(absent.call(call, 10, testContext())).rejects.toMatchObject({ type: 'ToolMissing' });
    await expect(absent.check('drain')).rejects.toMatchObject({ type: 'ToolMissing' });
    await expect(failing.check('drain')).resolves.toBeUndefined();
    await expect(failing.call({ ...call, action: 'undo' }, 10, testContext())).rejects.toMatchObject({
      type: 'NotFound',
    });
  });
});

describe('a webhook', () => {
  let server: Server;
  let status = 204;
  const seen: { headers: NodeJS.Dict<string | string[]>; body: unknown }[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        seen.push({ headers: request.headers, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) });
        response.writeHead(status).end(status === 204 ? '' : `not now, ${request.headers.authorization}`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => void server.close());

  test('gets the call with an id by which a repetition is known; what is no 2xx has failed', async () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/drain?key=hidden`;
    const hooks = createHooks({ drain: { run: { url, token: new Secret('of-the-receiver') } } });
    await expect(hooks.call(call, 10, testContext())).resolves.toBe('HTTP 204');
    expect(seen[0]).toMatchObject({
      headers: { authorization: 'Bearer of-the-receiver', 'webhook-id': 'f3a9:drain:run' },
      body: call,
    });
    status = 503;
    const failed = await hooks.call(call, 10, testContext()).catch((error: unknown) => error);
    expect(failed).toMatchObject({
      type: 'HookFailed',
      message: expect.stringMatching(/^hook drain: HTTP 503: not now, Bearer \*\*\*/),
    });
    expect(JSON.stringify(failed)).not.toMatch(/hidden|of-the-receiver/);
  });
});

test('the config says when, where, how long and what a failure means; workflows learn nothing of the program', () => {
  const parsed = hookSettings.parse({
    drain: { before: 'fence', at: 'old', run: { argv: ['/opt/drain', '--all'] }, undo: { argv: ['/opt/fill'] } },
    warm: {
      after: 'services',
      run: { url: 'https://cache.test/warm' },
      within: '5m',
      attempts: 3,
      onFailure: 'continue',
    },
  });
  const all = ['failover', 'switchover'];
  expect(hooksOf(parsed)).toEqual([
    {
      ...{ name: 'drain', roleChanges: all, moment: 'before', point: 'fence', at: 'old', does: 'command' },
      ...{ withinSeconds: 30, attempts: 1, onFailure: 'stop', undoes: true },
    },
    {
      ...{ name: 'warm', roleChanges: all, moment: 'after', point: 'services', at: 'new', does: 'webhook' },
      ...{ withinSeconds: 300, attempts: 3, onFailure: 'continue', undoes: false },
    },
  ]);
  const refused = (hook: object) =>
    hookSettings.safeParse({ hook: { run: { argv: ['x'] }, ...hook } }).error?.issues[0]?.message;
  expect(refused({})).toMatch(/either before or after/);
  expect(refused({ before: 'dns', after: 'dns' })).toMatch(/either before or after/);
  expect(refused({ after: 'dns', undo: { argv: ['y'] } })).toMatch(/nothing is undone any more/);
  expect(refused({ before: 'lunch' })).toBeDefined();
});
