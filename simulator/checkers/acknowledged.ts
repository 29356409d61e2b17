/**
 * Acknowledged: a request whose result a client accepted is in the agreed sequence, and every correct replica has it.
 */
import type { Acknowledged } from '../history.ts';
import type { ExecutionChecker } from './execution.ts';
import type { Report } from './violation.ts';

/** `commitIndexes` is how far each correct replica has come, at the end of the run. */
export function checkAcknowledged(
  acknowledged: readonly Acknowledged[],
  execution: Pick<ExecutionChecker, 'commitOf'>,
  commitIndexes: ReadonlyMap<number, number>,
  report: Report,
): void {
  for (const { request, requestDigest, event } of acknowledged) {
    const index = execution.commitOf(requestDigest);
    if (index === undefined) {
      report('acknowledged', `${request} was acknowledged and is in no commit`, event);
      continue;
    }
    for (const [replica, reached] of commitIndexes) {
      if (reached >= index) continue;
      report(
        'acknowledged',
        `${request} of commit ${index} was acknowledged; r${replica} is at commit ${reached}`,
        event,
      );
    }
  }
}
