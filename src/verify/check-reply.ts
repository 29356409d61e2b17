/**
 * Check reply: is this request with this result where the log of a certified head says it is?
 *
 * In: a request and a result as bytes, a place, and a head that `checkHead` has passed. Throws a `Refusal` when not.
 */
import { domains } from '../wire/domain.ts';
import type { Head } from '../wire/head.ts';
import { bytesOfHex } from './hex.ts';
import { isIncluded, leafHash } from './merkle-proof.ts';
import type { VerifyPrimitives } from './primitives.ts';
import type { ReadRequest } from './read-request.ts';
import { demand } from './refusal.ts';

/** Throws unless the client itself signed the request for this service. */
export function checkRequestSignature(
  { client, signedPart, signature }: ReadRequest,
  serviceId: string,
  primitives: VerifyPrimitives,
): void {
  const preimage = new Uint8Array(domains.request.length + 64);
  preimage.set(domains.request);
  preimage.set(bytesOfHex(serviceId), domains.request.length);
  preimage.set(primitives.sha256(signedPart), domains.request.length + 32);
  const isSigned = primitives.verifyClientSignature(client, preimage, signature);
  demand(isSigned, 'request', 'its client did not sign the request for this service');
}

export interface Placement {
  readonly requestDigest: Uint8Array;
  readonly result: Uint8Array;
  readonly commitIndex: number;
  readonly leafIndex: number;
  readonly inclusionPath: readonly Uint8Array[];
}

/** Throws unless the log of the head has the request with this digest, with this result, at this place. */
export function checkInclusion(
  { requestDigest, result, commitIndex, leafIndex, inclusionPath }: Placement,
  head: Head,
  { sha256 }: Pick<VerifyPrimitives, 'sha256'>,
): void {
  demand(leafIndex < head.logSize, 'inclusion', 'the log of the head does not reach the place of the request');
  const isInside = commitIndex <= head.commitIndex;
  demand(isInside, 'inclusion', 'the head is of an earlier commit than the one the request is said to be in');
  const isThere = isIncluded(sha256, {
    leaf: leafHash(sha256, { requestDigest, resultDigest: sha256(result), commitIndex }),
    leafIndex,
    logSize: head.logSize,
    path: inclusionPath,
    root: bytesOfHex(head.logRoot),
  });
  demand(isThere, 'inclusion', 'the log of the head does not have this request with this result at this place');
}
