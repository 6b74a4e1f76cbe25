import { Refusal } from '../json-server';
import type { ServiceContext, ShopService } from './index';
import { fieldsOf } from './request-fields';

interface PaymentRow {
  id: string;
  order_id: string;
  amount_cents: number;
  method: string;
}

/** Payments, in PostgreSQL; the client chooses the id, so a repeated payment is taken once. */
export function paymentService({ stores }: ServiceContext): ShopService {
  const find = async (id: string) => {
    const { rows } = await stores.postgresql((pool) =>
      pool.query<PaymentRow>('SELECT id, order_id, amount_cents, method FROM payments WHERE id = $1', [id]),
    );
    return rows[0];
  };
  return {
    uses: { postgresql: 'write' },
    routes: [
      {
        method: 'POST',
        path: '/v2/payments',
        async handle({ body }) {
          const fields = fieldsOf(body);
          const id = fields.uuid('id');
          const payment = [id, fields.uuid('orderId'), fields.integer('amountCents', 0), fields.text('method', 40)];
          const { rowCount } = await stores.postgresql((pool) =>
            pool.query(
              `INSERT INTO payments (id, order_id, amount_cents, method) VALUES ($1, $2, $3, $4)
               ON CONFLICT (id) DO NOTHING`,
              payment,
            ),
          );
          if (rowCount === 1) return { status: 201, body: { id } };
          const taken = await find(id);
          if (
            !taken ||
            taken.order_id !== payment[1] ||
            taken.amount_cents !== payment[2] ||
            taken.method !== payment[3]
          ) {
            throw new Refusal(409, 'id-taken', `payment ${id} exists with another content; nothing was changed`);
          }
          return { status: 200, body: { id } };
        },
      },
      {
        method: 'GET',
        path: '/v2/payments/:id',
        async handle({ params }) {
          const id = fieldsOf(params, 'the path').uuid('id');
          const row = await find(id);
          if (!row) throw new Refusal(404, 'not-found', `payment ${id} does not exist`);
          return {
            status: 200,
            body: { id, orderId: row.order_id, amountCents: row.amount_cents, method: row.method },
          };
        },
      },
    ],
  };
}
