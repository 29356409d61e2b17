/**
 * Check head: did the service sign this head, and does one head go on from another?
 *
 * In: what was read, and the primitives. Throws a `Refusal` when the answer is no.
 * Trust: with the service key alone, at most f of the replicas faulty, a head that passes is the log as a correct replica
 * had it. That two heads are of one log is shown by a consistency proof only.
 */
import { domains } from '../wire/domain.ts';
import { encodeHead, type Head } from '../wire/head.ts';
import { bytesOfHex } from './hex.ts';
import { isContinued } from './merkle-proof.ts';
import type { VerifyPrimitives } from './primitives.ts';
import { demand } from './refusal.ts';

/** Throws unless these bytes may be a service key. */
export function checkServiceKey(serviceKey: Uint8Array, primitives: VerifyPrimitives): void {
  demand(primitives.isServiceKey(serviceKey), 'service-key', 'the service key is not a point that can be one');
}

/** Throws unless the service signed the head. The service key has been checked. */
export function checkHead(
  { head, signature }: { readonly head: Head; readonly signature: Uint8Array },
  serviceKey: Uint8Array,
  primitives: VerifyPrimitives,
): void {
  const message = statementMessage(domains.head, encodeHead(head), primitives);
  const isSigned = primitives.verifyServiceSignature(serviceKey, message, signature);
  demand(isSigned, 'signature', 'the service did not sign this head');
}

/** What the service signs: a domain tag, and the digest of the statement. */
export function statementMessage(tag: Uint8Array, statement: Uint8Array, primitives: VerifyPrimitives): Uint8Array {
  const digest = primitives.sha256(statement);
  const message = new Uint8Array(tag.length + digest.length);
  message.set(tag);
  message.set(digest, tag.length);
  return message;
}

/**
 * Throws unless the log of `second` goes on from that of `first`, which has no more leaves. Both heads are the service's
 * own, or this says nothing.
 */
export function checkConsistency(
  first: Head,
  second: Head,
  path: readonly Uint8Array[],
  { sha256 }: Pick<VerifyPrimitives, 'sha256'>,
): void {
  const isOneService = first.serviceId === second.serviceId;
  demand(isOneService, 'consistency', 'the heads are of different services');
  demand(first.logSize <= second.logSize, 'consistency', 'the log has become shorter');
  const isForward =
    first.epoch <= second.epoch && first.commitIndex <= second.commitIndex && first.timestamp <= second.timestamp;
  demand(isForward, 'consistency', 'from one head to the other the epoch, commit index or time went back');
  const isContinuation = isContinued(sha256, {
    firstSize: first.logSize,
    firstRoot: bytesOfHex(first.logRoot),
    secondSize: second.logSize,
    secondRoot: bytesOfHex(second.logRoot),
    path,
  });
  demand(isContinuation, 'consistency', 'the proof does not show that the later log goes on from the earlier one');
  if (first.commitIndex !== second.commitIndex) return;
  const isSameState = first.stateRoot === second.stateRoot && first.checkpoint === second.checkpoint;
  const isEqual = isSameState && first.logSize === second.logSize && first.timestamp === second.timestamp;
  demand(isEqual, 'consistency', 'two different heads are of one commit');
}
