import { describe, expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { MemoryLog } from '../storage/memory-log.ts';
import { encodeBlock, roundOfEncodedBlock } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import { decodePeerMessage } from '../wire/peer-message.ts';
import { CatchUp } from './catch-up.ts';
import { RoundIndex } from './round-index.ts';

const payload = new Uint8Array(limits.dutySizeBytesMax);

/** A block of about `sizeMiB`; its form is all that matters to a log. */
function blockOf(round: number, author: number, sizeMiB: number): Uint8Array {
  const parents = [{ round: round - 1, author, digest: sha256(new Uint8Array([author])) }];
  const duties = Array.from({ length: (sizeMiB * 1024 * 1024) / payload.length }, () => ({ kind: 1, payload }));
  const content = { epoch: 0, round, author, timestamp: round, parents, requests: [], duties };
  return encodeBlock(content, () => new Uint8Array(64)).bytes;
}

/** (round, author) of what is answered out of a log that holds these rounds of four blocks each. */
async function answerOf(options: { rounds: number; authors: number; sizeMiB: number; afterRound: number }) {
  const log = new MemoryLog();
  const roundIndex = new RoundIndex();
  for (let round = 1; round <= options.rounds; round++) {
    for (let author = 0; author < options.authors; author++) {
      const [position] = await log.append([blockOf(round, author, options.sizeMiB)]);
      roundIndex.note(round, position as number);
    }
  }
  const rounds: number[] = [];
  let failure: unknown;
  const send = (_to: number, frame: Uint8Array): void => {
    const decoded = decodePeerMessage(frame);
    if (decoded.ok && decoded.value.kind === 'block') rounds.push(roundOfEncodedBlock(decoded.value.block));
  };
  const failed = (error: unknown): void => {
    failure = error;
  };
  const offer = (): void => failed(new Error('an offer, though the log is whole'));
  const catchUp = new CatchUp({ log, roundIndex, send, offer, failed });
  await catchUp.serve(3, options.afterRound);
  expect(failure).toBeUndefined();
  return rounds;
}

describe('an answer to a replica that fell behind', () => {
  it('begins above the round asked for, however much lies between there and the entry of the index', async () => {
    const rounds = await answerOf({ rounds: 24, authors: 1, sizeMiB: 1, afterRound: 20 });
    expect(rounds).toEqual([21, 22, 23, 24]);
  });

  it('is bounded, but always brings whole rounds, or the asker would ask for the same for ever', async () => {
    const rounds = await answerOf({ rounds: 6, authors: 7, sizeMiB: 1, afterRound: 1 });
    for (const round of [2, 3]) expect(rounds.filter((each) => each === round)).toHaveLength(7);
    expect(rounds.length).toBeLessThanOrEqual(15);
  });

  it('holds no more than an answer may when rounds are small', async () => {
    const rounds = await answerOf({ rounds: 20, authors: 1, sizeMiB: 1, afterRound: 1 });
    expect(rounds.length).toBeGreaterThanOrEqual(7);
    expect(rounds.length).toBeLessThanOrEqual(8);
  });
});

describe('a replica that asks all the time', () => {
  /** Each answer takes this long. */
  const answerMs = 10;

  async function logOfOneBlock() {
    const log = new MemoryLog();
    const roundIndex = new RoundIndex();
    const [position] = await log.append([blockOf(1, 0, 1)]);
    roundIndex.note(1, position as number);
    const clock = { nowMs: 0 };
    const answered: number[] = [];
    const send = (to: number): void => {
      answered.push(to);
      clock.nowMs += answerMs;
    };
    const offer = (): void => {};
    const catchUp = new CatchUp({ log, roundIndex, send, offer, failed: () => {}, nowMs: () => clock.nowMs });
    return { catchUp, clock, answered };
  }

  it('gets an answer a fifth of the time at most, and keeps nobody else from one', async () => {
    const { catchUp, clock, answered } = await logOfOneBlock();
    while (clock.nowMs < 1_000) {
      await catchUp.serve(3, 0);
      clock.nowMs += 1;
    }
    expect(answered.length * answerMs).toBeLessThanOrEqual(200);
    expect(answered.length * answerMs).toBeGreaterThanOrEqual(150);
    await catchUp.serve(2, 0);
    expect(answered.at(-1)).toBe(2);
  });

  it('has one answer at a time', async () => {
    const { catchUp, answered } = await logOfOneBlock();
    await Promise.all([catchUp.serve(3, 0), catchUp.serve(3, 0), catchUp.serve(3, 0)]);
    expect(answered).toEqual([3]);
  });
});

describe('a replica that asks for rounds that were dropped', () => {
  async function droppedLog() {
    const log = new MemoryLog();
    const roundIndex = new RoundIndex();
    for (let round = 1; round <= 100; round++) {
      const [position] = await log.append([blockOf(round, 0, 0)]);
      roundIndex.note(round, position as number);
    }
    const horizon = 70;
    const position = roundIndex.positionAfter(horizon) as number;
    await log.dropBefore(position);
    roundIndex.dropBefore(log.begin, horizon);
    const clock = { nowMs: 0 };
    const said: string[] = [];
    const catchUp = new CatchUp({
      log,
      roundIndex,
      send: (to, frame) => {
        const decoded = decodePeerMessage(frame);
        if (decoded.ok && decoded.value.kind === 'block')
          said.push(`${to}: ${roundOfEncodedBlock(decoded.value.block)}`);
      },
      offer: (to) => said.push(`${to}: offer`),
      failed: (error) => said.push(`failed: ${error}`),
      nowMs: () => clock.nowMs,
    });
    return { catchUp, clock, said };
  }

  it('is offered a checkpoint, and no block, which would lead to nothing', async () => {
    const { catchUp, said } = await droppedLog();
    await catchUp.serve(2, 10);
    expect(said).toEqual(['2: offer']);
  });

  it('gets no more than one offer a second, and keeps nobody else from one', async () => {
    const { catchUp, clock, said } = await droppedLog();
    for (; clock.nowMs < 3_000; clock.nowMs += 100) await catchUp.serve(2, 10);
    expect(said).toEqual(['2: offer', '2: offer', '2: offer']);
    clock.nowMs = 2_999;
    await catchUp.serve(3, 10);
    expect(said.at(-1)).toBe('3: offer');
  });

  it('gets blocks from the horizon on, all of them', async () => {
    const { catchUp, said } = await droppedLog();
    await catchUp.serve(2, 70);
    expect(said).toEqual(Array.from({ length: 30 }, (_, i) => `2: ${71 + i}`));
  });
});
