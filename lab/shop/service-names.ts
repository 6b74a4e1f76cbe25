/** The six services of the shop and the public path that the gateway routes to each. */
export const SERVICE_PATHS = {
  auth: '/v2/auth',
  user: '/v2/users',
  product: '/v2/products',
  order: '/v2/orders',
  payment: '/v2/payments',
  cart: '/v2/cart',
} as const;

export type ServiceName = keyof typeof SERVICE_PATHS;

export const SERVICE_NAMES = Object.keys(SERVICE_PATHS) as ServiceName[];

export function isServiceName(name: string): name is ServiceName {
  return Object.hasOwn(SERVICE_PATHS, name);
}
