/**
 * Transcript: what key generation or a resharing came to: which dealings made the sharing, and what follows from them for each
 * holder.
 *
 * It holds no secret, and is the same on every replica byte for byte. An auditor who has the memberships, the transcript
 * before and the dealings checks that the service key is theirs; that these dealings were the qualified ones, the log of
 * blocks shows.
 */
import type { G2Point } from '../crypto/curve.ts';
import { type Dealing, decodeDealing } from '../crypto/dealing.ts';
import { commitmentAt } from '../crypto/feldman.ts';
import { type Digest, digestSizeBytes, sha256 } from '../crypto/hash.ts';
import { isWellFormedDealing } from '../crypto/verifiable-sharing.ts';
import { serviceKeySizeBytes } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import { type Decoded, decode, type Reader, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { nameOfDealing } from './key-duty.ts';
import { type Sharing, sharesRightSecret, weightsOf } from './sharing.ts';

export interface Transcript {
  readonly serviceId: Digest;
  /** In which the key shares are used. */
  readonly epoch: number;
  /** Of the sharing whose key shares were dealt on; undefined when the key was made by these dealings. */
  readonly sourceEpoch: number | undefined;
  /** Signature shares that make a signature of the service: f + 1. */
  readonly threshold: number;
  /** Whose dealings were qualified, f + 1 for the f of the dealers, ascending. Of a resharing: indexes in the epoch before. */
  readonly dealers: readonly number[];
  /** Of the encoded dealings, in the order of `dealers`. */
  readonly dealingDigests: readonly Digest[];
  /** 96 bytes. */
  readonly serviceKey: Uint8Array;
  /** What the signature shares of each holder are checked with, 96 bytes each. */
  readonly verificationKeys: readonly Uint8Array[];
}

export const transcriptVersion = 2;

const origins = { generation: 0, resharing: 1 } as const;

/** A qualified dealing with its name. */
export interface QualifiedDealing {
  readonly dealer: number;
  readonly digest: Digest;
  readonly dealing: Dealing;
}

/** What follows from the qualified dealings, in whatever order they are given. */
export function transcriptOf(sharing: Sharing, qualified: readonly QualifiedDealing[]): Transcript {
  const { curve, serviceId, epoch, sourceEpoch, threshold, holderKeys } = sharing;
  const { g2 } = curve;
  const sorted = [...qualified].sort((a, b) => a.dealer - b.dealer);
  const dealers = sorted.map(({ dealer }) => dealer);
  const weights = weightsOf(sharing, dealers);
  // The key shares are the evaluations of the weighted sum of the polynomials, and these are its commitments.
  const commitments = Array.from({ length: threshold }, (_, power) => {
    const points = sorted.map(({ dealing }) => dealing.commitments[power] as G2Point);
    return g2.sumOfProducts(points, weights);
  });
  const serviceKey = g2.encode(commitments[0] as G2Point);
  if (sharing.serviceKey !== undefined && !areEqual(serviceKey, sharing.serviceKey)) {
    throw new Error('invariant: a resharing came to another service key');
  }
  return {
    serviceId,
    epoch,
    sourceEpoch,
    threshold,
    dealers,
    dealingDigests: sorted.map(({ digest }) => digest),
    serviceKey,
    verificationKeys: holderKeys.map((_, holder) => g2.encode(commitmentAt(curve, commitments, holder))),
  };
}

export function encodeTranscript(transcript: Transcript): Uint8Array {
  const { serviceId, epoch, sourceEpoch, threshold, dealers, dealingDigests, serviceKey, verificationKeys } =
    transcript;
  if (dealers.length !== dealingDigests.length) throw new RangeError('a transcript has one digest a dealer');
  const writer = new Writer(4_096).u8(transcriptVersion).digest(serviceId).u32(epoch);
  if (sourceEpoch === undefined) writer.u8(origins.generation);
  else writer.u8(origins.resharing).u32(sourceEpoch);
  writer.u16(threshold).u16(dealers.length);
  dealers.forEach((dealer, i) => {
    writer.u16(dealer).digest(dealingDigests[i] as Digest);
  });
  writer.fixed(serviceKey, serviceKeySizeBytes).u16(verificationKeys.length);
  for (const key of verificationKeys) writer.fixed(key, serviceKeySizeBytes);
  return writer.finish();
}

/** Checks the form alone. */
export function decodeTranscript(bytes: Uint8Array): Decoded<Transcript> {
  return decode(bytes, readTranscript);
}

/** A transcript within something larger. */
export function readTranscript(reader: Reader): Transcript {
  const version = reader.u8('version');
  if (version !== transcriptVersion) throw new WireError(`version: ${version} is unknown`);
  const serviceId = reader.digest('service id');
  const epoch = reader.u32('epoch');
  const sourceEpoch = readSourceEpoch(reader);
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
  return { serviceId, epoch, sourceEpoch, threshold, dealers, dealingDigests, serviceKey, verificationKeys };
}

function readSourceEpoch(reader: Reader): number | undefined {
  const origin = reader.u8('origin');
  if (origin === origins.generation) return undefined;
  if (origin !== origins.resharing) throw new WireError(`origin: ${origin} is unknown`);
  return reader.u32('source epoch');
}

export function transcriptDigest(transcript: Transcript): Digest {
  return sha256(encodeTranscript(transcript));
}

export type TranscriptVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/**
 * Do these dealings, encoded and in the order of the transcript's dealers, make this key in this sharing? The reason
 * begins with the name of the field that is wrong.
 */
export function verifyTranscript({
  sharing,
  transcript,
  dealings,
}: {
  /** `generationOf` the membership, or `resharingOf` the transcript before and the membership. */
  readonly sharing: Sharing;
  readonly transcript: Transcript;
  readonly dealings: readonly Uint8Array[];
}): TranscriptVerdict {
  const fault = faultOfNames(sharing, transcript);
  if (fault !== undefined) return { ok: false, reason: fault };
  if (dealings.length !== transcript.dealers.length) return { ok: false, reason: 'dealings: not one for each dealer' };
  const { curve, threshold, holderKeys } = sharing;
  const qualified: QualifiedDealing[] = [];
  for (const [i, encoded] of dealings.entries()) {
    const dealer = transcript.dealers[i] as number;
    const name = nameOfDealing(dealer, encoded);
    if (name.digest !== transcript.dealingDigests[i]) {
      return { ok: false, reason: `dealingDigests: not that of the dealing of replica ${dealer}` };
    }
    const dealing = decodeDealing(curve, encoded, { threshold, holders: holderKeys.length });
    const context = sharing.contextOf(dealer);
    if (dealing === undefined || !isWellFormedDealing({ curve, context, threshold, holderKeys, dealing })) {
      return { ok: false, reason: `dealers: the dealing is no dealing of replica ${dealer}` };
    }
    if (!sharesRightSecret(sharing, dealer, dealing)) {
      return { ok: false, reason: `dealers: the dealing is not of the key share of replica ${dealer}` };
    }
    qualified.push({ ...name, dealing });
  }
  const expected = transcriptOf(sharing, qualified);
  if (!areEqual(transcript.serviceKey, expected.serviceKey)) {
    return { ok: false, reason: 'serviceKey: not the sum of the dealings' };
  }
  const { verificationKeys } = transcript;
  const wrong = expected.verificationKeys.findIndex((key, holder) => !areEqual(key, verificationKeys[holder]));
  if (wrong !== -1 || verificationKeys.length !== holderKeys.length) {
    const which = wrong === -1 ? 'more than there are replicas' : `that of replica ${wrong} does not follow`;
    return { ok: false, reason: `verificationKeys: ${which}` };
  }
  return { ok: true };
}

function faultOfNames(sharing: Sharing, transcript: Transcript): string | undefined {
  const { dealers, sourceEpoch } = transcript;
  if (transcript.serviceId !== sharing.serviceId) return 'serviceId: of another service';
  if (transcript.epoch !== sharing.epoch) return `epoch: ${transcript.epoch}, not ${sharing.epoch}`;
  if (sourceEpoch !== sharing.sourceEpoch) return 'sourceEpoch: made of another sharing';
  if (transcript.threshold !== sharing.threshold) return `threshold: ${transcript.threshold}, not f + 1`;
  if (dealers.length !== sharing.dealingsNeeded) return 'dealers: not as many as are needed';
  if (transcript.dealingDigests.length !== dealers.length) return 'dealingDigests: not one for each dealer';
  const isAscending = dealers.every((dealer, i) => i === 0 || dealer > (dealers[i - 1] as number));
  const areReplicas = dealers.every((each) => Number.isSafeInteger(each) && each >= 0 && each < sharing.dealerCount);
  return isAscending && areReplicas ? undefined : 'dealers: not replicas of this membership, ascending';
}

function areEqual(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}
