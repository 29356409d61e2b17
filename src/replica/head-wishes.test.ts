/** Heads come at once where somebody waits for a proof, now and then where nobody does, and an idle cluster ends with all certified. */
import { describe, expect, it } from 'vitest';
import { decodeBlock } from '../wire/block.ts';
import { dutyKinds } from '../wire/duty.ts';
import { limits } from '../wire/limits.ts';
import { encodeRequest } from '../wire/request.ts';
import { keyOf, Machines } from './testing/machines.ts';

let number = 0;

function request(): Uint8Array {
  number += 1;
  const content = {
    client: Buffer.from(keyOf(98).publicKey.text, 'hex'),
    session: { birth: 0, nonce: new Uint8Array(16) },
    number,
    acknowledged: number - 1,
    operations: [{ name: 'noop', input: new Uint8Array(1) }],
  };
  return encodeRequest(content, () => new Uint8Array(64)).bytes;
}

/** Asks machine 1 and gives them turns until that one has it certified; how long that took. */
function msUntilCertified(machines: Machines, certified: boolean, turnMs = 10): number {
  const [first] = machines.all;
  const sizeBefore = first?.status.logSize ?? 0;
  const startedMs = machines.nowMs;
  machines.give(1, {
    kind: 'client-request',
    link: 7,
    request: request(),
    certifyFrom: certified ? 0 : undefined,
  });
  const asked = machines.all[1];
  const isDone = (): boolean => {
    const { logSize = 0, certification } = asked?.status ?? {};
    return logSize > sizeBefore && certification?.certifiedLogSize === logSize;
  };
  while (!isDone()) {
    if (machines.nowMs > startedMs + 5_000) throw new Error('it is never certified');
    machines.turn(turnMs);
  }
  return machines.nowMs - startedMs;
}

describe('a head', () => {
  it('is made soon for a request whose client waits for a proof, and for others when nothing else happens', () => {
    const machines = new Machines();
    machines.generateKey();
    msUntilCertified(machines, true);
    const wished = msUntilCertified(machines, true);
    const unwished = msUntilCertified(machines, false);
    expect(wished).toBeLessThan(limits.headOverdueMs);
    expect(unwished).toBeGreaterThan(wished);
  });

  it('is not long in coming for a wish that a commit held before its time', () => {
    const machines = new Machines();
    machines.generateKey();
    msUntilCertified(machines, true);
    for (const gapMs of [2, 4, 6, 8]) {
      for (let i = 0; i < 40; i++) machines.turn();
      machines.give(1, { kind: 'client-request', link: 7, request: request(), certifyFrom: 0 });
      for (let ms = 0; ms < gapMs; ms++) machines.turn(1);
      expect(msUntilCertified(machines, true, 1)).toBeLessThan(100);
    }
  });

  it('is wished for once, however often it was asked for while no other replica answered', () => {
    const machines = new Machines();
    machines.generateKey();
    const lonely = machines.all[1] as (typeof machines.all)[number];
    const ask = { kind: 'client-request', link: 7, request: request(), certifyFrom: 0 } as const;
    for (let i = 0; i < 300; i++) lonely.step([ask], machines.nowMs);
    const wishCounts: number[] = [];
    machines.watch(1, ({ message }) => {
      const block = message.kind === 'block' ? decodeBlock(message.block) : undefined;
      if (block?.ok !== true || block.value.author !== 1) return;
      wishCounts.push(block.value.duties.filter(({ kind }) => kind === dutyKinds.headWish).length);
    });
    for (let i = 0; i < 100; i++) machines.turn();
    expect(lonely.status.certification.certifiedLogSize).toBe(1);
    expect(wishCounts.length).toBeGreaterThan(0);
    expect(Math.max(...wishCounts)).toBe(1);
  });

  it('leaves nothing to do when it is certified', () => {
    const machines = new Machines();
    machines.generateKey();
    msUntilCertified(machines, false);
    for (let i = 0; i < 40; i++) machines.turn();
    const rounds = machines.all.map(({ status }) => status.round);
    for (let i = 0; i < 40; i++) machines.turn();
    expect(machines.all.map(({ status }) => status.round)).toEqual(rounds);
  });
});
