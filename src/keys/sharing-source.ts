/**
 * Sharing source: the sharing that a resharing deals on, to whom, and its bytes.
 *
 * In: the transcript of an epoch with its holders, and who is to hold the key in the next. Out: the rules of that resharing
 * (`sharing.ts`).
 * Safety: dealings are bound to the transcript before and to the holders after: none is of use between any others.
 */
import type { PairingCurve } from '../crypto/curve.ts';
import { type Digest, sha256Of } from '../crypto/hash.ts';
import { emptySet, type Membership, type ReplicaSet, sizeOfSet, withReplica } from '../membership/membership.ts';
import { turnPlaces } from '../membership/turns.ts';
import { limits } from '../wire/limits.ts';
import { type Decoded, decode } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { holderKeysOf } from './holder-keys.ts';
import { resharedContext } from './key-duty.ts';
import type { Sharing } from './sharing.ts';
import { encodeTranscript, readTranscript, type Transcript, transcriptDigest } from './transcript.ts';

/** The sharing that is dealt on, and who holds it. */
export interface SharingSource {
  /** The holders, in order. They are the replicas of the epoch before the change. */
  readonly replicaIds: readonly string[];
  /** How many of them may be in recovery. */
  readonly k: number;
  readonly transcript: Transcript;
}

/** Who is to hold the key next. A membership body is one. */
export interface SharingTarget {
  readonly serviceId: Digest;
  readonly epoch: number;
  readonly f: number;
  readonly k: number;
  readonly replicas: readonly { readonly replicaId: string; readonly encryptionKey: string }[];
}

export function sourceOf({ members, rule }: Membership, transcript: Transcript): SharingSource {
  return { replicaIds: members.map(({ replicaId }) => replicaId), k: rule.k, transcript };
}

/** A membership as the target that it was before its epoch began. */
export function targetOf({ serviceId, epoch, rule, members }: Membership): SharingTarget {
  return { serviceId, epoch, f: rule.f, k: rule.k, replicas: members };
}

/** A later sharing. Throws a RangeError when source and target do not fit together: what is agreed does. */
export function resharingOf(curve: PairingCurve, source: SharingSource, target: SharingTarget): Sharing {
  const { transcript, replicaIds } = source;
  const { serviceId, epoch, f } = target;
  if (transcript.serviceId !== serviceId) throw new RangeError('the sharing before is of another service');
  if (transcript.epoch >= epoch) throw new RangeError(`a sharing of epoch ${transcript.epoch} is not before ${epoch}`);
  if (replicaIds.length !== transcript.verificationKeys.length)
    throw new RangeError('not one verification key a dealer');
  const constants = transcript.verificationKeys.map((encoded, dealer) => {
    const key = curve.g2.decode(encoded);
    if (key === undefined) throw new RangeError(`the verification key of dealer ${dealer} is no key`);
    return key;
  });
  const binding = { source: transcriptDigest(transcript), target: targetDigest(target) };
  const stayers = stayersOf(source, target);
  const recovering = recoveringOf(source, target);
  const { confirmations, wide } = answersNeeded(source, target, sizeOfSet(stayers));
  return {
    name: 'resharing',
    curve,
    serviceId,
    epoch,
    sourceEpoch: transcript.epoch,
    dealerCount: replicaIds.length,
    dealingsNeeded: transcript.threshold,
    holderKeys: holderKeysOf(curve, target.replicas),
    threshold: f + 1,
    constants,
    serviceKey: transcript.serviceKey,
    contextOf: (dealer) => resharedContext({ serviceId, epoch, ...binding }, dealer),
    isConfirmedBy: (holders) => sizeOfSet(holders & ~recovering) >= confirmations,
    isWideWith: (holders) => sizeOfSet(holders) >= wide,
  };
}

/** Holders that are replicas of the epoch before the change too, and so can answer before it. */
export function stayersOf({ replicaIds }: SharingSource, target: SharingTarget): ReplicaSet {
  return holdersAmong(replicaIds, target);
}

/**
 * Holders who may be made clean at any time of the change, as far as k allows for them: what they confirmed they cannot open
 * any more then, before the change. Where k is 0 they count among the faulty.
 */
function recoveringOf({ replicaIds, k }: SharingSource, target: SharingTarget): ReplicaSet {
  if (k === 0) return emptySet;
  const places = turnPlaces({ epoch: target.epoch - 1, n: replicaIds.length, k });
  return holdersAmong(
    places.flatMap((place) => replicaIds[place] ?? []),
    target,
  );
}

function holdersAmong(ids: readonly string[], { replicas }: SharingTarget): ReplicaSet {
  return replicas.reduce(
    (set, { replicaId }, holder) => (ids.includes(replicaId) ? withReplica(set, holder) : set),
    emptySet,
  );
}

/**
 * How many answers it takes, when only the holders that stay can give any. Of 2f + 1 that confirm a dealing f + 1 are
 * correct. As many as that must hold their key shares when the epoch begins, and k more, who may be in recovery then,
 * where so many answers are sure to come though the faulty are silent and k are in recovery now.
 */
function answersNeeded(
  { k, transcript }: SharingSource,
  target: SharingTarget,
  stayers: number,
): { readonly confirmations: number; readonly wide: number } {
  const confirmations = 2 * target.f + 1;
  if (stayers < confirmations) {
    throw new RangeError(
      `${stayers} replicas stay, too few to confirm a sharing among those of which ${target.f} may be faulty`,
    );
  }
  const sure = stayers - Math.min(transcript.threshold - 1, target.f) - k;
  return { confirmations, wide: Math.max(confirmations, Math.min(confirmations + target.k, sure)) };
}

/** Names the holders, their keys and how many may be faulty. */
function targetDigest({ f, k, replicas }: SharingTarget): Digest {
  const writer = new Writer(2_048).u16(f).u16(k).u16(replicas.length);
  for (const { replicaId, encryptionKey } of replicas) writer.text(replicaId).text(encryptionKey);
  return sha256Of([writer.finish()]);
}

/** With it and the duties that were taken, a replica that was not there goes on. */
export function encodeSharingSource({ replicaIds, k, transcript }: SharingSource): Uint8Array {
  const writer = new Writer(4_096).u16(k).u16(replicaIds.length);
  for (const replicaId of replicaIds) writer.text(replicaId);
  return writer.fixed(encodeTranscript(transcript)).finish();
}

/** Checks the form alone. */
export function decodeSharingSource(bytes: Uint8Array): Decoded<SharingSource> {
  return decode(bytes, (reader) => {
    const k = reader.u16('k');
    const count = reader.count(reader.u16('replicas'), limits.replicasMax, 1, 'replicas');
    const replicaIds = Array.from({ length: count }, () => reader.text(limits.replicaIdSizeBytesMax, 'replica id'));
    return { replicaIds, k, transcript: readTranscript(reader) };
  });
}
