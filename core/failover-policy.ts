import type { FailoverPolicy } from './application';

/** Why a person may not approve this role change; null when they may. */
export function whyNotApprover(by: string, requestedBy: string, policy: FailoverPolicy): string | null {
  if (policy.approvers.length > 0 && !policy.approvers.includes(by)) {
    return `${by} is not an approver; approvers are ${policy.approvers.join(', ')}`;
  }
  if (!policy.requesterMayApprove && by === requestedBy) {
    return `${by} asked for this failover and may not approve it as well`;
  }
  return null;
}
