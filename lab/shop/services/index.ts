import type { StoreUse } from '../health';
import type { Route } from '../json-server';
import type { ServiceName } from '../service-names';
import type { StoreName, Stores } from '../stores';
import { authService } from './auth';
import { cartService } from './cart';
import { orderService } from './order';
import { paymentService } from './payment';
import { productService } from './product';
import { userService } from './user';

/** What a service is: the stores it uses, and how, and the requests it answers. */
export interface ShopService {
  uses: Partial<Record<StoreName, StoreUse>>;
  routes: Route[];
}

export interface ServiceContext {
  site: string;
  stores: Stores;
}

export const SHOP_SERVICES: Record<ServiceName, (context: ServiceContext) => ShopService> = {
  auth: authService,
  user: userService,
  product: productService,
  order: orderService,
  payment: paymentService,
  cart: cartService,
};
