import { addressPlan } from '../sites/address-plan';
import type { LabBuild } from '../sites/build';
import { type LabDescription, LabSecrets } from '../sites/lab-folder';
import { supervisorOf } from '../lab';

/** Addresses and secrets of a lab that is up, for whoever plays its people and its accidents. */
export type LabAccess = LabBuild;

export function accessTo(lab: LabDescription): LabAccess {
  return {
    folder: lab.folder,
    plan: addressPlan(lab.network),
    secrets: new LabSecrets(lab.folder),
    supervisor: supervisorOf(lab),
    kubernetes: lab.kubernetes === true,
    progress: () => {},
  };
}
