import type { ServiceContext, ShopService } from './index';
import { fieldsOf } from './request-fields';

/** A cart nobody touches is forgotten after a day. */
const CART_SECONDS = 86_400;

/** Carts: one Redis hash a session, SKU to quantity. */
export function cartService({ stores }: ServiceContext): ShopService {
  const contents = async (session: string) => {
    const items = await stores.redis((redis) => redis.hgetall(key(session)));
    const quantities = Object.entries(items).map(([sku, quantity]) => ({ sku, quantity: Number(quantity) }));
    return { status: 200, body: { session, items: quantities } };
  };
  return {
    uses: { redis: 'write' },
    routes: [
      { method: 'GET', path: '/v2/cart/:session', handle: ({ params: { session = '' } }) => contents(session) },
      {
        method: 'PUT',
        path: '/v2/cart/:session',
        async handle({ params: { session = '' }, body }) {
          const fields = fieldsOf(body);
          const sku = fields.text('sku');
          const quantity = fields.integer('quantity', 0, 1_000);
          await stores.redis(async (redis) => {
            const change = redis.multi();
            if (quantity === 0) change.hdel(key(session), sku);
            else change.hset(key(session), sku, quantity);
            const replies = (await change.expire(key(session), CART_SECONDS).exec()) ?? [];
            for (const [error] of replies) if (error) throw error;
          });
          return contents(session);
        },
      },
      {
        method: 'DELETE',
        path: '/v2/cart/:session',
        async handle({ params: { session = '' } }) {
          await stores.redis((redis) => redis.del(key(session)));
          return contents(session);
        },
      },
    ],
  };
}

function key(session: string): string {
  return `shop:cart:${session}`;
}
