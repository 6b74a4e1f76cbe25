import type { CallContext } from './call';
import type { RoleChangeKind } from './runs';

/** Chapters of a role change that something of the user's own may run before or after. */
export const HOOK_POINTS = ['fence', 'promotion', 'services', 'dns', 'verification'] as const;
export type HookPoint = (typeof HOOK_POINTS)[number];
export type HookMoment = 'before' | 'after';

/** What workflows know of a hook: nothing that it is told or given. */
export interface Hook {
  readonly name: string;
  readonly roleChanges: readonly RoleChangeKind[];
  readonly moment: HookMoment;
  readonly point: HookPoint;
  /** Whose worker runs it: that of the site that takes over, or of the one that is left. */
  readonly at: 'new' | 'old';
  readonly does: 'command' | 'webhook';
  /** Of one try. */
  readonly withinSeconds: number;
  readonly attempts: number;
  /** `stop`: people decide (retry, skip, abort). `continue`: it is told, and nothing waits. */
  readonly onFailure: 'stop' | 'continue';
  /** Whether something takes it back where the run turns back. */
  readonly undoes: boolean;
}

/** What it is called with, as JSON. The same again after a failure or a crash. */
export interface HookCall {
  readonly hook: string;
  readonly action: 'run' | 'undo';
  readonly application: string;
  readonly kind: RoleChangeKind;
  readonly from: string;
  readonly to: string;
  readonly epoch: number;
  /** Of the workflow: one role change has one. */
  readonly runId: string;
}

export interface Hooks {
  /**
   * Resolves when it has succeeded, with its last words. HookFailed (retryable) has them too; ToolMissing where there is no such
   * program here. Neither shows a secret that it was given.
   */
  call(call: HookCall, withinSeconds: number, ctx: CallContext): Promise<string>;
  /** Throws ToolMissing for a program that is not there, or may not be run. Calls nothing. */
  check(hook: string): Promise<void>;
}

/** In the order of the config. */
export function hooksAt(
  { hooks = [] }: { readonly hooks?: readonly Hook[] },
  kind: RoleChangeKind,
  moment: HookMoment,
  point: HookPoint,
): Hook[] {
  return hooks.filter((each) => each.moment === moment && each.point === point && each.roleChanges.includes(kind));
}
