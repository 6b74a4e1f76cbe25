/**
 * A sweep deletes only under a claim: one small object in the repository, written before it looks at who reads, and removed when all
 * that it deleted after that look was answered. Who begins to read waits for claims that may not have seen it. Of a sweep that died
 * the claim stays behind, so that it counts for a short time only. These times, in milliseconds, keep a sweep that is slow and not
 * dead from deleting what somebody reads who has stopped waiting for it: it begins nothing and waits for nothing any more long before.
 */

/** From the writing of the claim: what was decided under it is deleted within this, or decided anew. */
export const BEGIN_WITHIN_MILLISECONDS = 20_000;
/** From the writing of the claim: a deletion that was not answered by then is given up, its connection closed. */
export const GIVEN_UP_AFTER_MILLISECONDS = 40_000;
/** From the writing of the claim, by the repository's clock: whose claim it is has died. The difference is for what is on its way. */
export const BELIEVED_MILLISECONDS = 60_000;
