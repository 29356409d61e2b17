/** A certified reply is waited for only when its request was taken: who is refused leaves nothing behind. */
import { expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import { encodeRequest } from '../wire/request.ts';
import type { ReplicaEffects } from './effects.ts';
import { keyOf, Machines } from './testing/machines.ts';

const client = Buffer.from(keyOf(98).publicKey.text, 'hex');

function requestOf(number: number, sizeBytes: number): Uint8Array {
  const content = {
    client,
    session: { birth: 0, nonce: new Uint8Array(16) },
    number,
    acknowledged: 0,
    operations: [{ name: 'noop', input: new Uint8Array(sizeBytes) }],
  };
  return encodeRequest(content, () => new Uint8Array(64)).bytes;
}

it('requests that an overloaded replica refuses take no room from those it takes', () => {
  const machines = new Machines();
  machines.generateKey();
  const { nowMs } = machines;
  const machine = machines.all[0] as (typeof machines.all)[number];
  const ask = (number: number, sizeBytes: number): ReplicaEffects['refusals'] =>
    machine.step([{ kind: 'client-request', link: 7, request: requestOf(number, sizeBytes), certifyFrom: 0 }], nowMs)
      .refusals;
  let number = 1;
  // Nobody answers it any more, so nothing is ordered.
  while (ask(number, 900_000).length === 0) number += 1;
  const small = Array.from({ length: limits.certifiedWishesMax }, (_, i) => requestOf(number + 1 + i, 0));
  machine.step(
    small.map((request) => ({ kind: 'client-request', link: 7, request, certifyFrom: 0 }) as const),
    nowMs,
  );
  expect(ask(number, 900_000)).toMatchObject([{ code: 'overloaded' }]);
});
