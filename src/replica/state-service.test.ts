/** State service: what others fetch here costs the event loop little, and the engine no more than two checkpoints. */
import { describe, expect, it } from 'vitest';
import { GrowingState, type Moment } from '../recovery/testing/growing-state.ts';
import { StateDamage, type StateSnapshot } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { tables } from '../state/tables.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import { checkpointNotes } from './engine-notes.ts';
import { StateService } from './state-service.ts';

function entriesOf(count: number, sizeBytes = 1_000): Map<string, Uint8Array> {
  return new Map(Array.from({ length: count }, (_, i) => [`key ${i}`, Buffer.alloc(sizeBytes, `${i}.`)]));
}

/** What a replica hands over when a checkpoint is stable; `isClosed` by whom it was handed to. */
function handedOver(moment: Moment, after: GrowingState) {
  const engine = new MemoryEngine({ after: after.engine });
  void engine.write(checkpointNotes({ encoded: moment.encoded, logPosition: 0, ownBlock: undefined }));
  const snapshot = engine.snapshot();
  const state = { isClosed: false };
  const watched: StateSnapshot = {
    get: (key) => snapshot.get(key),
    keys: (range) => snapshot.keys(range),
    entries: (range) => snapshot.entries(range),
    close: () => {
      state.isClosed = true;
      snapshot.close();
    },
  };
  const { checkpoint, encoded, digest, head } = moment;
  return { state, engine, stable: { checkpoint, encoded, digest, head, snapshot: watched } };
}

function serviceWith({ nowMs }: { readonly nowMs?: () => number } = {}) {
  const sent: { readonly to: number; readonly message: PeerMessage }[] = [];
  const failures: unknown[] = [];
  const service = new StateService({
    send: (to, message) => sent.push({ to, message }),
    failed: (error) => failures.push(error),
    ...(nowMs === undefined ? {} : { nowMs }),
  });
  return { service, sent, failures };
}

const rootAsk = ({ checkpoint, digest }: Moment, nodeOnly = false): PeerMessage => ({
  kind: 'state-ask',
  checkpoint: digest,
  table: 'service',
  path: '',
  hash: checkpoint.service.root,
  nodeOnly,
});

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

const partsTo = (sent: readonly { readonly to: number; readonly message: PeerMessage }[], to: number) =>
  sent.flatMap((each) => (each.to === to && each.message.kind === 'state-part' ? [each.message.part] : []));

describe('a stable checkpoint', () => {
  it('is offered to who asks, with the head that carries it, and its parts are given', async () => {
    const state = new GrowingState();
    const moment = state.grow({ service: entriesOf(40), leaves: 5 });
    const { service, sent } = serviceWith();
    service.take(1, { kind: 'checkpoint-ask' });
    expect(sent).toEqual([]);
    service.stable(handedOver(moment, state).stable);
    service.take(1, { kind: 'checkpoint-ask' });
    expect(sent).toEqual([{ to: 1, message: moment.offer }]);
    service.take(1, rootAsk(moment));
    service.take(1, { kind: 'log-ask', checkpoint: moment.digest, chunk: 0 });
    await until(() => sent.length === 3);
    expect(partsTo(sent, 1)[0]).toMatchObject({ kind: 'entries' });
    expect(sent[2]?.message).toMatchObject({ kind: 'log-part', chunk: 0 });
    expect(sent[2]?.message.kind === 'log-part' && sent[2].message.leaves.length).toBe(5 * 32);
  });

  it('is not served out of a snapshot that holds another one', () => {
    const state = new GrowingState();
    const first = state.grow({ service: entriesOf(3) });
    const second = state.grow({ service: entriesOf(4) });
    const { service } = serviceWith();
    const later = handedOver(second, state);
    service.stable({ ...later.stable, digest: first.digest });
    expect(service.held).toEqual([]);
    expect(later.state.isClosed).toBe(true);
  });

  it('is offered to one asker now and then, however often it asks', () => {
    const state = new GrowingState();
    const moment = state.grow({ service: entriesOf(3) });
    let nowMs = 0;
    const { service, sent } = serviceWith({ nowMs: () => nowMs });
    service.stable(handedOver(moment, state).stable);
    for (let i = 0; i < 100; i++) service.take(1, { kind: 'checkpoint-ask' });
    expect(sent).toHaveLength(1);
    service.take(2, { kind: 'checkpoint-ask' });
    expect(sent).toHaveLength(2);
    nowMs += limits.checkpointAskDelayMsMin;
    service.take(1, { kind: 'checkpoint-ask' });
    expect(sent).toHaveLength(3);
  });
});

describe('snapshots', () => {
  it('are two at most: the newest, and the one that somebody fetches, for as long as may be', () => {
    const state = new GrowingState();
    let nowMs = 0;
    const { service } = serviceWith({ nowMs: () => nowMs });
    const all = Array.from({ length: 6 }, (_, i) => {
      const moment = state.grow({ service: entriesOf(3 + i) });
      return { moment, ...handedOver(moment, state) };
    });
    const [first, second, third, fourth, fifth, sixth] = all as [
      (typeof all)[0],
      (typeof all)[0],
      (typeof all)[0],
      (typeof all)[0],
      (typeof all)[0],
      (typeof all)[0],
    ];
    service.stable(first.stable);
    service.stable(second.stable);
    // Nobody asked for the first one.
    expect(service.held).toEqual([second.moment.digest]);
    service.take(1, rootAsk(second.moment));
    service.stable(third.stable);
    service.stable(fourth.stable);
    expect(service.held).toEqual([second.moment.digest, fourth.moment.digest]);
    nowMs += limits.stateSnapshotIdleMs;
    service.stable(fifth.stable);
    expect(service.held).toEqual([fifth.moment.digest]);
    for (let i = 0; i * 1_000 <= limits.stateSnapshotAgeMsMax; i++) {
      nowMs += 1_000;
      service.take(1, rootAsk(fifth.moment));
    }
    service.stable(sixth.stable);
    expect(service.held).toEqual([sixth.moment.digest]);
    service.close();
    expect(all.map(({ state: { isClosed } }) => isClosed)).toEqual(new Array(6).fill(true));
  });

  it('that were let go of are gone to who asks, also in the middle of an answer', async () => {
    const state = new GrowingState();
    const moment = state.grow({ service: entriesOf(900), leaves: 1 });
    const { service, sent, failures } = serviceWith();
    service.stable(handedOver(moment, state).stable);
    for (let i = 0; i < 8; i++) service.take(1, rootAsk(moment));
    service.close();
    service.take(1, rootAsk(moment));
    await until(() => sent.length === 9);
    expect(partsTo(sent, 1).at(-1)).toEqual({ kind: 'gone' });
    expect(failures).toEqual([]);
  });
});

describe('an asker that asks all the time', () => {
  it('keeps neither another one nor the event loop waiting', async () => {
    const state = new GrowingState();
    const moment = state.grow({ service: entriesOf(900), leaves: 1 });
    const { service, sent } = serviceWith();
    service.stable(handedOver(moment, state).stable);
    for (let i = 0; i < 1_000; i++) service.take(1, rootAsk(moment));
    service.take(2, rootAsk(moment));
    let turns = 0;
    let turnsUntilAnswered: number | undefined;
    let isOver = false;
    const turn = (): void => {
      turns += 1;
      if (partsTo(sent, 2).length > 0) turnsUntilAnswered ??= turns;
      if (!isOver) setImmediate(turn);
    };
    turn();
    await until(() => sent.length >= limits.stateAsksWaitingMax + 1);
    isOver = true;
    // What was more than may wait was dropped; the other one came after few of the rest.
    expect(partsTo(sent, 1).length).toBeLessThanOrEqual(limits.stateAsksWaitingMax + 1);
    const before = sent.findIndex(({ to }) => to === 2);
    expect(before).toBeLessThan(4);
    // Nine hundred values are more than a slice: others had turns in between.
    expect(turns).toBeGreaterThan(limits.stateAsksWaitingMax / 2);
    expect(turnsUntilAnswered).toBeLessThan(turns);
  });
});

describe('a damaged state', () => {
  it('is not served, and is reported', async () => {
    const state = new GrowingState();
    const moment = state.grow({ service: entriesOf(40), leaves: 5 });
    const { service, sent, failures } = serviceWith();
    const { engine, stable } = handedOver(moment, state);
    const damaged = new MemoryEngine({ after: engine });
    const [entry] = [...damaged.entries({ start: Uint8Array.of(tables.service) })];
    void damaged.write([{ key: entry?.key as Uint8Array, value: Buffer.from('rotten') }]);
    service.stable({ ...stable, snapshot: damaged.snapshot() });
    service.take(1, rootAsk(moment));
    await until(() => sent.length === 1);
    expect(partsTo(sent, 1)).toEqual([{ kind: 'gone' }]);
    expect(failures[0]).toBeInstanceOf(StateDamage);
    expect(service.held).toEqual([]);
  });
});
