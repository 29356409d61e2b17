/** Shows that a closing proof which a disk has damaged is shown to nobody, and told of once; and that a whole one is shown. */
import pino from 'pino';
import { beforeAll, describe, expect, it } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { blsVerify } from '../crypto/bls.ts';
import type { EpochRecord } from '../storage/epoch-files.ts';
import { closedEpoch, type ProofContext } from './proven-epoch.ts';
import { ShownProof } from './shown-proof.ts';
import { EpochNetwork } from './testing/epoch-network.ts';

describe('the closing proof of a home', () => {
  const network = new EpochNetwork();
  let context: ProofContext;
  let record: EpochRecord;

  beforeAll(async () => {
    await network.until(() => network.up.every(({ machine }) => machine.hasKeyShare), 'a service key');
    await network.outcomeOf(network.approve({ kind: 'advance' }));
    await network.untilEpoch(1);
    const key = plainCurve.g2.decode(Buffer.from(network.replica(0).machine.serviceKey as string, 'hex'));
    context = {
      serviceId: network.newest.serviceId,
      isSigned(message, signature) {
        const point = plainCurve.g1.decode(signature);
        return key !== undefined && point !== undefined && blsVerify(plainCurve, key, message, point);
      },
    };
    record = closedEpoch(network.replica(0).closings[0]?.proof as Uint8Array, context) as EpochRecord;
  });

  function shown(hasServiceKey = (): boolean => true): { readonly proof: ShownProof; readonly said: string[] } {
    const said: string[] = [];
    const logger = pino({ hooks: { logMethod: (args) => said.push(String(args.at(-1))) } });
    return { proof: new ShownProof({ context, hasServiceKey, logger }), said };
  }

  it('is shown when it is whole', () => {
    const { proof, said } = shown();
    expect(proof.of(record)).toEqual(record.closingProof);
    expect(proof.of({ ...record, closingProof: undefined })).toBeUndefined();
    expect(proof.of(undefined)).toBeUndefined();
    expect(said).toEqual([]);
  });

  it('is shown to nobody when any part of it is damaged, and told of once', () => {
    const whole = record.closingProof as Uint8Array;
    for (const at of [0, 40, Math.floor(whole.length / 2), whole.length - 1]) {
      const { proof, said } = shown();
      const damaged = { ...record, closingProof: Uint8Array.from(whole, (byte, i) => (i === at ? byte ^ 4 : byte)) };
      expect(proof.of(damaged)).toBeUndefined();
      expect(proof.of(damaged)).toBeUndefined();
      expect(said).toHaveLength(1);
      expect(said[0]).toContain('is damaged');
    }
  });

  it('is had again from another replica that shows a whole one, and asked for now and then until then', () => {
    const whole = record.closingProof as Uint8Array;
    const damaged = { ...record, closingProof: whole.subarray(1) };
    const { proof } = shown();
    expect(proof.isWanted(0)).toBe(false);
    expect(proof.of(damaged)).toBeUndefined();
    const times = [0, 1_000, 4_999, 5_000, 6_000];
    expect(times.map((nowMs) => proof.isWanted(nowMs))).toEqual([true, false, false, true, false]);
    proof.take({ ...record, closingProof: undefined });
    proof.take({ ...record, statement: { ...record.statement, epochGenesis: record.statement.serviceId } });
    expect(proof.of(damaged)).toBeUndefined();
    proof.take(record);
    expect(proof.of(damaged)).toEqual(whole);
    expect(proof.isWanted(60_000)).toBe(false);
  });

  it('is none of another epoch', () => {
    const { proof } = shown();
    expect(proof.of({ ...record, statement: { ...record.statement, epoch: 2 } })).toBeUndefined();
  });

  it('is not judged before the service key is there', () => {
    let isThere = false;
    const { proof, said } = shown(() => isThere);
    expect(proof.of(record)).toBeUndefined();
    expect(said).toEqual([]);
    isThere = true;
    expect(proof.of(record)).toEqual(record.closingProof);
  });
});
