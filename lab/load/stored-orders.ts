import { inPostgres } from '../servers/postgresql-client';
import type { OrderContent, OrderEvent, OrderItem } from '../shop/orders';
import { inMongo } from '../shop/schema';

/**
 * All orders of a PostgreSQL server, from one snapshot of `orders` and `order_items`. Items without an order appear as an
 * order without a customer, so that a comparison shows them. The server may be read-only or in recovery.
 */
export function readOrdersFromPostgres(url: string): Promise<OrderContent[]> {
  return inPostgres(url, async (client) => {
    const { rows } = await client.query<{ id: string; customer: string; amount_cents: number; items: OrderItem[] }>(
      `SELECT coalesce(o.id, i.order_id) AS id, coalesce(o.customer, '') AS customer,
              coalesce(o.amount_cents, -1) AS amount_cents, coalesce(i.items, '[]') AS items
       FROM orders o
       FULL JOIN (SELECT order_id, json_agg(json_build_object('sku', sku, 'quantity', quantity, 'priceCents', price_cents)
                                            ORDER BY line) AS items
                  FROM order_items GROUP BY order_id) i ON i.order_id = o.id`,
    );
    return rows.map(({ id, customer, items, amount_cents }) => ({ id, customer, items, amountCents: amount_cents }));
  });
}

/** The orders that the events of a MongoDB server or replica set tell of. The URL decides which members may answer. */
export function readOrderEventsFromMongo(url: string): Promise<OrderContent[]> {
  return inMongo(url, async (db) => {
    const events = await db.collection<OrderEvent>('order_events').find().toArray();
    return events.map(({ _id, customer, items, amountCents }) => ({ id: _id, customer, items, amountCents }));
  });
}
