import Redis from 'ioredis';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { Engine } from '../../core/engine';
import { Secret } from '../../core/secret';
import { serverFile, serverFolder } from '../../lab/servers/process';
import { rolesContract } from '../contract/roles.contract';
import { engineOf, testContext } from '../support/engine-harness';
import { expectFailure } from '../support/expect-failure';
import { startRedisRoles } from '../support/redis-roles';
import { startRedis } from '../support/servers';

rolesContract('redis, fenced by rights,', () => startRedisRoles({ byRights: true }));

describe.each(['redis', 'valkey'] as const)(
  '%s without CONFIG, as managed servers are, and with an ACL file',
  (flavour) => {
    const password = 'a-password';
    let folder: string;
    let server: Awaited<ReturnType<typeof startRedis>>;
    let engine: Engine;
    const roles = () => engine.replication!;
    const client = (username = 'default') =>
      new Redis({
        host: server.host,
        port: server.port,
        username,
        password,
        enableReadyCheck: false,
        retryStrategy: () => null,
      });
    const asked = async <T>(use: (connection: Redis) => Promise<T>, username?: string): Promise<T> => {
      const connection = client(username);
      connection.on('error', () => undefined); // the command says so
      try {
        return await use(connection);
      } finally {
        connection.disconnect();
      }
    };
    const users = () => asked(async (connection) => (await connection.call('ACL', 'LIST')) as string[]);

    beforeEach(async () => {
      folder = serverFolder(fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-acl-')));
      const acl = [
        `user default on >${password} ~* &* +@all`,
        `user shop on >${password} ~cart:* resetchannels -@all +@read +@connection +set +eval (~count:* +incr +get)`,
        `user batch on >${password} allkeys allchannels allcommands (~* +@all)`,
        'user gone off nopass ~* +@all',
      ];
      const aclfile = serverFile(path.join(folder, 'users.acl'), `${acl.join('\n')}\n`);
      const settings = { aclfile, 'rename-command': 'CONFIG ""' };
      server = await startRedis({ dataDir: folder, password, flavour, settings });
      const site = { host: server.host, port: server.port, password: new Secret(password) };
      engine = await engineOf('redis', 'cache', { sites: { primary: site } });
    }, 30_000);
    afterEach(async () => {
      await server?.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    });

    test('every user loses its writes and keeps its reads, also after a restart, and gets back exactly what it had', async () => {
      await asked((shop) => shop.set('cart:1', 'before'), 'shop');
      const before = await users();
      const held = client('batch');
      held.on('error', () => undefined); // it is cut off
      await held.ping();
      const evidence = await roles().fence('primary', 'dr', 3, testContext());
      expect(evidence).toMatchObject({ strength: 'proven', stores: ['cache'], epoch: 3 });
      expect(evidence.how).toMatch(
        /a write was refused \(NOPERM\).* 4 users lost the write commands .*kept in its ACL file/,
      );
      await expect(held.set('cart:1', 'later')).rejects.toThrow(/closed/i);

      for (const again of [false, true]) {
        if (again) {
          await server.server.kill('SIGKILL');
          await server.server.start();
        }
        const write = (username: string, ...command: [string, ...string[]]) =>
          asked((connection) => connection.call(...command), username);
        await expect(write('shop', 'SET', 'cart:1', 'later')).rejects.toThrow('NOPERM');
        await expect(write('shop', 'INCR', 'count:1')).rejects.toThrow('NOPERM');
        await expect(write('shop', 'EVAL', "return redis.call('SET', KEYS[1], 'x')", '1', 'cart:1')).rejects.toThrow(
          /permission/i,
        );
        await expect(write('batch', 'FLUSHALL')).rejects.toThrow('NOPERM');
        await expect(write('default', 'SET', 'any', 'x')).rejects.toThrow('NOPERM');
        expect(await asked((shop) => shop.get('cart:1'), 'shop')).toBe('before');
        expect(await engine.probe('primary', testContext())).toMatchObject({ reachable: true, writable: false });
        await expectFailure(roles().writeProbe('primary', 'marker', testContext()), 'RoleMismatch', 'refused a write');
        expect((await roles().fence('primary', 'dr', 3, testContext())).strength).toBe('proven');
      }

      await roles().unfence('primary', 3, testContext());
      await roles().unfence('primary', 3, testContext());
      expect(await users()).toEqual(before);
      await server.server.kill('SIGKILL');
      await server.server.start();
      expect(await users()).toEqual(before);
      await asked((shop) => shop.set('cart:1', 'after'), 'shop');
      held.disconnect();
    }, 60_000);

    test('an older role change neither fences nor lifts; a newer one takes the fence over, a new user and a deleted one with it', async () => {
      const before = await users();
      await roles().fence('primary', 'dr', 3, testContext());
      await expectFailure(roles().fence('primary', 'dr', 2, testContext()), 'StaleEpoch', 'epoch 3');
      await expectFailure(roles().unfence('primary', 2, testContext()), 'StaleEpoch', 'epoch 3');
      await asked(async (admin) => {
        await admin.call('ACL', 'SETUSER', 'late', 'on', `>${password}`, '~*', '+@all');
        await admin.call('ACL', 'DELUSER', 'gone');
      });
      expect((await roles().fence('primary', 'dr', 4, testContext())).strength).toBe('proven');
      await expect(asked((late) => late.set('x', 'y'), 'late')).rejects.toThrow('NOPERM');
      await expectFailure(roles().unfence('primary', 3, testContext()), 'StaleEpoch', 'epoch 4');
      await roles().unfence('primary', 4, testContext());
      const isLate = (line: string) => line.startsWith('user late ');
      const after = await users();
      expect(after.find(isLate)).toMatch(/\+@all$/);
      expect(after.filter((line) => !isLate(line))).toEqual(before.filter((line) => !line.startsWith('user gone ')));
    }, 60_000);
  },
);

test('an account that may not change users either is no fence, and says so', async () => {
  const server = await startRedis();
  const admin = new Redis({ host: server.host, port: server.port, password: server.password });
  await admin.call('ACL', 'SETUSER', 'drctl', 'on', '>secret', '~*', '+@all', '-@admin');
  const site = { host: server.host, port: server.port, user: 'drctl', password: new Secret('secret') };
  const engine = await engineOf('redis', 'cache', { sites: { primary: site } });
  const evidence = await engine.replication?.fence('primary', 'dr', 1, testContext());
  expect(evidence).toMatchObject({ strength: 'none', how: expect.stringContaining('neither') as string });
  const outlook = () => engine.replication!.fenceOutlook('primary', 'dr', testContext());
  // Said before the day, with what is missing; ACL itself is one of those that it lacks, so that it may not even ask.
  expect(await outlook()).toMatchObject({ strength: 'none', lacking: [expect.stringContaining('+acl') as string] });
  await admin.call('ACL', 'SETUSER', 'drctl', '+acl', '-acl|setuser');
  const asked = await outlook();
  expect(asked.strength).toBe('none');
  const missing = ['CONFIG SET', 'ACL SETUSER', 'CLIENT KILL'];
  for (const command of missing)
    expect(asked.lacking).toContainEqual(expect.stringMatching(new RegExp(`^${command}: .*permission`, 'i')));
  expect(asked.handOverLacks).toContainEqual(expect.stringMatching(/^REPLICAOF NO: /));
  await admin.call('ACL', 'SETUSER', 'drctl', '+@all');
  expect(await outlook()).toMatchObject({ lacking: [], handOverLacks: [] });
  expect(await admin.set('still', 'writable')).toBe('OK');
  admin.disconnect();
  await server.stop();
}, 30_000);
