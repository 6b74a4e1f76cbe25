/** A request that the supervisor refuses, with the HTTP status that says why. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: 400 | 401 | 404 | 409 | 422, message: string) {
    super(message);
    this.status = status;
  }
}
