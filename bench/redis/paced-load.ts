import Redis from 'ioredis';
import { pacedCommands } from './load';

/** Prints how many commands a second it came to. */
async function main(): Promise<void> {
  const { REDIS_HOST: host = '', REDIS_PORT: port, REDIS_PASSWORD: password = '' } = process.env;
  const { PER_SECOND: perSecond, SECONDS: seconds } = process.env;
  const client = new Redis({ host, port: Number(port), password });
  const load = { perSecond: Number(perSecond), seconds: Number(seconds) };
  process.stdout.write(JSON.stringify({ perSecond: await pacedCommands(client, load) }));
  client.disconnect();
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
