import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { sha256, sha256Of } from '../crypto/hash.ts';
import { domains } from './domain.ts';
import {
  encodeGenesis,
  formatAddress,
  formatGenesis,
  type Genesis,
  parseAddress,
  parseGenesis,
  serviceIdOf,
  versionOfGenesis,
} from './genesis.ts';
import { limits } from './limits.ts';

const keyOf = (seed: number) => signingKeyFromSeed(Buffer.alloc(32, seed)).publicKey.text;

const genesis: Genesis = {
  version: 4,
  name: 'A ledger',
  service: './ledger.js',
  created: 1_700_000_000_000,
  f: 1,
  k: 0,
  parameters: { period: 8, ranks: 1, pruneDepth: 64 },
  headIntervalMs: 10,
  checkpointIntervalMs: 10_000,
  epochIntervalMs: 0,
  successorWaitMs: 30_000,
  administrators: { approvals: 2, keys: [keyOf(30), keyOf(31), keyOf(32)] },
  replicas: [0, 1, 2, 3].map((i) => ({
    replicaId: `r${i}`,
    signingKey: signingKeyFromSeed(Buffer.alloc(32, i + 1)).publicKey.text,
    linkKeyDigest: sha256(Buffer.from([i])),
    encryptionKey: Buffer.alloc(48, 0x80 + i).toString('hex'),
    ...(i === 1
      ? { recovery: 'hardware' as const, identityKey: keyOf(20) }
      : { recovery: 'awareness' as const, identityKey: undefined }),
    peerAddress: { host: i === 0 ? '::1' : 'ledger.example.org', port: 7400 + i },
    clientAddress: { host: '10.0.0.1', port: 7500 + i },
    httpAddress: { host: '10.0.0.1', port: 7600 + i },
  })),
};

type Json = Record<string, unknown>;

/** The genesis as JSON, after a change. */
function changed(change: (json: Json, replica: Json) => void): string {
  const json = JSON.parse(formatGenesis(genesis)) as Json;
  change(json, (json.replicas as Json[])[2]!);
  return JSON.stringify(json);
}

describe('a genesis as JSON', () => {
  it('is read as it was written', () => {
    expect(parseGenesis(formatGenesis(genesis))).toEqual({ ok: true, value: genesis });
  });

  it('names addresses as host:port, and keys in hex', () => {
    expect(JSON.parse(formatGenesis(genesis))).toMatchObject({
      version: 4,
      headIntervalMs: 10,
      checkpointIntervalMs: 10_000,
      replicas: [
        { replicaId: 'r0', peerAddress: '[::1]:7400', clientAddress: '10.0.0.1:7500', httpAddress: '10.0.0.1:7600' },
        {},
        {},
        {},
      ],
    });
  });

  it.each<[string, string, RegExp]>([
    ['no JSON', '{', /^not JSON$/],
    ['another type', '[]', /expected object/],
    ['another version', changed((json) => (json.version = 1)), /^version: must be 4: clusters of another version/],
    ['no time between heads', changed((json) => (json.headIntervalMs = 0)), /^headIntervalMs: /],
    ['more than a minute between heads', changed((json) => (json.headIntervalMs = 60_001)), /^headIntervalMs: /],
    ['no interval of checkpoints', changed((json) => delete json.checkpointIntervalMs), /^checkpointIntervalMs: /],
    ['a negative one', changed((json) => (json.checkpointIntervalMs = -1)), /^checkpointIntervalMs: /],
    ['more than an hour', changed((json) => (json.checkpointIntervalMs = 3_600_001)), /^checkpointIntervalMs: /],
    ['a negative epoch', changed((json) => (json.epochIntervalMs = -1)), /^epochIntervalMs: /],
    ['an epoch of years', changed((json) => (json.epochIntervalMs = 31_536_000_001)), /^epochIntervalMs: /],
    ['no length of epochs', changed((json) => delete json.epochIntervalMs), /^epochIntervalMs: /],
    ['a wait too short', changed((json) => (json.successorWaitMs = 99)), /^successorWaitMs: /],
    ['a wait too long', changed((json) => (json.successorWaitMs = 3_600_001)), /^successorWaitMs: /],
    ['no administrators', changed((json) => delete json.administrators), /^administrators: /],
    [
      'more approvals than administrators',
      changed((json) => ((json.administrators as Json).approvals = 4)),
      /^administrators\.approvals: must be from 1/,
    ],
    [
      'administrators of whom none is needed',
      changed((json) => ((json.administrators as Json).approvals = 0)),
      /^administrators\.approvals: must be from 1/,
    ],
    [
      'an administrator twice',
      changed((json) => ((json.administrators as Json).keys = [keyOf(30), keyOf(31), keyOf(30)])),
      /^administrators\.keys\[2\]: the same as administrators\.keys\[0\]$/,
    ],
    [
      'an administrator who is a replica',
      changed((json) => ((json.administrators as Json).keys = [keyOf(30), keyOf(3)])),
      /^administrators\.keys\[1\]: the same as replicas\[2\]\.signingKey$/,
    ],
    [
      'a key of small order for an administrator',
      changed((json) => ((json.administrators as Json).keys = [`01${'00'.repeat(31)}`, keyOf(31)])),
      /^administrators\.keys\[0\]: must be an Ed25519/,
    ],
    [
      'too many administrators',
      changed((json) => ((json.administrators as Json).keys = Array.from({ length: 17 }, (_, i) => keyOf(40 + i)))),
      /^administrators\.keys: /,
    ],
    ['no way to recover', changed((_, replica) => delete replica.recovery), /^replicas\[2\]\.recovery: /],
    [
      'a way to recover that is none',
      changed((_, replica) => (replica.recovery = 'prayer')),
      /^replicas\[2\]\.recovery: must be one of hardware, offline, awareness/,
    ],
    [
      'an identity key that nothing is done with',
      changed((_, replica) => (replica.identityKey = keyOf(21))),
      /^replicas\[2\]\.identityKey: a replica that recovers by awareness has no identity key/,
    ],
    [
      'no identity key where one is needed',
      changed((_, replica) => (replica.recovery = 'offline')),
      /^replicas\[2\]\.identityKey: a replica that recovers by offline needs an identity key/,
    ],
    [
      'an identity key that is the signing key',
      changed((_, replica) => {
        replica.recovery = 'hardware';
        replica.identityKey = replica.signingKey;
      }),
      /^replicas\[2\]\.identityKey: the same as replicas\[2\]\.signingKey$/,
    ],
    [
      "another's identity key",
      changed((_, replica) => {
        replica.recovery = 'hardware';
        replica.identityKey = keyOf(20);
      }),
      /^replicas\[2\]\.identityKey: the same as replicas\[1\]\.identityKey$/,
    ],
    ['a field too many', changed((json) => (json.extra = 1)), /extra/],
    ["a replica's field too many", changed((_, replica) => (replica.port = 1)), /^replicas\[2\]: .*port/],
    ['a field missing', changed((json) => delete json.f), /^f: /],
    ['a negative f', changed((json) => (json.f = -1)), /^f: /],
    ['an f beyond any cluster', changed((json) => (json.f = 70_000)), /^f: /],
    ['a fraction', changed((json) => (json.k = 0.5)), /^k: /],
    ['text for a number', changed((json) => (json.created = '1')), /^created: /],
    ['a name with a line break', changed((json) => (json.name = 'a\nb')), /^name: must be 1 to 64/],
    ['an empty service', changed((json) => (json.service = '')), /^service: must be/],
    [
      'a parameter missing',
      changed((json) => (json.parameters = { period: 8, ranks: 1 })),
      /^parameters\.pruneDepth: /,
    ],
    ['no replicas', changed((json) => (json.replicas = [])), /^replicas: /],
    [
      'too many replicas',
      changed((json) => (json.replicas = new Array(32).fill((json.replicas as unknown[])[0]))),
      /^replicas: /,
    ],
    ['an id in capitals', changed((_, replica) => (replica.replicaId = 'R2')), /^replicas\[2\]\.replicaId: must be/],
    ['an id that climbs', changed((_, replica) => (replica.replicaId = '../x')), /^replicas\[2\]\.replicaId: must be/],
    [
      'a short key',
      changed((_, replica) => (replica.signingKey = 'ab')),
      /^replicas\[2\]\.signingKey: must be an Ed25519/,
    ],
    [
      'a key of small order',
      changed((_, replica) => (replica.signingKey = `01${'00'.repeat(31)}`)),
      /^replicas\[2\]\.signingKey/,
    ],
    [
      'a key in capitals',
      changed((_, replica) => (replica.signingKey = String(replica.signingKey).toUpperCase())),
      /signingKey/,
    ],
    [
      'a short digest',
      changed((_, replica) => (replica.linkKeyDigest = 'ab')),
      /^replicas\[2\]\.linkKeyDigest: must be/,
    ],
    [
      'a short encryption key',
      changed((_, replica) => (replica.encryptionKey = 'ab')),
      /^replicas\[2\]\.encryptionKey: must be a point of G1/,
    ],
    [
      'an encryption key in capitals',
      changed((_, replica) => (replica.encryptionKey = 'AB'.repeat(48))),
      /^replicas\[2\]\.encryptionKey: must be/,
    ],
    ['no HTTP address', changed((_, replica) => delete replica.httpAddress), /^replicas\[2\]\.httpAddress: /],
    [
      'an address without a port',
      changed((_, replica) => (replica.peerAddress = 'host')),
      /^replicas\[2\]\.peerAddress: must be/,
    ],
    [
      'a repeated id',
      changed((_, replica) => (replica.replicaId = 'r0')),
      /^replicas\[2\]\.replicaId: the same as replicas\[0\]/,
    ],
    [
      'a repeated key',
      changed((_, replica) => (replica.signingKey = genesis.replicas[1]!.signingKey)),
      /^replicas\[2\]\.signingKey: the same as replicas\[1\]\.signingKey$/,
    ],
    [
      'a repeated encryption key',
      changed((_, replica) => (replica.encryptionKey = genesis.replicas[0]!.encryptionKey)),
      /^replicas\[2\]\.encryptionKey: the same as replicas\[0\]\.encryptionKey$/,
    ],
    [
      'one port for clients and HTTP',
      changed((_, replica) => (replica.httpAddress = '10.0.0.1:7500')),
      /^replicas\[2\]\.httpAddress: the same as replicas\[0\]\.clientAddress$/,
    ],
    [
      'a port for two purposes',
      changed((_, replica) => (replica.peerAddress = '10.0.0.1:7501')),
      /^replicas\[2\]\.peerAddress: the same as replicas\[1\]\.clientAddress$/,
    ],
    ['too much', ' '.repeat(limits.homeFileSizeBytesMax + 1), /more than/],
  ])('is refused with %s, and the reason says where', (_, text, reason) => {
    expect(parseGenesis(text)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
  });

  it('of any shape is read or refused, never thrown over', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseGenesis(text).ok).toBe(false);
      }),
    );
  });
});

describe('the service id', () => {
  it('is the hash of tag and encoding', () => {
    expect(serviceIdOf(genesis)).toBe(sha256Of([domains.genesis, encodeGenesis(genesis)]));
  });

  it('does not depend on the order of fields or on spaces', () => {
    const reversed = (value: unknown): unknown =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([name, field]) => [name, reversed(field)]),
          )
        : Array.isArray(value)
          ? value.map(reversed)
          : value;
    const parsed = parseGenesis(JSON.stringify(reversed(JSON.parse(formatGenesis(genesis)))));
    expect(parsed.ok && serviceIdOf(parsed.value)).toBe(serviceIdOf(genesis));
  });

  it('differs with every field', () => {
    const [first, second, ...others] = genesis.replicas;
    const withFirst = (change: Partial<typeof first>): Genesis => ({
      ...genesis,
      replicas: [{ ...first!, ...change }, second!, ...others],
    });
    const variants: readonly Genesis[] = [
      genesis,
      { ...genesis, name: 'B ledger' },
      { ...genesis, service: 'kv' },
      { ...genesis, created: genesis.created + 1 },
      { ...genesis, f: 2 },
      { ...genesis, k: 1 },
      { ...genesis, parameters: { ...genesis.parameters, period: 9 } },
      { ...genesis, parameters: { ...genesis.parameters, ranks: 2 } },
      { ...genesis, parameters: { ...genesis.parameters, pruneDepth: 65 } },
      { ...genesis, headIntervalMs: 11 },
      { ...genesis, checkpointIntervalMs: 0 },
      { ...genesis, epochIntervalMs: 1 },
      { ...genesis, successorWaitMs: 30_001 },
      { ...genesis, administrators: { ...genesis.administrators, approvals: 1 } },
      { ...genesis, administrators: { approvals: 2, keys: genesis.administrators.keys.slice(1) } },
      withFirst({ recovery: 'hardware', identityKey: keyOf(21) }),
      withFirst({ recovery: 'offline', identityKey: keyOf(21) }),
      withFirst({ recovery: 'offline', identityKey: keyOf(22) }),
      { ...genesis, replicas: [second!, first!, ...others] },
      { ...genesis, replicas: [first!, second!] },
      withFirst({ replicaId: 'x' }),
      withFirst({ signingKey: signingKeyFromSeed(Buffer.alloc(32, 9)).publicKey.text }),
      withFirst({ linkKeyDigest: sha256(Buffer.from('x')) }),
      withFirst({ encryptionKey: 'cd'.repeat(48) }),
      withFirst({ httpAddress: { host: '10.0.0.1', port: 7700 } }),
      withFirst({ peerAddress: { host: '::2', port: 7400 } }),
      withFirst({ peerAddress: { host: '::1', port: 7401 } }),
      withFirst({ clientAddress: first!.peerAddress, peerAddress: first!.clientAddress }),
    ];
    expect(new Set(variants.map(serviceIdOf)).size).toBe(variants.length);
  });
});

it('with an identity key that does not fit the way to recover has no encoding', () => {
  const [first, ...others] = genesis.replicas;
  for (const odd of [{ identityKey: keyOf(21) }, { recovery: 'hardware' as const }]) {
    expect(() => encodeGenesis({ ...genesis, replicas: [{ ...first!, ...odd }, ...others] })).toThrow(RangeError);
  }
});

describe('the version of a genesis', () => {
  it('is read of any that says one, whatever else it holds', () => {
    expect(versionOfGenesis(formatGenesis(genesis))).toBe(4);
    expect(versionOfGenesis('{"version":1,"name":"old"}')).toBe(1);
    for (const text of ['', '[]', 'null', '{}', '{"version":"1"}', '{"version":0.5}', '{"version":0}']) {
      expect(versionOfGenesis(text)).toBeUndefined();
    }
  });
});

describe('an address', () => {
  it.each([
    ['127.0.0.1:7400', { host: '127.0.0.1', port: 7400 }],
    ['replica-1.example.org:1', { host: 'replica-1.example.org', port: 1 }],
    ['[::1]:65535', { host: '::1', port: 65_535 }],
    ['[fe80::1:2]:80', { host: 'fe80::1:2', port: 80 }],
  ])('%s is read and written alike', (text, address) => {
    expect(parseAddress(text)).toEqual(address);
    expect(formatAddress(address)).toBe(text);
  });

  it.each([
    '',
    ':1',
    'host',
    'host:',
    'host:0',
    'host:65536',
    'host:01',
    'host:-1',
    'host:1 ',
    ' host:1',
    '::1:80',
    '[host]:1',
    '[]:1',
    'a b:1',
    '-a:1',
    'a/b:1',
    `${'a'.repeat(300)}:1`,
  ])('"%s" is refused', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

it('has the service id it always had: a change here makes every cluster another service', () => {
  expect(serviceIdOf(genesis)).toMatchInlineSnapshot(
    `"af6f3d34cf7f4fae80bd1d009a60ea3c91c128cb5441e5985dffc9b4995ad7a5"`,
  );
});
