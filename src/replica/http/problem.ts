/**
 * Problem: why the HTTP interface did not do what was asked: a status, a code for programs, a sentence and a hint for people.
 */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  /** Ask again after so many seconds. */
  readonly retryAfterSeconds?: number | undefined;
}

export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Says of the caller's own words only so many again. */
const messageLengthMax = 300;

export function badRequest(message: string, hint: string): HttpProblem {
  return new HttpProblem({ status: 400, code: 'bad-request', message: message.slice(0, messageLengthMax), hint });
}

export function unavailable(code: string, message: string, hint: string): HttpProblem {
  return new HttpProblem({ status: 503, code, message, hint, retryAfterSeconds: 1 });
}
