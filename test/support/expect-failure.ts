import { ApplicationFailure } from '@temporalio/common';
import { findFailure } from '../../core/errors';
import type { FailureCode } from '../../core/failure-classes';

/** The call has to fail with this code, thrown as such; a failure of another kind is thrown on, with its own stack. */
export async function expectFailure(call: Promise<unknown>, code: FailureCode, says = ''): Promise<ApplicationFailure> {
  const error: unknown = await call.then(
    (value) => Promise.reject(new Error(`expected ${code}, got ${JSON.stringify(value)}`)),
    (thrown: unknown) => thrown,
  );
  const found = findFailure(error);
  if (!found || !(error instanceof ApplicationFailure)) throw error;
  expect({ code: found.code, message: found.message }).toEqual({
    code,
    message: expect.stringContaining(says) as string,
  });
  return error;
}
