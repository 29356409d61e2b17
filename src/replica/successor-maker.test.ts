/**
 * Shows that whoever makes new keys for a replica is out of the way of its home when the epoch is over: a replica that was held up in the middle
 * of it (frozen, say) finds that the others have gone on, and turns its home while keys are still being put down there. And that it asks to
 * be made clean only where it can be spared.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { firstMembership } from '../membership/genesis.ts';
import type { Member } from '../membership/membership.ts';
import { type Home, openHome } from '../storage/home.ts';
import { makeLinkCertificate } from '../transport/certificate.ts';
import { createCluster } from './create-cluster.ts';
import { KeeperPort } from './keeper-port.ts';
import { SuccessorMaker, type SuccessorMakerOptions } from './successor-maker.ts';

const wish = { epoch: 1, isMyTurn: false, named: undefined };

let root: string;
let home: Home;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'coterie-successor-maker-'));
  await createCluster({ directory: join(root, 'cluster'), replicas: 4, service: 'kv' });
  home = await openHome(join(root, 'cluster', 'replicas', 'r1'));
});
afterEach(async () => {
  await home.close();
  await rm(root, { recursive: true, force: true });
});

function makerOn(keepNextKeys: Home['keepNextKeys'], change: Partial<SuccessorMakerOptions> = {}): SuccessorMaker {
  const membership = firstMembership(home.genesis);
  if (!membership.ok) throw new Error(membership.reason);
  const options: SuccessorMakerOptions = {
    home: { ...home, keepNextKeys },
    member: membership.value.members[1] as Member,
    presentKey: home.signingKey,
    keeper: undefined,
    isClean: false,
    canBeSpared: () => true,
    logger: pino({ level: 'silent' }),
    give: () => {},
    submit: () => Promise.resolve(undefined),
    certifiedMembership: () => undefined,
    ...change,
  };
  return new SuccessorMaker(options);
}

it('ends when the keys that it was writing are whole', async () => {
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  let isWritten = false;
  const maker = makerOn(async (keys) => {
    begin();
    const kept = await home.keepNextKeys(keys);
    isWritten = true;
    return kept;
  });
  maker.take(wish);
  await begun;
  await maker.end();
  expect(isWritten).toBe(true);
  expect(await home.readNextKeys()).toBeDefined();
});

it('writes none any more when it has ended', async () => {
  let writes = 0;
  const maker = makerOn((keys) => {
    writes += 1;
    return home.keepNextKeys(keys);
  });
  maker.take(wish);
  await maker.end();
  // It was making a certificate, and has one by the time that we have made more.
  for (let i = 0; i < 3; i++) await makeLinkCertificate({ commonName: 'r1' });
  expect(writes).toBe(0);
});

describe('a replica whose turn it is', () => {
  const myTurn = { ...wish, isMyTurn: true };

  /** What the keeper is told, and how often keys were handed in. */
  async function watched(canBeSpared: () => boolean, isDone: (told: readonly unknown[], named: number) => boolean) {
    const told: unknown[] = [];
    let named = 0;
    const channel = { connected: true, on: () => undefined, send: (message: unknown) => told.push(message) > 0 };
    const maker = makerOn(home.keepNextKeys, {
      keeper: new KeeperPort(channel),
      canBeSpared,
      submit: async () => {
        named += 1;
        return 'taken';
      },
    });
    maker.take(myTurn);
    while (!isDone(told, named)) await new Promise((resolve) => setTimeout(resolve, 20));
    await maker.end();
    return { told, named };
  }

  it('is made clean as soon as the others are enough without it', async () => {
    let asked = 0;
    const { told, named } = await watched(
      () => ++asked > 3,
      ({ length }) => length > 0,
    );
    expect(told).toEqual([{ kind: 'turn', epoch: 0 }]);
    expect(named).toBe(0);
  });

  it('is not while they are not: the next epoch would never come; it names its keys as it is', async () => {
    const { told, named } = await watched(
      () => false,
      (_, count) => count > 0,
    );
    expect(told).toEqual([]);
    expect(named).toBe(1);
  });
});
