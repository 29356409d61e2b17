/**
 * Shows that a forged state is as whole as a real one, so that only the missing signature gives it away: a disk that was not made clean
 * would begin from it, one that was does not.
 */
import { beforeEach, expect, it } from 'vitest';
import { checkpointNotes, readStored } from '../src/replica/engine-notes.ts';
import { StoredTree } from '../src/state/stored-tree.ts';
import { engineKey } from '../src/state/tables.ts';
import { type Checkpoint, encodeCheckpoint } from '../src/wire/checkpoint.ts';
import { encodeValue } from '../src/wire/value.ts';
import { Prng } from './prng.ts';
import { firstSecrets } from './session-secrets.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { simulatedMembership } from './simulated-membership.ts';
import { World } from './world.ts';

const membership = simulatedMembership({ n: 4, f: 1, k: 0 }, { period: 8, ranks: 1, pruneDepth: 50 }, 1);
const text = new TextEncoder();
let disk: SimulatedDisk;

beforeEach(async () => {
  const world = new World();
  const conditions = { syncMsMin: 1, syncMsMax: 1 };
  disk = new SimulatedDisk({ world, prng: new Prng(1), conditions, membership, secrets: firstSecrets(2) });
  const value = encodeValue('as agreed');
  const [tree, system] = (['service', 'system'] as const).map(
    (table) => new StoredTree({ engine: disk.engine, table, root: undefined }),
  ) as [StoredTree, StoredTree];
  const service = tree.update(new Map([['k1', value]]));
  const checkpoint: Checkpoint = {
    serviceId: membership.serviceId,
    epoch: 0,
    ordering: {
      commitIndex: 7,
      commitDigest: membership.serviceId,
      timestamp: 1,
      horizon: 0,
      next: { kind: 'steady', round: 3, rank: 0 },
      periodHasCommit: false,
      committed: [],
    },
    service,
    system: system.update(new Map()),
    logSize: 0,
    logFrontier: [],
    sessions: { expiredBirths: 0, admissions: 0 },
    membershipDigest: membership.serviceId,
    nextMembership: undefined,
  };
  const notes = checkpointNotes({ encoded: encodeCheckpoint(checkpoint), logPosition: 0, ownBlock: undefined });
  const values = [{ key: engineKey('service', text.encode('k1')), value }];
  const write = disk.engine.write([...tree.freeze(), ...system.freeze(), ...values, ...notes]);
  // The sync is an event as soon as the engine has taken the changes.
  await new Promise((resolve) => setImmediate(resolve));
  await world.run(10, () => false);
  await write;
});

it('is taken for a real one by whoever trusts the disk, and not after a clean start', () => {
  expect(disk.lack(() => false)).toBeUndefined();
  const before = readStored(disk.engine);
  expect(disk.forgeState()).toBe(true);
  const after = readStored(disk.engine);
  expect(after?.digest).not.toBe(before?.digest);
  expect(after?.checkpoint.service.root).not.toBe(before?.checkpoint.service.root);
  const read = Buffer.from(disk.engine.get(engineKey('service', text.encode('k1'))) ?? []);
  expect(read.equals(encodeValue('what the adversary likes'))).toBe(true);
  expect(disk.lack(() => false)).toBeUndefined();
  disk.makeClean();
  expect(disk.lack(() => false)).toBe('the service has not signed it');
  // Until it has a state that was signed, every start is as careful.
  disk.crash();
  expect(disk.lack(() => false)).toBe('the service has not signed it');
  expect(disk.lack(() => true)).toBeUndefined();
});

it('cannot be made of no state', () => {
  disk.loseState();
  expect(disk.forgeState()).toBe(false);
});
