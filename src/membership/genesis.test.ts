import { describe, expect, it } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { type Genesis, serviceIdOf } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import {
  defaultCheckpointIntervalMs,
  defaultHeadIntervalMs,
  defaultParameters,
  firstMembership,
  largestF,
  parameterFault,
  parametersFor,
} from './genesis.ts';

function genesisOf(n: number, changes: Partial<Genesis> = {}): Genesis {
  return {
    version: 4,
    name: 'test',
    service: 'kv',
    created: 1_700_000_000_000,
    f: 1,
    k: 0,
    parameters: defaultParameters,
    headIntervalMs: defaultHeadIntervalMs,
    checkpointIntervalMs: defaultCheckpointIntervalMs,
    epochIntervalMs: 0,
    successorWaitMs: 30_000,
    administrators: { approvals: 0, keys: [] },
    replicas: Array.from({ length: n }, (_, i) => ({
      replicaId: `r${i}`,
      signingKey: signingKeyFromSeed(Buffer.alloc(32, i + 1)).publicKey.text,
      linkKeyDigest: sha256(Buffer.from([i])),
      encryptionKey: Buffer.alloc(48, i + 1).toString('hex'),
      recovery: 'awareness' as const,
      identityKey: undefined,
      peerAddress: { host: '127.0.0.1', port: 7400 + i },
      clientAddress: { host: '127.0.0.1', port: 7500 + i },
      httpAddress: { host: '127.0.0.1', port: 7600 + i },
    })),
    ...changes,
  };
}

describe('the first membership', () => {
  it('is epoch 0, grows from the service id, and lists the replicas in the order of the genesis', () => {
    const genesis = genesisOf(6, { k: 1 });
    const membership = firstMembership(genesis);
    const serviceId = serviceIdOf(genesis);
    expect(membership).toMatchObject({
      ok: true,
      value: {
        epoch: 0,
        serviceId,
        epochGenesis: serviceId,
        sharingEpoch: 0,
        genesisTimestamp: genesis.created,
        headIntervalMs: 10,
        checkpointIntervalMs: 10_000,
        parameters: defaultParameters,
        rule: { n: 6, f: 1, k: 1 },
      },
    });
    if (!membership.ok) return;
    expect(membership.value.members.map(({ replicaId }) => replicaId)).toEqual(['r0', 'r1', 'r2', 'r3', 'r4', 'r5']);
    for (const [i, { signingKey, ...member }] of membership.value.members.entries()) {
      const { keysSince, cleanSince, identityKey, ...rest } = member;
      const stated = { ...rest, signingKey: signingKey.text, identityKey: identityKey?.text };
      expect(stated).toEqual(genesis.replicas[i]);
      // What a cluster is born with is as fresh as it.
      expect([keysSince, cleanSince]).toEqual(Array(2).fill({ epoch: 0, timestamp: genesis.created }));
    }
  });

  it.each([
    {
      what: 'too few replicas',
      genesis: genesisOf(3),
      reason: /n is 3, but f = 1 and k = 0 need at least 3f \+ 2k \+ 1 = 4/,
    },
    { what: 'too few for k', genesis: genesisOf(5, { k: 1 }), reason: /need at least 3f \+ 2k \+ 1 = 6/ },
    { what: 'no fault tolerated', genesis: genesisOf(4, { f: 0 }), reason: /f must be at least 1/ },
    {
      what: 'a period shorter than a wave',
      genesis: genesisOf(4, { parameters: { ...defaultParameters, period: 4 } }),
      reason: /parameters\.period: 4, but it must be from 5/,
    },
    {
      what: 'more leaders than replicas',
      genesis: genesisOf(4, { parameters: { ...defaultParameters, ranks: 5 } }),
      reason: /parameters\.ranks: 5, but it must be from 1 to 4/,
    },
    {
      what: 'a horizon too near',
      genesis: genesisOf(4, { parameters: { ...defaultParameters, pruneDepth: 31 } }),
      reason: /parameters\.pruneDepth: 31, but it must be from 32 to 16384 \(at least 4 periods\)/,
    },
    {
      what: 'more rounds than a checkpoint can name the blocks of',
      genesis: genesisOf(4, { parameters: { ...defaultParameters, pruneDepth: limits.checkpointBlocksMax / 8 + 1 } }),
      reason: /parameters\.pruneDepth: 16385, but it must be from 32 to 16384/,
    },
  ])('is refused for $what', ({ genesis, reason }) => {
    expect(firstMembership(genesis)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
  });
});

describe('parameters', () => {
  it('of a new cluster suit every size', () => {
    for (let n = 4; n <= 31; n++) expect(parameterFault(defaultParameters, n)).toBeUndefined();
  });

  it('must be whole numbers', () => {
    for (const odd of [Number.NaN, 8.5, Number.POSITIVE_INFINITY, -8]) {
      for (const name of ['period', 'ranks', 'pruneDepth'] as const) {
        expect(parameterFault({ ...defaultParameters, [name]: odd }, 4)).toContain(`parameters.${name}`);
      }
    }
  });
});

describe('the parameters of fewer or more replicas', () => {
  it('are those of the genesis as far as they are allowed, and always allowed', () => {
    const wide = { period: 8, ranks: 31, pruneDepth: 2_114 };
    expect(parameterFault(wide, 31)).toBeUndefined();
    for (let n = 4; n <= 31; n++) {
      expect(parameterFault(parametersFor(wide, n), n)).toBeUndefined();
      expect(parametersFor(defaultParameters, n)).toEqual(defaultParameters);
      const deep = { period: 8, ranks: 4, pruneDepth: 16_384 };
      expect(parameterFault(deep, 4)).toBeUndefined();
      expect(parameterFault(parametersFor(deep, n), n)).toBeUndefined();
    }
  });

  it('keep a period that is too long for many replicas, and the depth that it needs', () => {
    const slow = { period: 1_024, ranks: 4, pruneDepth: 4_096 };
    for (const n of [4, 31]) expect(parametersFor(slow, n)).toEqual(slow);
  });
});

describe('the largest f', () => {
  it('is the last one for which n suffices', () => {
    for (let n = 1; n <= 31; n++) {
      for (let k = 0; k <= 8; k++) {
        const f = largestF(n, k);
        expect(3 * f + 2 * k + 1).toBeLessThanOrEqual(n);
        expect(3 * (f + 1) + 2 * k + 1).toBeGreaterThan(n);
      }
    }
  });
});
