/**
 * Key progress: how far a sharing is, for people.
 */
import { sizeOfSet } from '../membership/membership.ts';
import type { Qualification } from './qualification.ts';
import type { Sharing } from './sharing.ts';

export interface KeyProgress {
  /** Well-formed dealings so far. */
  readonly dealt: number;
  /** `ok` from holders so far, for all dealings together. */
  readonly responses: number;
  /** Dealings that were shown to be wrong before they were qualified. */
  readonly disqualified: number;
  readonly qualified: number;
  /** Qualified dealings that make the key. */
  readonly needed: number;
  /** There is a transcript. */
  readonly isComplete: boolean;
}

export function progressOf({ dealingsNeeded }: Sharing, qualification: Qualification): KeyProgress {
  const dealings = [...qualification.dealings];
  return {
    dealt: dealings.length,
    responses: dealings.reduce((sum, { confirmedBy }) => sum + sizeOfSet(confirmedBy), 0),
    disqualified: dealings.filter(({ status }) => status === 'disqualified').length,
    qualified: qualification.qualified.length,
    needed: dealingsNeeded,
    isComplete: qualification.isSettled,
  };
}
