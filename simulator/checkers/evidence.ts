/**
 * Evidence: nobody correct is ever accused, and nothing that a correct replica sends is refused by another.
 *
 * An equivocation by a correct replica is the worst bug there is: it breaks the assumption all agreement rests on.
 */
import type { Evidence } from '../../src/ordering/effects.ts';
import type { Report } from './violation.ts';

/** Refusals that say something about the receiver's moment, not about the sender. */
const harmless: readonly string[] = ['too far in the future'];

/** `observer` and those in `correct` are correct replicas. */
export function checkEvidence(
  observer: number,
  evidence: readonly Evidence[],
  correct: ReadonlySet<number>,
  report: Report,
): void {
  for (const each of evidence) {
    if (each.kind === 'equivocation') {
      if (!correct.has(each.author)) continue;
      report('evidence', `r${observer} has two blocks by r${each.author}, who is correct, for round ${each.round}`);
    } else if (correct.has(each.from) && !harmless.includes(each.rule)) {
      report('evidence', `r${observer} refuses what r${each.from}, who is correct, sent: ${each.rule}`);
    }
  }
}
