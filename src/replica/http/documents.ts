/**
 * Documents: what the HTTP interface hands out for anyone to check, as `coterie verify` and `coterie/verify` read it.
 *
 * All binary is lower-case hex. The formats are normative in docs/protocol/certification.md.
 */
import type { CertifiedHead } from '../../wire/client-message.ts';
import type { Head } from '../../wire/head.ts';
import type { Submitted } from './backend.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');

function headOf({ serviceId, epoch, commitIndex, logSize, logRoot, stateDigest, timestamp }: Head): Head {
  return { serviceId, epoch, commitIndex, logSize, logRoot, stateDigest, timestamp };
}

export function certifiedReplyDocument(
  request: Uint8Array,
  submitted: Extract<Submitted, { readonly kind: 'certified' }>,
): Readonly<Record<string, unknown>> {
  const { result, commitIndex, leafIndex, inclusionPath, certifiedHead } = submitted;
  return {
    coterie: 'certified reply',
    version: 1,
    request: hex(request),
    result: hex(result),
    commitIndex,
    leafIndex,
    inclusionPath,
    head: headOf(certifiedHead.head),
    signature: hex(certifiedHead.signature),
  };
}

export function certifiedHeadDocument({ head, signature }: CertifiedHead): Readonly<Record<string, unknown>> {
  return { coterie: 'certified head', version: 1, head: headOf(head), signature: hex(signature) };
}

export function certifiedMembershipDocument(membership: {
  readonly encoded: Uint8Array;
  readonly signature: Uint8Array;
}): Readonly<Record<string, unknown>> {
  const { encoded, signature } = membership;
  return { coterie: 'certified membership', version: 1, statement: hex(encoded), signature: hex(signature) };
}
