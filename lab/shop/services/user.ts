import { Refusal } from '../json-server';
import type { ServiceContext, ShopService } from './index';
import { fieldsOf } from './request-fields';

interface UserRow {
  id: number;
  email: string;
  full_name: string;
  city: string;
}

/** Profiles, in PostgreSQL. */
export function userService({ stores }: ServiceContext): ShopService {
  const reply = (rows: UserRow[], id: string) => {
    const user = rows[0];
    if (!user) throw new Refusal(404, 'not-found', `user ${id} does not exist`);
    return { status: 200, body: { id: user.id, email: user.email, fullName: user.full_name, city: user.city } };
  };
  return {
    uses: { postgresql: 'write' },
    routes: [
      {
        method: 'GET',
        path: '/v2/users/:id',
        async handle({ params: { id = '' } }) {
          const { rows } = await stores.postgresql((pool) =>
            pool.query<UserRow>('SELECT id, email, full_name, city FROM users WHERE id = $1', [userId(id)]),
          );
          return reply(rows, id);
        },
      },
      {
        method: 'PUT',
        path: '/v2/users/:id',
        async handle({ params: { id = '' }, body }) {
          const fields = fieldsOf(body);
          const { rows } = await stores.postgresql((pool) =>
            pool.query<UserRow>(
              'UPDATE users SET full_name = $2, city = $3 WHERE id = $1 RETURNING id, email, full_name, city',
              [userId(id), fields.text('fullName'), fields.text('city')],
            ),
          );
          return reply(rows, id);
        },
      },
    ],
  };
}

function userId(id: string): number {
  return fieldsOf({ id: Number(id) }).integer('id', 1);
}
