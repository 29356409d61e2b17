/**
 * Remembering primitives: noble's, each signature checked once, so that a test may look at one document a thousand times.
 */
import { noblePrimitives } from '../noble-primitives.ts';
import type { VerifyPrimitives } from '../primitives.ts';

export function rememberingPrimitives(): VerifyPrimitives {
  const known = new Map<string, boolean>();
  const once = (name: string, parts: readonly Uint8Array[], ask: () => boolean): boolean => {
    const id = [name, ...parts.map((part) => Buffer.from(part).toString('hex'))].join(' ');
    const answer = known.get(id) ?? ask();
    known.set(id, answer);
    return answer;
  };
  return {
    sha256: noblePrimitives.sha256,
    isServiceKey: (key) => once('key', [key], () => noblePrimitives.isServiceKey(key)),
    verifyServiceSignature: (...parts) =>
      once('service', parts, () => noblePrimitives.verifyServiceSignature(...parts)),
    verifyClientSignature: (...parts) => once('client', parts, () => noblePrimitives.verifyClientSignature(...parts)),
  };
}
