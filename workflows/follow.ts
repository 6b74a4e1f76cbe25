import { CancellationScope, condition, defineSignal, isCancellation, setHandler } from '@temporalio/workflow';
import { commands, type MoveTo } from '../core/runs';

export const moveToSignal = defineSignal<[MoveTo]>(commands.moveTo);

/**
 * The part that the two entity workflows share: where they work now, and how a role change moves them. `round` runs one
 * long activity; a move cancels it, because the site it runs at may be gone for ever and would never answer.
 */
export class Following {
  private wanted: MoveTo | null = null;
  private scope: CancellationScope | null = null;

  constructor() {
    setHandler(moveToSignal, (move) => {
      if (this.wanted && move.epoch <= this.wanted.epoch) return;
      this.wanted = move;
      this.scope?.cancel();
    });
  }

  /** Runs one round; null when a move ended it. */
  async round<T>(work: () => Promise<T>): Promise<T | null> {
    const before = this.wanted;
    const scope = new CancellationScope();
    this.scope = scope;
    try {
      return await scope.run(work);
    } catch (error) {
      if (isCancellation(error) && this.wanted !== before) return null;
      throw error;
    } finally {
      this.scope = null;
    }
  }

  /** Waits, but not longer than until the next move. */
  async pause(duration: string): Promise<void> {
    const before = this.wanted;
    await condition(() => this.wanted !== before, duration as '1 second');
  }
}
