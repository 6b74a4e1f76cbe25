import { isDeepStrictEqual } from 'node:util';
import type { PoolClient } from 'pg';
import { Refusal } from '../json-server';
import type { OrderContent, OrderEvent, OrderItem } from '../orders';
import type { ServiceContext, ShopService } from './index';
import { fieldsOf } from './request-fields';

const MOST_ITEMS = 50;
/** The list of recent orders is a cache for the shop's front page. */
const RECENT_ORDERS = 1_000;

/**
 * Orders: PostgreSQL has the truth, MongoDB an event for each, Redis the recent ones and a counter.
 *
 * 201 means that PostgreSQL has committed and that a majority of MongoDB's members has the event; 200 the same for an
 * order placed before. Any other answer leaves it open, and repeating the same order completes whatever is missing.
 */
export function orderService({ site, stores }: ServiceContext): ShopService {
  return {
    uses: { postgresql: 'write', mongodb: 'write', redis: 'write' },
    routes: [
      {
        method: 'POST',
        path: '/v2/orders',
        async handle({ body }) {
          const order = orderOf(body);
          const { created, committedAt } = await stores.transaction(
            (client) => insertOrder(client, order, site),
            async (client, inserted) => ({ created: inserted, committedAt: await serverTime(client) }),
          );
          // Also for a repeated order: the first attempt may have ended between the two stores.
          await stores.mongodb((db) =>
            db
              .collection<OrderEvent>('order_events')
              .updateOne({ _id: order.id }, { $setOnInsert: orderEvent(order, site) }, { upsert: true }),
          );
          await stores.redis(async (redis) => {
            const recent = redis.multi().zadd('shop:orders:recent', 'NX', Date.parse(committedAt), order.id);
            recent.zremrangebyrank('shop:orders:recent', 0, -RECENT_ORDERS - 1);
            if (created) recent.incr('shop:orders:placed');
            const replies = (await recent.exec()) ?? [];
            for (const [error] of replies) if (error) throw error;
          });
          return { status: created ? 201 : 200, body: { id: order.id, committedAt, site } };
        },
      },
      {
        method: 'GET',
        path: '/v2/orders/:id',
        async handle({ params }) {
          const id = fieldsOf(params, 'the path').uuid('id');
          const order = await stores.postgresql((pool) => findOrder(pool, id));
          if (!order) throw new Refusal(404, 'not-found', `order ${id} does not exist`);
          return { status: 200, body: order };
        },
      },
    ],
  };
}

function orderOf(body: unknown): OrderContent {
  const fields = fieldsOf(body);
  return {
    id: fields.uuid('id'),
    customer: fields.text('customer'),
    items: fields.list('items', MOST_ITEMS).map((entry, index) => {
      const item = fieldsOf(entry, `items[${index}]`);
      return {
        sku: item.text('sku'),
        quantity: item.integer('quantity', 1),
        priceCents: item.integer('priceCents', 0),
      };
    }),
    amountCents: fields.integer('amountCents', 0),
  };
}

function orderEvent({ customer, items, amountCents }: OrderContent, site: string): Omit<OrderEvent, '_id'> {
  return { type: 'order.placed', customer, items, amountCents, site, recordedAt: new Date() };
}

/** True when the order is new, false when exactly this order exists already; 409 when another one has its id. */
async function insertOrder(client: PoolClient, order: OrderContent, site: string): Promise<boolean> {
  const { rowCount } = await client.query(
    `INSERT INTO orders (id, customer, amount_cents, site) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
    [order.id, order.customer, order.amountCents, site],
  );
  if (rowCount === 1) {
    await client.query(
      `INSERT INTO order_items (order_id, line, sku, quantity, price_cents)
       SELECT $1, line, sku, quantity, price_cents
       FROM unnest($2::text[], $3::int[], $4::int[]) WITH ORDINALITY AS item (sku, quantity, price_cents, line)`,
      [
        order.id,
        order.items.map((item) => item.sku),
        order.items.map((item) => item.quantity),
        order.items.map((item) => item.priceCents),
      ],
    );
    return true;
  }
  if (!isDeepStrictEqual(await findOrder(client, order.id), order)) {
    throw new Refusal(409, 'id-taken', `order ${order.id} exists with another content; nothing was changed`);
  }
  return false;
}

async function findOrder(client: Pick<PoolClient, 'query'>, id: string): Promise<OrderContent | undefined> {
  const { rows } = await client.query<{ customer: string; amount_cents: number; items: OrderItem[] }>(
    `SELECT o.customer, o.amount_cents,
            (SELECT coalesce(json_agg(json_build_object('sku', i.sku, 'quantity', i.quantity, 'priceCents', i.price_cents)
                                      ORDER BY i.line), '[]')
             FROM order_items i WHERE i.order_id = o.id) AS items
     FROM orders o WHERE o.id = $1`,
    [id],
  );
  const row = rows[0];
  return row && { id, customer: row.customer, items: row.items, amountCents: row.amount_cents };
}

/** The server's clock after the commit, in microseconds: the order was committed at this time or before it. */
async function serverTime(client: PoolClient): Promise<string> {
  const { rows } = await client.query<{ at: string }>(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`,
  );
  const at = rows[0]?.at;
  if (!at) throw new Error('PostgreSQL did not tell its time');
  return at;
}
