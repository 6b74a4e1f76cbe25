import { Refusal } from '../json-server';
import type { ServiceContext, ShopService } from './index';
import { fieldsOf } from './request-fields';

export interface Product {
  _id: string;
  name: string;
  category: string;
  priceCents: number;
  description: string;
}

export interface Review {
  /** Chosen by the client, so that a repeated review is the same review. */
  _id: string;
  sku: string;
  rating: number;
  text: string;
}

const LARGEST_PAGE = 100;

/** The catalogue and its reviews, in MongoDB. A review is acknowledged when a majority of the members has it. */
export function productService({ stores }: ServiceContext): ShopService {
  const product = async (sku: string) => {
    const found = await stores.mongodb((db) => db.collection<Product>('products').findOne({ _id: sku }));
    if (!found) throw new Refusal(404, 'not-found', `product ${sku} does not exist`);
    return presented(found);
  };
  return {
    uses: { mongodb: 'write' },
    routes: [
      {
        method: 'GET',
        path: '/v2/products',
        async handle({ query }) {
          const limit = fieldsOf({ limit: Number(query.get('limit') ?? 20) }).integer('limit', 1, LARGEST_PAGE);
          const products = await stores.mongodb((db) =>
            db.collection<Product>('products').find().sort({ _id: 1 }).limit(limit).toArray(),
          );
          return { status: 200, body: { products: products.map(presented) } };
        },
      },
      {
        method: 'GET',
        path: '/v2/products/:sku',
        handle: async ({ params: { sku = '' } }) => ({ status: 200, body: await product(sku) }),
      },
      {
        method: 'GET',
        path: '/v2/products/:sku/reviews',
        async handle({ params: { sku = '' } }) {
          const reviews = await stores.mongodb((db) =>
            db.collection<Review>('reviews').find({ sku }).sort({ _id: 1 }).limit(LARGEST_PAGE).toArray(),
          );
          return { status: 200, body: { reviews: reviews.map(({ _id, ...review }) => ({ id: _id, ...review })) } };
        },
      },
      {
        method: 'POST',
        path: '/v2/products/:sku/reviews',
        async handle({ params: { sku = '' }, body }) {
          const fields = fieldsOf(body);
          const id = fields.uuid('id');
          const review: Omit<Review, '_id'> = {
            sku,
            rating: fields.integer('rating', 1, 5),
            text: fields.text('text', 2_000),
          };
          await product(sku);
          const { upsertedCount } = await stores.mongodb((db) =>
            db.collection<Review>('reviews').updateOne({ _id: id }, { $setOnInsert: review }, { upsert: true }),
          );
          return { status: upsertedCount === 1 ? 201 : 200, body: { id } };
        },
      },
    ],
  };
}

function presented({ _id, ...product }: Product): object {
  return { sku: _id, ...product };
}
