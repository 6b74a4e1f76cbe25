import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOrdersFromPostgres } from '../../lab/load/journal';
import { orderOf } from '../../lab/load/order-content';
import { answersWith, startProgram } from '../support/lab-programs';
import { waitUntil } from '../support/servers';
import { startShopSite, type ShopSite } from '../support/shop-site';
import { openPostgres } from '../../lab/servers/postgresql-client';

let shop: ShopSite;
beforeAll(async () => {
  shop = await startShopSite();
}, 120_000);
afterAll(() => shop?.stop());

/** The services give a store 2 s; what the drivers would wait by themselves is 30 s. A busy machine has added more than one. */
const SOON_MILLISECONDS = 10_000;

describe('faults', () => {
  const orderHealth = (status: number) => answersWith(status, `${shop.serviceUrl('order')}/health`, 20_000);

  test('a stopped Redis is 503 soon, naming it; repeating the order then completes it', async () => {
    const order = orderOf('shop-test', 7);
    await shop.redis.server.kill('SIGSTOP');
    const sentAtMs = performance.now();
    const refused = await shop.call('POST', '/v2/orders', order);
    expect(performance.now() - sentAtMs).toBeLessThan(SOON_MILLISECONDS);
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'store-unavailable', store: 'redis' } } });
    expect((await orderHealth(503))['stores']).toMatchObject({ postgresql: 'ok', mongodb: 'ok' });
    await shop.redis.server.kill('SIGCONT');
    await orderHealth(200);
    expect(await shop.call('POST', '/v2/orders', order)).toMatchObject({ status: 200 });
  });

  test('a killed PostgreSQL is 503, and the services come back by themselves', async () => {
    await shop.postgres.server.kill('SIGKILL');
    const sentAtMs = performance.now();
    const refused = await shop.call('POST', '/v2/orders', orderOf('shop-test', 8));
    expect(performance.now() - sentAtMs).toBeLessThan(SOON_MILLISECONDS);
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'store-unavailable', store: 'postgresql' } } });
    expect(await shop.call('GET', '/v2/products')).toMatchObject({ status: 200 });
    await shop.postgres.server.start();
    await answersWith(200, `${shop.gatewayUrl}/health`);
    expect(await shop.call('POST', '/v2/orders', orderOf('shop-test', 8))).toMatchObject({ status: 201 });
  });

  test('a stopped MongoDB is 503 soon, and comes back', async () => {
    const [member] = shop.mongo.members;
    await member!.server.kill('SIGSTOP');
    const sentAtMs = performance.now();
    const refused = await shop.call('POST', '/v2/orders', orderOf('shop-test', 9));
    const tookMs = performance.now() - sentAtMs;
    await member!.server.kill('SIGCONT');
    expect(tookMs).toBeLessThan(SOON_MILLISECONDS);
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'store-unavailable', store: 'mongodb' } } });
    await answersWith(200, `${shop.gatewayUrl}/health`, 20_000);
    expect(await shop.call('POST', '/v2/orders', orderOf('shop-test', 9))).toMatchObject({ status: 200 });
  });

  test('a PostgreSQL that takes no writes is unhealthy for who writes, healthy for who reads', async () => {
    await shop.inPostgres('ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()');
    expect((await orderHealth(503))['stores']).toMatchObject({ postgresql: expect.stringContaining('read-only') });
    expect(await shop.call('GET', '/health', undefined, shop.serviceUrl('auth'))).toMatchObject({ status: 200 });
    await shop.inPostgres(
      'SET default_transaction_read_only = off',
      'ALTER SYSTEM RESET default_transaction_read_only',
    );
    await shop.inPostgres('SELECT pg_reload_conf()');
    await orderHealth(200);
  });

  test('SIGTERM finishes what is in flight and ends within a second', async () => {
    const orders = Array.from({ length: 10 }, (_, n) => orderOf('shop-test', 100 + n));
    const lock = await openPostgres(shop.postgres.url);
    await lock.query('BEGIN');
    await lock.query('LOCK TABLE orders');
    const replies = Promise.all(orders.map((order) => shop.call('POST', '/v2/orders', order)));
    const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'`;
    await waitUntil('ten orders waiting', async () => (await shop.inPostgres(waiting))[0]?.['n'] === orders.length);
    const ended = shop.services.get('order')!.end('SIGTERM');
    await waitUntil('the service taking no connection', () =>
      fetch(shop.serviceUrl('order')).then(
        () => false,
        () => true,
      ),
    );
    await lock.query('ROLLBACK');
    await lock.end();
    expect((await replies).map(({ status }) => status)).toEqual(orders.map(() => 201));
    const { status, tookMs } = await ended;
    expect(status).toBe(0);
    expect(tookMs).toBeLessThan(1_000);
    expect(await readOrdersFromPostgres(shop.postgres.url)).toEqual(expect.arrayContaining(orders));
    await shop.startService('order');
  });

  test('a service killed with SIGKILL is felt only until it runs again', async () => {
    await shop.services.get('order')!.end('SIGKILL');
    expect(await shop.call('POST', '/v2/orders', orderOf('shop-test', 10))).toMatchObject({
      status: 503,
      body: { error: { code: 'not-sent' } },
    });
    await shop.startService('order');
    expect(await shop.call('POST', '/v2/orders', orderOf('shop-test', 10))).toMatchObject({ status: 201 });
  });

  test('no password is in a log or on a command line', () => {
    const passwords = [shop.postgres.password, shop.mongo.password, shop.redis.password];
    for (const program of [...shop.services.values(), shop.gateway]) {
      const commandLine = readFileSync(`/proc/${program.child.pid}/cmdline`, 'utf8');
      for (const password of passwords) {
        expect(program.output()).not.toContain(password);
        expect(commandLine).not.toContain(password);
      }
    }
  });

  test('a service that cannot start says which setting is wrong', async () => {
    const program = startProgram(join(shop.programs, 'lab/shop/service.js'), [], { SHOP_SERVICE: 'orders' });
    await waitUntil('the service ending', async () => program.child.exitCode !== null);
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toContain('SHOP_SERVICE is "orders"; it must be one of auth, user');
  });
});
