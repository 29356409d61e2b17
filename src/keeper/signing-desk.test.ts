/** What a keeper certifies, and everything that a replica which was taken over asks for in vain. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { signingKeyFromSeed, verify } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { SecretKey } from '../verify/testing/documents.ts';
import type { KeeperToReplica } from '../wire/keeper-message.ts';
import { limits } from '../wire/limits.ts';
import { successorPreimage } from '../wire/successor.ts';
import { KeeperStore } from './keeper-store.ts';
import { DeskVisitor, SigningDesk } from './signing-desk.ts';
import type { SignAsk } from './successor-rules.ts';
import { KeptReplica } from './testing/kept-replica.ts';

let kept: KeptReplica;
let store: KeeperStore;
let desk: SigningDesk;
let steadyMs: number;
let number = 0;

beforeAll(async () => {
  kept = await KeptReplica.create();
});
afterAll(() => kept.remove());

async function openDesk(serviceKey: string | undefined, first?: string): Promise<void> {
  const { identity: key } = kept;
  const serviceId = kept.statement().serviceId;
  const logger = pino({ level: 'silent' });
  desk = new SigningDesk({
    store,
    key,
    replicaId: 'r0',
    serviceId,
    serviceKey,
    logger,
    firstServiceKey: async () => first,
  });
}

beforeEach(async () => {
  number += 1;
  const directory = join(kept.directory, `store-${number}`);
  await mkdir(directory, { mode: 0o700 });
  store = await KeeperStore.open(directory, kept.home);
  const rest = { cleanedAtMs: 0, dueAtMs: null, turnOf: 5, userId: null };
  await store.keepRecord({ version: 1, certifiedEpoch: -1, serial: 0, ...rest });
  await openDesk(kept.serviceKey.serviceKey);
  steadyMs = 1_000_000;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => steadyMs);
  return async () => {
    spy.mockRestore();
    await store.close();
    await rm(directory, { recursive: true });
  };
});

/** Asks after the rest that the desk takes. */
function ask(what: SignAsk, visitor: DeskVisitor): Promise<KeeperToReplica> {
  steadyMs += limits.keeperSignRestMs;
  return desk.answer(what, visitor);
}
const otherKeys = (seed: number) =>
  kept.statement({
    keys: { ...kept.statement().keys, linkKeyDigest: sha256(Buffer.from(`link ${seed}`)) },
  });
/** For the turn of epoch 0, which the first memberships here are of. */
const started = (clean: boolean) => new DeskVisitor({ turnOf: clean ? 0 : null });

describe('keys of this replica for the next epoch', () => {
  test('are certified with the serial of the keeper and its own word on whether the replica is clean', async () => {
    const claimed = kept.statement({ serial: 999, isClean: true });
    const answer = await ask(kept.ask(claimed), started(false));
    if (answer.kind !== 'successor-signed') throw new Error(answer.reason);
    expect(answer).toMatchObject({ serial: 1, isClean: false });
    const certificate = Buffer.from(answer.certificate, 'hex');
    const signed = successorPreimage({ ...claimed, serial: 1, isClean: false });
    expect(verify(kept.identity.publicKey, signed, certificate)).toBe(true);
    expect(verify(kept.identity.publicKey, successorPreimage(claimed), certificate)).toBe(false);
  });

  test('are not clean in an epoch that began after the clean start, and the turn that was missed is over', async () => {
    const { replicas } = kept.membership();
    const epochOf = (timestamp: number) => {
      const since = { epoch: 1, timestamp };
      const renewed = replicas.map((each) => ({ ...each, keysSince: since }));
      return kept.ask(kept.statement({ epoch: 2 }), kept.membership({ epoch: 1, replicas: renewed }));
    };
    const asleep = new DeskVisitor({ turnOf: 0 });
    expect(await ask(epochOf(Date.now() + 60_000), asleep)).toMatchObject({ isClean: false });
    expect(store.record?.turnOf).toBeNull();
    // In its turn no clock is asked; and who was started for an earlier one, or by the clock, in this very epoch is as new as that.
    await store.changeRecord({ turnOf: 1, certified: undefined });
    expect(await ask(epochOf(Date.now() + 60_000), new DeskVisitor({ turnOf: 1 }))).toMatchObject({ isClean: true });
    await store.changeRecord({ certified: undefined });
    expect(await ask(epochOf(Date.now() - 60_000), new DeskVisitor({ turnOf: 0 }))).toMatchObject({ isClean: true });
  });

  test('are clean once in a life that began clean, and with that its turn is over', async () => {
    const visitor = started(true);
    expect(await ask(kept.ask(), visitor)).toMatchObject({ isClean: true, serial: 1 });
    expect(store.record?.turnOf).toBeNull();
    // The same keys are as clean as they were; others may be those of whoever has taken it over since.
    expect(await ask(kept.ask(), visitor)).toMatchObject({ isClean: true, serial: 1 });
    expect(await ask(kept.ask(otherKeys(1)), visitor)).toMatchObject({ isClean: false, serial: 2 });
    const next = kept.ask(kept.statement({ epoch: 2 }), kept.membership({ epoch: 1 }));
    expect(await ask(next, visitor)).toMatchObject({ isClean: false, serial: 3 });
    expect(await ask(next, started(true))).toMatchObject({ isClean: true, serial: 4 });
  });

  test('are as clean as they were when the process crashed and was started again, and no others are', async () => {
    const answer = await ask(kept.ask(), started(true));
    expect(await ask(kept.ask(), started(false))).toEqual(answer);
    await store.close();
    store = await KeeperStore.open(store.directory, kept.home);
    await store.readRecord();
    await openDesk(kept.serviceKey.serviceKey);
    expect(await ask(kept.ask(), started(false))).toEqual(answer);
    expect(await ask(kept.ask(otherKeys(1)), started(false))).toMatchObject({ isClean: false, serial: 2 });
  });

  test('are not clean when the clean start was long ago', async () => {
    const visitor = started(true);
    steadyMs += limits.keeperCleanForMs;
    expect(await ask(kept.ask(), visitor)).toMatchObject({ isClean: false });
    expect(store.record?.turnOf).toBe(5);
  });

  test('have a serial that no later keeper uses again', async () => {
    await ask(kept.ask(), started(false));
    await ask(kept.ask(otherKeys(1)), started(false));
    await store.close();
    const again = await KeeperStore.open(store.directory, kept.home);
    expect(await again.readRecord()).toMatchObject({ serial: 2, certifiedEpoch: 0 });
    store = again;
  });
});

describe('refused is', () => {
  const cases: readonly (readonly [string, () => SignAsk, RegExp])[] = [
    ['the present epoch', () => kept.ask(kept.statement({ epoch: 0 })), /keys are for epoch 0/],
    ['an epoch after the next', () => kept.ask(kept.statement({ epoch: 2 })), /keys are for epoch 2/],
    ['the last epoch there is', () => kept.ask(kept.statement({ epoch: 0xffff_ffff })), /keys are for epoch/],
    ['another replica', () => kept.ask(kept.statement({ replicaId: 'r1' })), /another replica/],
    [
      'another service',
      () => kept.ask(kept.statement({ serviceId: sha256(Buffer.from('other')) })),
      /statement is for another service/,
    ],
    [
      'a membership of another service',
      () => kept.ask(kept.statement(), kept.membership({ serviceId: sha256(Buffer.from('other')) })),
      /membership is of another service/,
    ],
    [
      'a membership that another key signed',
      () => kept.ask(kept.statement({ epoch: 8 }), kept.membership({ epoch: 7 }), new SecretKey(78)),
      /not proven/,
    ],
    [
      'a membership that was changed after it was signed',
      () => {
        const good = kept.ask();
        return { ...good, membership: good.membership.replace('7374', '7375').replace(/^(.{80})./, '$1f') };
      },
      /not proven/,
    ],
    [
      'a replica that is no member any more',
      () => kept.ask(kept.statement(), kept.membership({ replicas: kept.membership().replicas.slice(1) })),
      /no replica of epoch/,
    ],
    [
      'a replica whose identity key is another',
      () => {
        const replicas = kept.membership().replicas.map((replica) => {
          return { ...replica, identityKey: signingKeyFromSeed(new Uint8Array(32).fill(9)).publicKey.text };
        });
        return kept.ask(kept.statement(), kept.membership({ replicas }));
      },
      /not that of this keeper/,
    ],
    [
      'keys that are in use, its own or those of others',
      () => {
        const other = kept.genesis.replicas[1];
        const keys = { ...kept.statement().keys, signingKey: other?.signingKey ?? kept.statement().keys.signingKey };
        return kept.ask(kept.statement({ keys }));
      },
      /in use/,
    ],
    ['a statement that is none', () => ({ ...kept.ask(), statement: '00' }), /statement is none/],
  ];
  test.each(cases)('%s', async (_, what, why) => {
    const answer = await ask(what(), started(true));
    expect(answer).toMatchObject({ kind: 'refused', reason: expect.stringMatching(why) });
    expect(store.record).toMatchObject({ serial: 0, certifiedEpoch: -1 });
  });

  test('an epoch that is over, with a statement of the service that was true then', async () => {
    const later = kept.ask(kept.statement({ epoch: 4 }), kept.membership({ epoch: 3 }));
    expect(await ask(later, started(false))).toMatchObject({ kind: 'successor-signed' });
    const earlier = kept.ask(kept.statement({ epoch: 3 }), kept.membership({ epoch: 2 }));
    expect(await ask(earlier, started(true))).toMatchObject({ reason: expect.stringContaining('epoch 3 has begun') });
  });

  test('too much: one request at a time, a rest after it, and so many in a life', async () => {
    const visitor = started(false);
    const [first, second] = await Promise.all([ask(kept.ask(), visitor), desk.answer(kept.ask(), visitor)]);
    expect([first.kind, second.kind]).toEqual(['successor-signed', 'refused']);
    expect(await desk.answer(kept.ask(), visitor)).toMatchObject({ reason: expect.stringContaining('too soon') });
    for (let i = 1; i < limits.keeperSignaturesPerLifeMax; i++) {
      expect((await ask(kept.ask(otherKeys(i)), visitor)).kind).toBe('successor-signed');
    }
    expect((await ask(kept.ask(otherKeys(99)), visitor)).kind).toBe('refused');
    // Who was made clean is not refused for what the process before it did.
    expect(await ask(kept.ask(), started(true))).toMatchObject({ kind: 'successor-signed', isClean: true });
  });
});

test('a keeper without an identity key certifies nothing', async () => {
  const serviceId = kept.statement().serviceId;
  const { serviceKey } = kept.serviceKey;
  const rest = { logger: pino({ level: 'silent' }), firstServiceKey: async () => undefined };
  desk = new SigningDesk({ store, key: undefined, replicaId: 'r0', serviceId, serviceKey, ...rest });
  expect(await ask(kept.ask(), started(true))).toMatchObject({ reason: expect.stringContaining('no identity key') });
});

describe('a keeper that knows no service key', () => {
  test('pins the one that the home shows, if it has signed a membership of this service, and no other afterwards', async () => {
    await openDesk(undefined, kept.serviceKey.serviceKey);
    expect((await ask(kept.ask(), started(false))).kind).toBe('successor-signed');
    expect(desk.serviceKey).toBe(kept.serviceKey.serviceKey);
    expect(await store.readServiceKey()).toBe(kept.serviceKey.serviceKey);
    const forged = kept.ask(kept.statement(), kept.membership(), new SecretKey(78));
    expect(await ask(forged, started(false))).toMatchObject({ reason: expect.stringContaining('not proven') });
  });

  test('pins it before anything is to be signed, as soon as the replica shows a membership: a thief comes later', async () => {
    await openDesk(undefined, kept.serviceKey.serviceKey);
    const thief = new SecretKey(78);
    steadyMs += limits.keeperSignRestMs;
    await desk.pin(kept.ask(kept.statement(), kept.membership(), thief));
    expect(desk.serviceKey).toBeUndefined();
    steadyMs += limits.keeperSignRestMs;
    // What is to be signed meanwhile waits for that.
    const pinned = desk.pin(kept.ask());
    expect((await desk.answer(kept.ask(), started(false))).kind).toBe('successor-signed');
    await pinned;
    expect(await store.readServiceKey()).toBe(kept.serviceKey.serviceKey);
    await openDesk(kept.serviceKey.serviceKey, thief.serviceKey);
    steadyMs += limits.keeperSignRestMs;
    await desk.pin(kept.ask(kept.statement(), kept.membership(), thief));
    expect(desk.serviceKey).toBe(kept.serviceKey.serviceKey);
  });

  test('signs nothing while the home shows none, or one that has not signed', async () => {
    await openDesk(undefined, undefined);
    expect((await ask(kept.ask(), started(false))).kind).toBe('refused');
    await openDesk(undefined, new SecretKey(78).serviceKey);
    expect((await ask(kept.ask(), started(false))).kind).toBe('refused');
    expect(await store.readServiceKey()).toBeUndefined();
  });
});
