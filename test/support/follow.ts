import { Context } from '@temporalio/activity';

/** Follows as the real archiver and watch do for ten minutes: until it is cancelled, or its worker stops. */
export async function follow(): Promise<never> {
  const beat = setInterval(() => Context.current().heartbeat(), 300);
  try {
    return await Context.current().cancelled;
  } finally {
    clearInterval(beat);
  }
}
