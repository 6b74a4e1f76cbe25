import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { createSchema } from '../../lab/shop/schema';
import { SERVICE_NAMES, type ServiceName } from '../../lab/shop/service-names';
import { answersWith, buildPrograms, startProgram, type Program } from './lab-programs';
import { startMongoReplicaSet, startPostgres, startRedis } from './servers';

/** A whole site of the shop on real stores: six services and the gateway, each a process. */
export async function startShopSite() {
  const built = buildPrograms();
  const folder = mkdtempSync(join(tmpdir(), 'drctl-shop-'));
  const [postgres, mongo, redis, host] = await Promise.all([
    startPostgres(),
    startMongoReplicaSet(),
    startRedis(),
    freeLoopbackHost(8080),
  ]);
  writeFileSync(join(folder, 'mongo.url'), `${mongo.url}\n`, { mode: 0o600 });
  const upstreamsFile = join(folder, 'upstreams.json');
  const gatewayUrl = `http://${host}:8080`;
  const services = new Map<ServiceName, Program>();
  const portOf = (service: ServiceName) => 8101 + SERVICE_NAMES.indexOf(service);
  const serviceUrl = (service: ServiceName) => `http://${host}:${portOf(service)}`;
  /** As the supervisor does it. */
  const writeUpstreams = (upstreams: object) => {
    writeFileSync(`${upstreamsFile}.new`, JSON.stringify(upstreams));
    renameSync(`${upstreamsFile}.new`, upstreamsFile);
  };
  const allUpstreams = () => Object.fromEntries(SERVICE_NAMES.map((name) => [name, [`${host}:${portOf(name)}`]]));
  const storesEnv = {
    SHOP_PG_URL: postgres.url,
    SHOP_MONGO_URL_FILE: join(folder, 'mongo.url'),
    SHOP_REDIS_URL: redis.url,
  };

  const startService = async (service: ServiceName) => {
    const place = { SHOP_SERVICE: service, SHOP_SITE: 'primary', SHOP_HOST: host, SHOP_PORT: String(portOf(service)) };
    services.set(service, startProgram(join(built.folder, 'lab/shop/service.js'), [], { ...place, ...storesEnv }));
    await answersWith(200, `${serviceUrl(service)}/health`);
  };

  const call = async (method: string, path: string, body?: unknown, base = gatewayUrl) => {
    const response = await fetch(`${base}${path}`, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: { 'content-type': 'application/json', connection: 'close' },
    });
    return { status: response.status, site: response.headers.get('x-site'), body: (await response.json()) as never };
  };

  /** Runs the statements one by one on a connection of their own; returns the rows of the last. */
  const runInPostgres = async (...statements: string[]): Promise<Array<Record<string, unknown>>> =>
    inPostgres(postgres.url, async (client) => {
      let rows: Array<Record<string, unknown>> = [];
      for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows;
      return rows;
    });

  // Twice at once and once again: safe to repeat is part of what it promises.
  const create = () => createSchema(postgres.url, mongo.url, redis.url, { products: 40, users: 5 });
  await Promise.all([create(), create()]);
  await create();
  await Promise.all(SERVICE_NAMES.map(startService));
  writeUpstreams(allUpstreams());
  const gateway = startProgram(join(built.folder, 'lab/shop/gateway.js'), [], {
    GATEWAY_HOST: host,
    GATEWAY_PORT: '8080',
    GATEWAY_UPSTREAMS_FILE: upstreamsFile,
  });
  await answersWith(200, `${gatewayUrl}/health`);

  const stop = async () => {
    await Promise.all([...services.values(), gateway].map((program) => program.end('SIGKILL')));
    await Promise.all([postgres.stop(), mongo.stop(), redis.stop()]);
    built.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    ...{
      postgres,
      mongo,
      redis,
      host,
      programs: built.folder,
      services,
      gateway,
      gatewayUrl,
      upstreamsFile,
      storesEnv,
    },
    ...{ portOf, serviceUrl, startService, allUpstreams, writeUpstreams, call, inPostgres: runInPostgres, stop },
  };
}

export type ShopSite = Awaited<ReturnType<typeof startShopSite>>;
