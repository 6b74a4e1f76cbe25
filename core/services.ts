import type { CallContext } from './call';
import type { Capacity } from './capacity';

export interface ServiceState {
  readonly site: string;
  readonly service: string;
  readonly desiredReplicas: number;
  readonly readyReplicas: number;
  /**
   * True when the counts belong to the newest desired state (Kubernetes: observedGeneration ≥ generation), and of a service
   * scaled to zero when nothing of it runs any more, as far as its controller can say.
   */
  readonly settled: boolean;
}

/** What runs the application's services at its sites: Kubernetes Deployments, or processes on a laptop. */
export interface ServiceController {
  readonly kind: string;
  /** Throws NotFound for an unknown service, TargetUnreachable (retryable), AccessDenied. */
  state(site: string, service: string, ctx: CallContext): Promise<ServiceState>;
  /** Sets the number of replicas and returns at once; repeatable. */
  scale(site: string, service: string, replicas: number, ctx: CallContext): Promise<ServiceState>;
  /**
   * Throws what `scale` would meet (no such service, no right to scale it, nobody who answers), as far as that can be found
   * out without scaling; answers the state as it is.
   */
  rehearse(site: string, service: string, replicas: number, ctx: CallContext): Promise<ServiceState>;
  /**
   * Whether the site has room for so many replicas of each besides what runs there, as far as it can be counted. Changes
   * nothing. Left out by controllers that cannot say.
   */
  capacity?(
    site: string,
    wanted: readonly { readonly name: string; readonly replicas: number }[],
    ctx: CallContext,
  ): Promise<Capacity>;
}

/** Whether at least so many serve. That something (an autoscaler) wants more by now is no reason to wait for those. */
export function isReady(state: ServiceState, replicas: number): boolean {
  return state.settled && state.desiredReplicas >= replicas && state.readyReplicas >= replicas;
}
