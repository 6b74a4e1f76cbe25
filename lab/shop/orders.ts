/** MongoDB's database of the shop, whatever database a URL names for its login. */
export const SHOP_DATABASE = 'ultramarket';

export interface OrderItem {
  sku: string;
  quantity: number;
  priceCents: number;
}

/** What a customer ordered: the content that every store must agree on. */
export interface OrderContent {
  /** A UUID that the client chose: placing the same order again is the same order. */
  id: string;
  customer: string;
  items: OrderItem[];
  amountCents: number;
}

/** The document in MongoDB's `order_events`. */
export interface OrderEvent extends Omit<OrderContent, 'id'> {
  _id: string;
  type: 'order.placed';
  site: string;
  recordedAt: Date;
}

/** The SKU of the n-th seeded product (from 1). */
export function seededSku(n: number): string {
  return `SKU-${String(n).padStart(6, '0')}`;
}
