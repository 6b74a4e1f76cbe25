import { z } from 'zod';
import { secretField, timeoutSecondsField } from '../settings-fields';

/**
 * How an AWS API is reached. Without keys the SDK's own chain is used (environment, profile, pod identity, instance
 * role), which is what a deployment on AWS wants; `endpoint` is for emulators and VPC endpoints.
 */
export const awsAccessFields = {
  region: z.string().min(1).default('us-east-1'),
  endpoint: z.url({ protocol: /^https?$/ }).optional(),
  accessKeyId: secretField.optional(),
  secretAccessKey: secretField.optional(),
  timeoutSeconds: timeoutSecondsField(10),
};

const awsAccess = z.strictObject(awsAccessFields);

export type AwsAccess = z.output<typeof awsAccess>;
