/**
 * Taken duties: those that changed what is agreed, in the order of commits: with them another replica gets to where this one
 * is. At most one dealing of each dealer, and one response, complaint and opening of each holder for each dealing.
 */
import { complaintSizeBytes } from '../crypto/complaint.ts';
import type { PairingCurve } from '../crypto/curve.ts';
import type { Duty } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import { dealingNameSizeBytes } from './key-duty.ts';

/** A duty that changed what is agreed, and who posted it. */
export interface TakenKeyDuty {
  readonly author: number;
  readonly duty: Duty;
}

/** A copy: the payload is a view of its block. Of a complaint that is too long one byte too many does, and is refused as well. */
export function takenDuty(curve: PairingCurve, author: number, { kind, payload }: Duty): TakenKeyDuty {
  const isComplaint = kind === dutyKinds.complaint || kind === dutyKinds.nextComplaint;
  const end = isComplaint ? dealingNameSizeBytes + complaintSizeBytes(curve) + 1 : payload.length;
  return { author, duty: { kind, payload: Uint8Array.from(payload.subarray(0, end)) } };
}
