/**
 * Transcript: what key generation came to: which dealings made the service key, and what follows from them for each holder.
 *
 * It holds no secret, and is the same on every replica byte for byte. An auditor who has the membership and the dealings
 * checks that the service key is theirs; that these dealings were the qualified ones, the log of blocks shows.
 */
import type { G2Point, PairingCurve } from '../crypto/curve.ts';
import { type Dealing, decodeDealing } from '../crypto/dealing.ts';
import { commitmentAt } from '../crypto/feldman.ts';
import { type Digest, digestSizeBytes, sha256 } from '../crypto/hash.ts';
import { isWellFormedDealing } from '../crypto/verifiable-sharing.ts';
import type { Membership } from '../membership/membership.ts';
import { serviceKeySizeBytes } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import { type Decoded, decode, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { holderKeysOf } from './holder-keys.ts';
import { dealingContext, nameOfDealing } from './key-duty.ts';

export interface Transcript {
  readonly serviceId: Digest;
  readonly epoch: number;
  /** Signature shares that make a signature of the service: f + 1. */
  readonly threshold: number;
  /** Whose dealings were qualified, as many as the threshold, ascending. */
  readonly dealers: readonly number[];
  /** Of the encoded dealings, in the order of `dealers`. */
  readonly dealingDigests: readonly Digest[];
  /** 96 bytes. */
  readonly serviceKey: Uint8Array;
  /** What the signature shares of each holder are checked with, 96 bytes each. */
  readonly verificationKeys: readonly Uint8Array[];
}

export const transcriptVersion = 1;

/** A qualified dealing with its name. */
export interface QualifiedDealing {
  readonly dealer: number;
  readonly digest: Digest;
  readonly dealing: Dealing;
}

/** What follows from the qualified dealings, in whatever order they are given. */
export function transcriptOf(
  curve: PairingCurve,
  { serviceId, epoch, rule }: Membership,
  qualified: readonly QualifiedDealing[],
): Transcript {
  const { g2 } = curve;
  const threshold = rule.f + 1;
  const sorted = [...qualified].sort((a, b) => a.dealer - b.dealer);
  // The key shares are the evaluations of the sum of the polynomials, and these are its commitments.
  const commitments = Array.from({ length: threshold }, (_, power) =>
    sorted.reduce((sum, { dealing }) => g2.add(sum, dealing.commitments[power] as G2Point), g2.zero),
  );
  return {
    serviceId,
    epoch,
    threshold,
    dealers: sorted.map(({ dealer }) => dealer),
    dealingDigests: sorted.map(({ digest }) => digest),
    serviceKey: g2.encode(commitments[0] as G2Point),
    verificationKeys: Array.from({ length: rule.n }, (_, holder) =>
      g2.encode(commitmentAt(curve, commitments, holder)),
    ),
  };
}

export function encodeTranscript(transcript: Transcript): Uint8Array {
  const { serviceId, epoch, threshold, dealers, dealingDigests, serviceKey, verificationKeys } = transcript;
  if (dealers.length !== dealingDigests.length) throw new RangeError('a transcript has one digest a dealer');
  const writer = new Writer(4_096).u8(transcriptVersion).digest(serviceId).u32(epoch).u16(threshold);
  writer.u16(dealers.length);
  dealers.forEach((dealer, i) => {
    writer.u16(dealer).digest(dealingDigests[i] as Digest);
  });
  writer.fixed(serviceKey, serviceKeySizeBytes).u16(verificationKeys.length);
  for (const key of verificationKeys) writer.fixed(key, serviceKeySizeBytes);
  return writer.finish();
}

/** Checks the form alone. */
export function decodeTranscript(bytes: Uint8Array): Decoded<Transcript> {
  return decode(bytes, (reader) => {
    const version = reader.u8('version');
    if (version !== transcriptVersion) throw new WireError(`version: ${version} is unknown`);
    const serviceId = reader.digest('service id');
    const epoch = reader.u32('epoch');
    const threshold = reader.u16('threshold');
    const dealers: number[] = [];
    const dealingDigests: Digest[] = [];
    const dealerCount = reader.count(reader.u16('dealers'), limits.replicasMax, 2 + digestSizeBytes, 'dealers');
    for (let i = 0; i < dealerCount; i++) {
      dealers.push(reader.u16('dealer'));
      dealingDigests.push(reader.digest('dealing'));
    }
    const serviceKey = reader.fixed(serviceKeySizeBytes, 'service key');
    const announced = reader.u16('verification keys');
    const keyCount = reader.count(announced, limits.replicasMax, serviceKeySizeBytes, 'verification keys');
    const verificationKeys = Array.from({ length: keyCount }, () =>
      reader.fixed(serviceKeySizeBytes, 'verification key'),
    );
    return { serviceId, epoch, threshold, dealers, dealingDigests, serviceKey, verificationKeys };
  });
}

export function transcriptDigest(transcript: Transcript): Digest {
  return sha256(encodeTranscript(transcript));
}

export type TranscriptVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/**
 * Do these dealings, encoded and in the order of the transcript's dealers, make this key in this membership? The reason
 * begins with the name of the field that is wrong.
 */
export function verifyTranscript({
  curve,
  membership,
  transcript,
  dealings,
}: {
  readonly curve: PairingCurve;
  readonly membership: Membership;
  readonly transcript: Transcript;
  readonly dealings: readonly Uint8Array[];
}): TranscriptVerdict {
  const fault = faultOfNames(membership, transcript);
  if (fault !== undefined) return { ok: false, reason: fault };
  if (dealings.length !== transcript.dealers.length) return { ok: false, reason: 'dealings: not one for each dealer' };
  const { rule } = membership;
  const { threshold } = transcript;
  const holderKeys = holderKeysOf(curve, membership);
  const qualified: QualifiedDealing[] = [];
  for (const [i, encoded] of dealings.entries()) {
    const dealer = transcript.dealers[i] as number;
    const name = nameOfDealing(dealer, encoded);
    if (name.digest !== transcript.dealingDigests[i]) {
      return { ok: false, reason: `dealingDigests: not that of the dealing of replica ${dealer}` };
    }
    const dealing = decodeDealing(curve, encoded, { threshold, holders: rule.n });
    const context = dealingContext(membership, dealer);
    if (dealing === undefined || !isWellFormedDealing({ curve, context, threshold, holderKeys, dealing })) {
      return { ok: false, reason: `dealers: the dealing is no dealing of replica ${dealer}` };
    }
    qualified.push({ ...name, dealing });
  }
  const expected = transcriptOf(curve, membership, qualified);
  if (!areEqual(transcript.serviceKey, expected.serviceKey)) {
    return { ok: false, reason: 'serviceKey: not the sum of the dealings' };
  }
  const { verificationKeys } = transcript;
  const wrong = expected.verificationKeys.findIndex((key, holder) => !areEqual(key, verificationKeys[holder]));
  if (wrong !== -1 || verificationKeys.length !== rule.n) {
    const which = wrong === -1 ? 'more than there are replicas' : `that of replica ${wrong} does not follow`;
    return { ok: false, reason: `verificationKeys: ${which}` };
  }
  return { ok: true };
}

function faultOfNames({ serviceId, epoch, rule }: Membership, transcript: Transcript): string | undefined {
  const { dealers } = transcript;
  if (transcript.serviceId !== serviceId) return 'serviceId: of another service';
  if (transcript.epoch !== epoch) return `epoch: ${transcript.epoch}, not ${epoch}`;
  if (transcript.threshold !== rule.f + 1) return `threshold: ${transcript.threshold}, not f + 1`;
  if (dealers.length !== transcript.threshold) return 'dealers: not as many as the threshold';
  if (transcript.dealingDigests.length !== dealers.length) return 'dealingDigests: not one for each dealer';
  const isAscending = dealers.every((dealer, i) => i === 0 || dealer > (dealers[i - 1] as number));
  const areReplicas = dealers.every((dealer) => Number.isSafeInteger(dealer) && dealer >= 0 && dealer < rule.n);
  return isAscending && areReplicas ? undefined : 'dealers: not replicas of this membership, ascending';
}

function areEqual(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}
