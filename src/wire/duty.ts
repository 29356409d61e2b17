/**
 * Duties: the kinds of what a replica owes the protocol, carried in its blocks (`wire/block.ts`).
 *
 * The payload of each is its own affair: key generation's in `keys/`, the coin share's here. A duty of an unknown kind, or
 * one whose payload says nothing, is ignored by all alike; it does not make its block invalid.
 */
import { type Decoded, decode } from './reader.ts';
import { Writer } from './writer.ts';

export const dutyKinds = {
  /** Key generation: commitments to a polynomial and its encrypted evaluations. */
  dealing: 1,
  /** Key generation: this holder's evaluation of a dealing is right. */
  response: 2,
  /** Key generation: this holder's evaluation of a dealing is wrong, with a proof. */
  complaint: 3,
  /** Key generation: this holder's evaluation of a dealing whose dealer is provably faulty. */
  opening: 4,
  /** A share of the coin of a period. It is no work: no round is made for its sake. */
  coinShare: 5,
  /** Somebody waits for a certified reply at the author: a head is due sooner. The payload is a number, so that no two are alike. */
  headWish: 6,
  /** Resharing: as the first four, of the next epoch's sharing. */
  nextDealing: 7,
  nextResponse: 8,
  nextComplaint: 9,
  nextOpening: 10,
} as const;

/** Bytes of a signature of the service, and of a share of one: a compressed point of G1. */
export const serviceSignatureSizeBytes = 48;
/** Bytes of a public key of the service, and of a verification key: a compressed point of G2. */
export const serviceKeySizeBytes = 96;
/** Bytes of a key that dealings are encrypted to: a compressed point of G1. */
export const encryptionKeySizeBytes = 48;

export interface CoinShare {
  /** w, from 1. */
  readonly period: number;
  readonly share: Uint8Array;
}

export function encodeCoinShare({ period, share }: CoinShare): Uint8Array {
  return new Writer(56).u64(period).fixed(share, serviceSignatureSizeBytes).finish();
}

export function decodeCoinShare(payload: Uint8Array): Decoded<CoinShare> {
  return decode(payload, (reader) => ({
    period: reader.u64('period'),
    share: reader.fixed(serviceSignatureSizeBytes, 'share'),
  }));
}

export function encodeHeadWish(number: number): Uint8Array {
  return new Writer(8).u64(number).finish();
}

export function decodeHeadWish(payload: Uint8Array): Decoded<number> {
  return decode(payload, (reader) => reader.u64('number'));
}
