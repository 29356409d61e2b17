/** Fetching state: what the engine and the log say when it has ended, and that one who sends too much holds up nobody. */
import { describe, expect, it } from 'vitest';
import { epochGenesisAfter } from '../membership/epochs.ts';
import type { Membership } from '../membership/membership.ts';
import { StateServer } from '../recovery/state-server.ts';
import { GrowingState, serviceId, verifyHead } from '../recovery/testing/growing-state.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { MemoryLog } from '../storage/memory-log.ts';
import { encodeBlock } from '../wire/block.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { checkpointNotes, readStored } from './engine-notes.ts';
import { StateFetch } from './state-fetch.ts';
import { membership } from './testing/machines.ts';

const state = new GrowingState();
const service = new Map(Array.from({ length: 4_000 }, (_, i) => [`key ${i}`, new Uint8Array(1_000).fill(i)] as const));
const moment = state.grow({ service, leaves: 3_000 });
const server = new StateServer({ view: moment.snapshot, checkpoint: moment.checkpoint, digest: moment.digest });
const { horizon } = moment.checkpoint.ordering;

function blockOfRound(round: number, { epoch = 0, author = 1 } = {}): Uint8Array {
  const content = { epoch, round, author, timestamp: 0, parents: [], requests: [], duties: [] };
  return encodeBlock(content, () => new Uint8Array(64)).bytes;
}

/** Replica 1 has the checkpoint. `also` is called whenever something is asked of it. */
function fetchInto(
  engine: MemoryEngine,
  log: MemoryLog,
  also: (fetch: StateFetch) => void = () => {},
  ofEpoch: Pick<Membership, 'epoch' | 'epochGenesis'> = membership,
): StateFetch {
  const answerOf = (message: PeerMessage): PeerMessage | undefined => {
    if (message.kind === 'checkpoint-ask') return moment.offer;
    return message.kind === 'state-ask' || message.kind === 'log-ask' ? server.answer(message) : undefined;
  };
  const fetch: StateFetch = new StateFetch({
    membership: { ...membership, epoch: ofEpoch.epoch, epochGenesis: ofEpoch.epochGenesis, serviceId },
    self: 0,
    engine,
    log,
    verifyHead,
    notBelow: 0,
    retainedLeaves: 1_000,
    send: (to, asked) => {
      if (to !== 1) return;
      setImmediate(() => {
        also(fetch);
        const message = answerOf(asked);
        if (message !== undefined) fetch.push({ kind: 'peer-message', from: 1, message });
      });
    },
    evidence: () => {},
    progress: () => {},
  });
  return fetch;
}

describe('fetching state', () => {
  it.each([
    ['is empty', []],
    ['has blocks above the horizon', [horizon - 1, horizon, horizon + 1].map((round) => blockOfRound(round))],
  ] as const)('says in the log what that need not hold any more, also when it %s', async (_, blocks) => {
    const engine = new MemoryEngine();
    const log = new MemoryLog();
    await log.append(blocks);
    expect((await fetchInto(engine, log).run())?.digest).toBe(moment.digest);
    expect(readStored(engine)?.digest).toBe(moment.digest);
    expect(log.droppedRound).toBe(horizon);
  });

  it('keeps what the log has of an epoch that begins from the checkpoint: its rounds are others', async () => {
    const engine = new MemoryEngine();
    const log = new MemoryLog();
    const own = blockOfRound(1, { epoch: 1, author: 0 });
    await log.append([own, blockOfRound(horizon + 1, { epoch: 1 })]);
    // Of the epoch before, in which this replica was behind.
    const before = { encoded: moment.encoded, logPosition: 0, ownBlock: blockOfRound(horizon, { author: 0 }) };
    await engine.write(checkpointNotes(before));
    const epochGenesis = epochGenesisAfter(serviceId, moment.digest, 1);
    const fetch = fetchInto(engine, log, undefined, { epoch: 1, epochGenesis });
    expect((await fetch.run())?.digest).toBe(moment.digest);
    expect(readStored(engine)).toMatchObject({ digest: moment.digest, logPosition: 0, ownBlock: undefined });
    expect(log.droppedRound).toBe(0);
    expect((await log.read(0, 1_000)).map(({ bytes }) => Buffer.from(bytes))).toContainEqual(Buffer.from(own));
  });

  it('is not held up by a replica that sends more than it is asked for', async () => {
    const beganAtMs = performance.now();
    const { digest } = moment;
    const junk = {
      kind: 'state-part',
      checkpoint: digest,
      table: 'service',
      path: '',
      part: { kind: 'gone' },
    } as const;
    const flood = (fetch: StateFetch): void => {
      for (let i = 0; i < 2_000; i++) fetch.push({ kind: 'peer-message', from: 2, message: junk });
    };
    const fetch = fetchInto(new MemoryEngine(), new MemoryLog(), flood);
    expect((await fetch.run())?.digest).toBe(digest);
    // Nothing had to be asked for again.
    expect(performance.now() - beganAtMs).toBeLessThan(limits.stateAskPatienceMs);
  });
});
