/** A closing proof holds as it was made, and in no other way, whatever an attacker changes in it. */
import { beforeAll, describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { blsVerify } from '../crypto/bls.ts';
import { sha256 } from '../crypto/hash.ts';
import { EpochNetwork } from '../replica/testing/epoch-network.ts';
import { readClosingProof } from './closing-proof.ts';

describe('a closing proof', () => {
  const network = new EpochNetwork();
  const { serviceId } = network.newest;
  let proof: Uint8Array;
  let check: Parameters<typeof readClosingProof>[1];

  beforeAll(async () => {
    await network.until(() => network.up.every(({ machine }) => machine.hasKeyShare), 'a service key');
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    await network.untilEpoch(1);
    proof = network.replica(0).closings[0]?.proof as Uint8Array;
    const key = plainCurve.g2.decode(Buffer.from(network.replica(0).machine.serviceKey as string, 'hex'));
    check = {
      serviceId,
      isSigned(message, signature) {
        const point = plainCurve.g1.decode(signature);
        return key !== undefined && point !== undefined && blsVerify(plainCurve, key, message, point);
      },
    };
  });

  it('says who comes next and from what their DAG grows, the same at every replica', () => {
    const { epochGenesis } = network.newest;
    for (const { closings } of network.up) {
      const proven = readClosingProof(closings[0]?.proof as Uint8Array, check);
      expect(proven).toMatchObject({ ok: true, value: { epochGenesis, sharingEpoch: 1, body: { epoch: 1, f: 1 } } });
    }
  });

  it('is refused when any byte of it is another one, when it is cut, and when more stands behind it', () => {
    for (let i = 0; i < proof.length; i++) {
      const changed = Uint8Array.from(proof);
      changed[i] = (changed[i] as number) ^ 1;
      expect([i, readClosingProof(changed, check).ok]).toEqual([i, false]);
    }
    for (const length of [0, 1, 157, proof.length - 1]) {
      expect(readClosingProof(proof.subarray(0, length), check).ok).toBe(false);
    }
    expect(readClosingProof(Buffer.concat([proof, Buffer.alloc(1)]), check).ok).toBe(false);
    expect(readClosingProof(new Uint8Array(1_000_000), check).ok).toBe(false);
  });

  it('is of one service, and of a signature that is asked for last', () => {
    expect(readClosingProof(proof, { ...check, serviceId: sha256(Buffer.from('another')) })).toMatchObject({
      ok: false,
    });
    let asked = 0;
    const isSigned = (): boolean => {
      asked += 1;
      return false;
    };
    expect(readClosingProof(proof, { serviceId, isSigned })).toMatchObject({ ok: false });
    const changed = Uint8Array.from(proof);
    changed[proof.length - 1] = (changed[proof.length - 1] as number) ^ 1;
    readClosingProof(changed, { serviceId, isSigned });
    expect(asked).toBe(1);
  });
});
