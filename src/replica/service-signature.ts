/**
 * Service signature: is this what the service signed? Asked by whoever has the service key and nobody to trust.
 *
 * In: the service key, when it is known; a message and a signature from anybody. Out: yes or no. Without the key nothing is signed.
 */
import { blsVerify } from '../crypto/bls.ts';
import { mclCurve } from '../crypto/curve-mcl.ts';

export type ServiceSignatureCheck = (message: Uint8Array, signature: Uint8Array) => boolean;

/** `serviceKey`: 192 hex characters. */
export function serviceSignatureCheck(serviceKey: () => string | undefined): ServiceSignatureCheck {
  return (message, signature) => {
    const key = mclCurve.g2.decode(Buffer.from(serviceKey() ?? '', 'hex'));
    const point = mclCurve.g1.decode(signature);
    return key !== undefined && point !== undefined && blsVerify(mclCurve, key, message, point);
  };
}
