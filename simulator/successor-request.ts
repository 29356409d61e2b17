/**
 * Successor request: how next session keys are given to the cluster: in a request that anybody may make.
 */
import type { Digest } from '../src/crypto/hash.ts';
import { encodeRequest, requestPreimage } from '../src/wire/request.ts';
import { type CertifiedSuccessor, encodeSuccessor } from '../src/wire/successor.ts';
import { encodeValue } from '../src/wire/value.ts';
import { keyOf, type Signatures } from './keys.ts';

export function successorRequest(options: {
  readonly signatures: Signatures;
  readonly serviceId: Digest;
  readonly successor: CertifiedSuccessor;
  /** 16 bytes, of the session. */
  readonly nonce: Uint8Array;
  /** Whose client key signs it. */
  readonly clerk: string;
}): Uint8Array {
  const { signatures, serviceId, successor, nonce } = options;
  const clerk = keyOf(`clerk ${options.clerk}`);
  const input = encodeValue({ successor: encodeSuccessor(successor) });
  const session = { birth: 0, nonce };
  const operations = [{ name: 'coterie.successor', input }];
  return encodeRequest({ client: clerk.publicKey.bytes, session, number: 1, acknowledged: 0, operations }, (digest) =>
    signatures.sign(clerk, requestPreimage(serviceId, digest)),
  ).bytes;
}
