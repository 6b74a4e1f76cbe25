import { randomBytes } from 'node:crypto';
import { Refusal } from '../json-server';
import { passwordMatches } from '../passwords';
import type { ServiceContext, ShopService } from './index';
import { fieldsOf } from './request-fields';

const SESSION_SECONDS = 3_600;

/** Logs users in: accounts in PostgreSQL, sessions in Redis. */
export function authService({ site, stores }: ServiceContext): ShopService {
  return {
    uses: { postgresql: 'read', redis: 'write' },
    routes: [
      {
        method: 'GET',
        path: '/v2/auth/login',
        // The check of the failover runbook is a GET: it answers 200 when a login would find its accounts and sessions.
        async handle() {
          await Promise.all([
            stores.postgresql((pool) => pool.query('SELECT 1 FROM users LIMIT 1')),
            stores.redis((redis) => redis.ping()),
          ]);
          return { status: 200, body: { login: 'available', site } };
        },
      },
      {
        method: 'POST',
        path: '/v2/auth/login',
        async handle({ body }) {
          const fields = fieldsOf(body);
          const email = fields.text('email');
          const password = fields.text('password');
          const { rows } = await stores.postgresql((pool) =>
            pool.query<{ id: number; password_hash: string }>('SELECT id, password_hash FROM users WHERE email = $1', [
              email,
            ]),
          );
          const user = rows[0];
          if (!user || !(await passwordMatches(password, user.password_hash))) {
            throw new Refusal(401, 'login-refused', 'no account has this e-mail address and password');
          }
          const session = randomBytes(24).toString('base64url');
          await stores.redis((redis) => redis.set(`shop:session:${session}`, user.id, 'EX', SESSION_SECONDS));
          return { status: 200, body: { session, userId: user.id, expiresInSeconds: SESSION_SECONDS, site } };
        },
      },
    ],
  };
}
