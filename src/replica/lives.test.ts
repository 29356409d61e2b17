/** A replica's lives: what it begins with, and what it does instead when it cannot. */
import pino from 'pino';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { plainCurve } from '../../simulator/plain-curve.ts';
import type { Digest } from '../crypto/hash.ts';
import { type Range, StateDamage, type StateSnapshot } from '../state/engine.ts';
import { MemoryEngine } from '../state/memory-engine.ts';
import { tables } from '../state/tables.ts';
import { MemoryLog } from '../storage/memory-log.ts';
import type { OpenState } from '../storage/state-directory.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { encodePeerMessage } from '../wire/peer-message.ts';
import { headNote, readStored } from './engine-notes.ts';
import { Lives, type LivesOptions } from './lives.ts';
import { membership } from './testing/machines.ts';
import { machineOptions, pastOf, silentPorts } from './testing/past.ts';

let blocks: readonly Uint8Array[];
let heads: ReadonlyMap<Digest, CertifiedHead>;
let serviceKey: string;
let statement: ReturnType<typeof pastOf>['statement'];
beforeAll(() => {
  ({ blocks, heads, serviceKey, statement } = pastOf());
});

interface World {
  readonly lives: Lives;
  readonly failures: unknown[];
  readonly wiped: string[];
}

function livesOn(
  engine: MemoryEngine,
  log: MemoryLog,
  info: (what: string) => void = () => {},
  how: Partial<Pick<LivesOptions, 'isProofNeeded' | 'serviceKey'>> & { readonly epoch?: number } = {},
): World {
  const { epoch = 0, ...proof } = how;
  const failures: unknown[] = [];
  const wiped: string[] = [];
  const logger = pino({
    level: 'info',
    hooks: { logMethod: (args) => info(String(args.at(-1))) },
  });
  const openState: LivesOptions['openState'] = ({ wipe } = {}) => {
    if (wipe !== undefined) wiped.push(wipe);
    return Promise.resolve({ engine, wiped: undefined } as unknown as OpenState);
  };
  const lives = new Lives({
    membership: { ...membership, epoch },
    self: 0,
    openState,
    log,
    life: {
      machine: machineOptions(),
      retainedSizeBytes: 0,
      ports: silentPorts,
      pressure: () => {},
      onReplay: undefined,
    },
    retainedLeaves: 1_024,
    serviceKey: undefined,
    isProofNeeded: false,
    ...proof,
    logger,
    observe: () => {},
    evidence: () => {},
    count: () => {},
    began: () => {},
    failed: (error) => failures.push(error),
  });
  return { lives, failures, wiped };
}

/** As a disk of which a record goes bad, or that cannot be read for once. */
class FailingEngine extends MemoryEngine {
  failuresLeft = 0;
  override *entries(range: Range): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    this.#read(range.start);
    yield* super.entries(range);
  }
  override get(key: Uint8Array): Uint8Array | undefined {
    this.#read(key);
    return super.get(key);
  }
  override snapshot(): StateSnapshot {
    const snapshot = super.snapshot();
    return {
      get: (key) => {
        this.#read(key);
        return snapshot.get(key);
      },
      keys: (range) => snapshot.keys(range),
      entries: (range) => snapshot.entries(range),
      close: () => snapshot.close(),
    };
  }
  /** Of the system's entries. */
  #read(key: Uint8Array | undefined): void {
    if (key?.[0] !== tables.system || this.failuresLeft === 0) return;
    this.failuresLeft -= 1;
    throw new StateDamage('it cannot be read');
  }
}

async function pastIn(engine: MemoryEngine): Promise<MemoryLog> {
  const log = new MemoryLog();
  await log.append(blocks);
  const { lives } = livesOn(engine, log);
  await lives.begin();
  expect(lives.phase).toBe('running');
  await lives.end({ isSudden: true });
  return log;
}

const verified = 'the state is that of its checkpoint';

describe('lives', () => {
  it('begin with a log from the first block on, and not with one that lacks what a checkpoint stood for', async () => {
    for (const [droppedRound, phase] of [
      [0, 'running'],
      [300, 'fetching-state'],
    ] as const) {
      const { lives, failures } = livesOn(new MemoryEngine(), new MemoryLog({ droppedRound }));
      await lives.begin();
      expect(lives.phase).toBe(phase);
      await lives.end({ isSudden: true });
      expect(failures).toEqual([]);
    }
  });

  it('do not begin from nothing in an epoch that goes on from a checkpoint', async () => {
    const { lives } = livesOn(new MemoryEngine(), new MemoryLog(), () => {}, { epoch: 1 });
    await lives.begin();
    expect(lives.phase).toBe('fetching-state');
    await lives.end({ isSudden: true });
  });

  it('know what the others said of the membership before they began: it is said once', async () => {
    const log = new MemoryLog();
    await log.append(blocks);
    const { lives } = livesOn(new MemoryEngine(), log);
    lives.takeFrame(1, encodePeerMessage({ kind: 'certified-statement', statement: 'membership', ...statement }));
    await lives.begin();
    const known = await vi.waitUntil(() => lives.running?.certifiedMembership);
    expect(Buffer.from(known.signature)).toEqual(Buffer.from(statement.signature));
    await lives.end({ isSudden: true });
  });

  it('wait for nobody before others are connected, though the state was damaged after it was verified', async () => {
    const past = new MemoryEngine();
    const log = await pastIn(past);
    const engine = new FailingEngine({ after: past });
    const { lives, failures, wiped } = livesOn(engine, log, (what) => {
      if (what === verified) engine.failuresLeft = Number.POSITIVE_INFINITY;
    });
    await lives.begin();
    expect(lives.phase).toBe('fetching-state');
    await lives.end({ isSudden: true });
    expect(failures).toEqual([]);
    expect(wiped).toEqual([]);
  });

  it('throw no state away that is whole, though it cannot be begun with', async () => {
    const past = new MemoryEngine();
    const log = await pastIn(past);
    const engine = new FailingEngine({ after: past });
    let verifications = 0;
    const { lives, wiped } = livesOn(engine, log, (what) => {
      if (what !== verified) return;
      verifications += 1;
      if (verifications === 1) engine.failuresLeft = 1;
    });
    await expect(lives.begin()).rejects.toThrow(StateDamage);
    expect(verifications).toBe(2);
    expect(wiped).toEqual([]);
    await lives.end({ isSudden: true });
  });

  it('go and mend what turns out to be damaged when another replica asks for it', async () => {
    const past = new MemoryEngine();
    const log = await pastIn(past);
    const engine = new FailingEngine({ after: past });
    const stored = readStored(engine);
    const head = stored === undefined ? undefined : heads.get(stored.digest);
    if (stored === undefined || head === undefined) throw new Error('the past ends without a certified checkpoint');
    await engine.write([headNote(head)]);
    const { lives, failures } = livesOn(engine, log);
    await lives.begin();
    expect(lives.phase).toBe('running');
    engine.failuresLeft = Number.POSITIVE_INFINITY;
    const part = { checkpoint: stored.digest, table: 'system', path: '' } as const;
    const { root: hash } = stored.checkpoint.system;
    lives.takeFrame(1, encodePeerMessage({ kind: 'state-ask', ...part, hash, nodeOnly: false }));
    await vi.waitFor(() => expect(lives.phase).toBe('fetching-state'));
    await lives.end({ isSudden: true });
    expect(failures).toEqual([]);
  });

  it('believe nothing that the service has not signed, where an attacker may have written the state', async () => {
    const phaseOf = async (head: CertifiedHead | undefined, key: string | undefined): Promise<string> => {
      const engine = new MemoryEngine({ after: past });
      if (head !== undefined) await engine.write([headNote(head)]);
      // As after a clean start: the log is gone.
      const { lives } = livesOn(engine, new MemoryLog(), undefined, { isProofNeeded: true, serviceKey: key });
      await lives.begin();
      const { phase } = lives;
      await lives.end({ isSudden: true });
      return phase;
    };
    const past = new MemoryEngine();
    await pastIn(past);
    const stored = readStored(new MemoryEngine({ after: past }));
    const head = stored === undefined ? undefined : heads.get(stored.digest);
    if (head === undefined) throw new Error('the past ends without a certified checkpoint');
    expect(await phaseOf(head, serviceKey)).toBe('running');
    expect(await phaseOf(undefined, serviceKey)).toBe('fetching-state');
    expect(await phaseOf(head, undefined)).toBe('fetching-state');
    const { g2 } = plainCurve;
    const another = Buffer.from(g2.encode(g2.multiply(g2.generator, 7n))).toString('hex');
    expect(await phaseOf(head, another)).toBe('fetching-state');
    const { timestamp } = head.head;
    expect(await phaseOf({ ...head, head: { ...head.head, timestamp: timestamp + 1 } }, serviceKey)).toBe(
      'fetching-state',
    );
  });
});
