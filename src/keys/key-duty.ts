/**
 * Key duties: the bytes with which replicas generate the service key, as payloads of duties in blocks.
 *
 * A dealing is the encoding of `crypto/verifiable-sharing.ts` itself. The other three name the dealing they are about by
 * its dealer and by the digest of that encoding. Everything is canonical: what is said twice has the same bytes.
 */
import { type Digest, sha256 } from '../crypto/hash.ts';
import { encodeScalar, scalarSizeBytes } from '../crypto/scalar.ts';
import type { Membership } from '../membership/membership.ts';
import type { Duty } from '../wire/block.ts';
import { domains } from '../wire/domain.ts';
import { dutyKinds } from '../wire/duty.ts';
import { type Decoded, decode, type Reader } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';

/** One dealing: there is one a dealer, but a dealer may have sent out several. */
export interface DealingName {
  readonly dealer: number;
  /** SHA-256 of the encoded dealing. */
  readonly digest: Digest;
}

/** Bytes of the name of a dealing. */
export const dealingNameSizeBytes = 34;

export type KeyDuty =
  | { readonly kind: 'dealing'; readonly encoded: Uint8Array }
  | { readonly kind: 'response'; readonly about: DealingName }
  /** `encoded` is for `crypto/verifiable-sharing.ts` to take apart. */
  | { readonly kind: 'complaint'; readonly about: DealingName; readonly encoded: Uint8Array }
  /** `evaluation` is 32 bytes, not yet known to be a reduced scalar. */
  | { readonly kind: 'opening'; readonly about: DealingName; readonly evaluation: Uint8Array };

export function nameOfDealing(dealer: number, encodedDealing: Uint8Array): DealingName {
  return { dealer, digest: sha256(encodedDealing) };
}

/** What a dealing, its proofs and its ciphertexts are bound to: nothing of it is of use for another dealer or epoch. */
export function dealingContext(
  { serviceId, epoch }: Pick<Membership, 'serviceId' | 'epoch'>,
  dealer: number,
): Uint8Array {
  return new Writer(80).fixed(domains.dealing).digest(serviceId).u32(epoch).u16(dealer).finish();
}

/** The same of a resharing: between no other sharings, and to no other holders. */
export function resharedContext(
  about: Pick<Membership, 'serviceId' | 'epoch'> & {
    /** Of the transcript whose key shares are dealt on. */
    readonly source: Digest;
    /** Of those who are to hold them. */
    readonly target: Digest;
  },
  dealer: number,
): Uint8Array {
  const { serviceId, epoch, source, target } = about;
  const named = new Writer(160).fixed(domains.dealing).digest(serviceId).u32(epoch).u16(dealer);
  return named.digest(source).digest(target).finish();
}

/** How much higher the kinds of the next sharing's duties are than those of the present one's. */
const nextKindOffset = dutyKinds.nextDealing - dutyKinds.dealing;

/** A duty about the present sharing as one about the next. */
export function asNextDuty({ kind, payload }: Duty): Duty {
  return { kind: kind + nextKindOffset, payload };
}

/** A duty about the next sharing as one about the present; undefined when it is none. */
export function asPresentDuty({ kind, payload }: Duty): Duty | undefined {
  const isNext = kind >= dutyKinds.nextDealing && kind <= dutyKinds.nextOpening;
  return isNext ? { kind: kind - nextKindOffset, payload } : undefined;
}

export function dealingDuty(encodedDealing: Uint8Array): Duty {
  return { kind: dutyKinds.dealing, payload: encodedDealing };
}

export function responseDuty(about: DealingName): Duty {
  return { kind: dutyKinds.response, payload: nameInto(new Writer(dealingNameSizeBytes), about).finish() };
}

export function complaintDuty(about: DealingName, encodedComplaint: Uint8Array): Duty {
  return { kind: dutyKinds.complaint, payload: nameInto(new Writer(160), about).fixed(encodedComplaint).finish() };
}

export function openingDuty(about: DealingName, evaluation: bigint): Duty {
  return { kind: dutyKinds.opening, payload: nameInto(new Writer(66), about).fixed(encodeScalar(evaluation)).finish() };
}

/** Takes apart a duty of key generation; undefined for one of another kind. */
export function decodeKeyDuty({ kind, payload }: Duty): Decoded<KeyDuty> | undefined {
  switch (kind) {
    case dutyKinds.dealing:
      return { ok: true, value: { kind: 'dealing', encoded: payload } };
    case dutyKinds.response:
      return decode(payload, (reader) => ({ kind: 'response', about: readName(reader) }));
    case dutyKinds.complaint:
      return decode(payload, (reader) => ({
        kind: 'complaint',
        about: readName(reader),
        encoded: reader.fixed(reader.left, 'complaint'),
      }));
    case dutyKinds.opening:
      return decode(payload, (reader) => ({
        kind: 'opening',
        about: readName(reader),
        evaluation: reader.fixed(scalarSizeBytes, 'evaluation'),
      }));
    default:
      return undefined;
  }
}

function nameInto(writer: Writer, { dealer, digest }: DealingName): Writer {
  return writer.u16(dealer).digest(digest);
}

function readName(reader: Reader): DealingName {
  return { dealer: reader.u16('dealer'), digest: reader.digest('dealing') };
}
