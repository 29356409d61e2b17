/** Sessions: the rules of docs/protocol/sessions.md one by one, random streams against a plain twin, and restoring. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StateDamage } from '../state/engine.ts';
import type { Request } from '../wire/request.ts';
import { encodeResult, encodeSession, SessionReading } from './session-entries.ts';
import { type Admission, type SessionBounds, Sessions, sessionNameOf } from './sessions.ts';
import { type RequestSketch, requestOf } from './testing/requests.ts';

const bounds: SessionBounds = {
  sessionsMax: 3,
  sessionWindowRequests: 4,
  sessionResultsSizeBytesMax: 100,
  sessionResultOverheadSizeBytes: 10,
};

const resultOf = (request: Request): Uint8Array => new Uint8Array(request.number % 7).fill(request.number);

/** Admits and, if that is the verdict, remembers a result that tells the request. */
function feed(sessions: Sessions, request: Request, commitIndex: number, leafIndex = 7): Admission {
  const admission = sessions.admit(sessionNameOf(request), request, commitIndex);
  if (admission.kind === 'execute') {
    const remembered = { requestDigest: request.digest, commitIndex, leafIndex, result: resultOf(request) };
    sessions.remember(admission.session, request.number, remembered);
  }
  return admission;
}

const verdictOf = (admission: Admission): string => (admission.kind === 'refused' ? admission.code : admission.kind);

/** Feeds sketches in commits 1, 2, 3 …; the verdicts. */
const verdicts = (sketches: readonly RequestSketch[], sessions = new Sessions({ bounds })): readonly string[] =>
  sketches.map((sketch, i) => verdictOf(feed(sessions, requestOf(sketch), i + 1)));

describe('rules', () => {
  it('a request is executed once, and a copy gets the same result with the same commit index', () => {
    const sessions = new Sessions({ bounds });
    const request = requestOf({ number: 3 });
    expect(feed(sessions, request, 5).kind).toBe('execute');
    const again = feed(sessions, request, 9);
    expect(again).toMatchObject({ kind: 'duplicate', remembered: { commitIndex: 5, requestDigest: request.digest } });
    expect(again.kind === 'duplicate' && [...again.remembered.result]).toEqual([3, 3, 3]);
  });

  it('1: the window counts from what the request itself acknowledges, and a refusal is final', () => {
    expect(verdicts([{ number: 4 }, { number: 5 }, { number: 5, acknowledged: 1 }])).toEqual([
      'execute',
      'window',
      'execute',
    ]);
    // The session has acknowledged 3 by now, but the copy of the refused request still says 0.
    expect(verdicts([{ number: 5 }, { number: 4, acknowledged: 3 }, { number: 5 }])).toEqual([
      'window',
      'execute',
      'window',
    ]);
  });

  it('1: a refused request makes no session', () => {
    const sessions = new Sessions({ bounds });
    feed(sessions, requestOf({ number: 9 }), 1);
    expect(sessions.size).toBe(0);
  });

  it('2: a session is not made before its birth is reached; birth 0 works in the first commit', () => {
    const sessions = new Sessions({ bounds });
    expect(verdictOf(feed(sessions, requestOf({ birth: 0, number: 1 }), 1))).toBe('execute');
    expect(verdictOf(feed(sessions, requestOf({ birth: 7, number: 1 }), 6))).toBe('session-expired');
    expect(verdictOf(feed(sessions, requestOf({ birth: 7, number: 1 }), 7))).toBe('session-expired');
    expect(verdictOf(feed(sessions, requestOf({ birth: 7, number: 1 }), 8))).toBe('execute');
  });

  it('3 and 7: a forgotten session is never made again, nor is one born with it or before', () => {
    const sessions = new Sessions({ bounds });
    const first = requestOf({ nonce: 1, birth: 5, number: 1 });
    feed(sessions, first, 10);
    for (const nonce of [2, 3, 4]) feed(sessions, requestOf({ nonce, birth: 6, number: 1 }), 10);
    expect(sessions.size).toBe(3);
    expect(sessions.expiredFloor).toBe(5);
    expect(verdictOf(feed(sessions, first, 11))).toBe('session-expired');
    expect(verdictOf(feed(sessions, requestOf({ nonce: 9, birth: 5, number: 1 }), 11))).toBe('session-expired');
    expect(verdictOf(feed(sessions, requestOf({ nonce: 9, birth: 6, number: 1 }), 11))).toBe('execute');
  });

  it('7: the least recently used session is the one forgotten, whatever its birth', () => {
    const sessions = new Sessions({ bounds });
    for (const nonce of [1, 2, 3]) feed(sessions, requestOf({ nonce, number: 1 }), 1);
    feed(sessions, requestOf({ nonce: 1, number: 2 }), 2);
    feed(sessions, requestOf({ nonce: 4, birth: 2, number: 1 }), 3);
    expect(verdictOf(feed(sessions, requestOf({ nonce: 1, number: 3 }), 4))).toBe('execute');
    expect(verdictOf(feed(sessions, requestOf({ nonce: 2, number: 2 }), 4))).toBe('session-expired');
  });

  it('4 and 5: what is acknowledged is forgotten and never executed, whether it ever was or not', () => {
    const sketches = [{ number: 1 }, { number: 4, acknowledged: 3 }, { number: 1 }, { number: 2 }];
    expect(verdicts(sketches)).toEqual(['execute', 'execute', 'already-acknowledged', 'already-acknowledged']);
    const sessions = new Sessions({ bounds });
    verdicts(sketches, sessions);
    expect(sessions.keptSizeBytes).toBe(10 + 4);
  });

  it('6: another request under a used number is refused', () => {
    expect(verdicts([{ number: 1 }, { number: 1, operations: [['other', 1]] }, { number: 1 }])).toEqual([
      'execute',
      'number-reused',
      'duplicate',
    ]);
  });

  it('8: the oldest result of all makes room, and its number is not executed again', () => {
    const sessions = new Sessions({ bounds: { ...bounds, sessionResultsSizeBytesMax: 40 } });
    expect(
      verdicts(
        [
          { nonce: 1, number: 2 },
          { nonce: 2, number: 1 },
          { nonce: 2, number: 2 },
          { nonce: 2, number: 3 },
          { nonce: 1, number: 2 },
          { nonce: 1, number: 1 },
          { nonce: 1, number: 3 },
          { nonce: 2, number: 3 },
        ],
        sessions,
      ),
    ).toEqual([
      'execute',
      'execute',
      'execute',
      'execute',
      'result-forgotten',
      'result-forgotten',
      'execute',
      'duplicate',
    ]);
    expect(sessions.expiredFloor).toBe(-1);
  });

  it('a client that leaps ahead costs no time', () => {
    const far = 2 ** 52;
    expect(
      verdicts([{ number: 1 }, { number: far, acknowledged: far - 1 }, { number: far, acknowledged: far - 1 }]),
    ).toEqual(['execute', 'execute', 'duplicate']);
  });

  it('looking for a result changes nothing, and finds only exactly this request', () => {
    const sessions = new Sessions({ bounds });
    for (const nonce of [1, 2, 3]) feed(sessions, requestOf({ nonce, number: 1 }), 1);
    const oldest = requestOf({ nonce: 1, number: 1 });
    expect(sessions.find(sessionNameOf(oldest), oldest)).toMatchObject({ commitIndex: 1 });
    const other = requestOf({ nonce: 1, number: 1, operations: [['other', 1]] });
    expect(sessions.find(sessionNameOf(other), other)).toBeUndefined();
    feed(sessions, requestOf({ nonce: 4, birth: 1, number: 1 }), 2);
    expect(sessions.find(sessionNameOf(oldest), oldest)).toBeUndefined();
  });
});

/** Room for two or three results, so that they are forgotten often. */
const tightBounds: SessionBounds = { ...bounds, sessionResultsSizeBytesMax: 35 };

/** The rules again, in lists that are searched from end to end. */
class TwinSessions {
  sessions: { name: string; birth: number; acknowledged: number; floor: number }[] = [];
  kept: { name: string; number: number; digest: string; cost: number }[] = [];
  expired = -1;

  feed(request: Request, index: number): string {
    const { number, acknowledged } = request;
    const { birth } = request.session;
    const name = `${request.client.join()}/${birth}/${request.session.nonce.join()}`;
    if (number > acknowledged + bounds.sessionWindowRequests) return 'window';
    let session = this.sessions.find((known) => known.name === name);
    if (session === undefined) {
      if (birth >= index || birth <= this.expired) return 'session-expired';
      if (this.sessions.length === bounds.sessionsMax) {
        const [forgotten] = this.sessions.splice(0, 1);
        this.expired = Math.max(this.expired, forgotten?.birth ?? -1);
        this.kept = this.kept.filter((result) => result.name !== forgotten?.name);
      }
      session = { name, birth, acknowledged, floor: acknowledged };
    }
    this.sessions = [...this.sessions.filter((known) => known.name !== name), session];
    session.acknowledged = Math.max(session.acknowledged, acknowledged);
    this.raise(name, acknowledged);
    if (number <= session.floor) return number <= session.acknowledged ? 'already-acknowledged' : 'result-forgotten';
    const result = this.kept.find((known) => known.name === name && known.number === number);
    if (result !== undefined) return result.digest === request.digest ? 'duplicate' : 'number-reused';
    this.kept.push({ name, number, digest: request.digest, cost: resultOf(request).length + 10 });
    while (this.kept.reduce((sum, { cost }) => sum + cost, 0) > tightBounds.sessionResultsSizeBytesMax) {
      const [oldest] = this.kept;
      if (oldest !== undefined) this.raise(oldest.name, oldest.number);
    }
    return 'execute';
  }

  raise(name: string, floor: number): void {
    for (const session of this.sessions) if (session.name === name) session.floor = Math.max(session.floor, floor);
    this.kept = this.kept.filter((result) => result.name !== name || result.number > floor);
  }
}

describe('random streams', () => {
  /** Two clients with sessions that vie for three places, requests repeated, out of order, some of them wrong. */
  const sketch = fc.record({
    client: fc.integer({ min: 1, max: 2 }),
    nonce: fc.integer({ min: 1, max: 2 }),
    sinceBirth: fc.integer({ min: -1, max: 6 }),
    number: fc.integer({ min: 1, max: 12 }),
    unacknowledged: fc.integer({ min: 1, max: 5 }),
    flavour: fc.integer({ min: 0, max: 8 }),
  });
  const stream = fc.array(fc.oneof({ weight: 2, arbitrary: sketch }, { weight: 1, arbitrary: fc.nat(20) }), {
    maxLength: 80,
  });

  it('are admitted as the twin admits them, and no number is executed twice', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(stream, (plan) => {
        const sessions = new Sessions({ bounds: tightBounds });
        const twin = new TwinSessions();
        const sent: Request[] = [];
        const executed = new Map<string, Request>();
        const refusedForEver = new Set<string>();
        plan.forEach((step, i) => {
          const commitIndex = 1 + Math.floor(i / 4);
          const request =
            typeof step === 'number'
              ? (sent.at(-1 - step) ?? requestOf({ number: 1 }))
              : requestOf({
                  client: step.client,
                  nonce: step.nonce,
                  birth: Math.max(0, commitIndex - step.sinceBirth),
                  number: step.number,
                  acknowledged: Math.max(0, step.number - step.unacknowledged),
                  operations: [['note', step.flavour === 0 ? 'another' : 'the one']],
                });
          sent.push(request);
          const admission = feed(sessions, request, commitIndex);
          const verdict = verdictOf(admission);
          expect(verdict).toBe(twin.feed(request, commitIndex));
          seen.set(verdict, (seen.get(verdict) ?? 0) + 1);

          const once = `${sessionNameOf(request).key}/${request.number}`;
          if (verdict === 'execute') {
            expect(executed.has(once)).toBe(false);
            expect(refusedForEver.has(request.digest)).toBe(false);
            executed.set(once, request);
          }
          if (verdict === 'window' || verdict === 'number-reused') refusedForEver.add(request.digest);
          if (admission.kind === 'duplicate') {
            expect(executed.get(once)?.digest).toBe(request.digest);
            expect([...admission.remembered.result]).toEqual([...resultOf(request)]);
          }
          expect(sessions.size).toBe(twin.sessions.length);
          expect(sessions.size).toBeLessThanOrEqual(bounds.sessionsMax);
          expect(sessions.keptSizeBytes).toBe(twin.kept.reduce((sum, { cost }) => sum + cost, 0));
          expect(sessions.keptSizeBytes).toBeLessThanOrEqual(tightBounds.sessionResultsSizeBytesMax);
          expect(sessions.expiredFloor).toBeLessThan(commitIndex);
        });
      }),
      { numRuns: 800 },
    );
    // The streams must have come by every rule, or they show nothing.
    const all = [
      'already-acknowledged',
      'duplicate',
      'execute',
      'number-reused',
      'result-forgotten',
      'session-expired',
    ];
    expect([...seen.keys()].sort()).toEqual([...all, 'window']);
  });
});

describe('sessions restored from entries', () => {
  const sketch = fc.record({
    client: fc.integer({ min: 1, max: 2 }),
    nonce: fc.integer({ min: 1, max: 3 }),
    sinceBirth: fc.integer({ min: 1, max: 6 }),
    number: fc.integer({ min: 1, max: 12 }),
    unacknowledged: fc.integer({ min: 1, max: 5 }),
  });
  const stream = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: sketch },
      { weight: 2, arbitrary: fc.constant('save' as const) },
      { weight: 1, arbitrary: fc.constant('restore' as const) },
    ),
    { maxLength: 100, size: 'max' },
  );

  /** What a checkpoint would hold. */
  const saved = new Map<string, Uint8Array>();
  const save = (sessions: Sessions): ReadonlyMap<string, Uint8Array | undefined> => {
    const changes = sessions.changes();
    for (const [key, value] of changes) {
      if (value === undefined) expect(saved.delete(key)).toBe(true);
      else saved.set(key, value);
    }
    return changes;
  };
  const restored = (counters: Sessions['counters']): Sessions => {
    const reading = new SessionReading();
    for (const [key, value] of saved) expect(reading.take(key, value)).toBe(true);
    return new Sessions({ bounds: tightBounds, from: reading.finish(counters) });
  };

  it('are those they were: in every verdict, in what they keep, and in what they change from then on', () => {
    let compared = 0;
    fc.assert(
      fc.property(stream, (plan) => {
        saved.clear();
        const one = new Sessions({ bounds: tightBounds });
        let other: Sessions | undefined;
        let leafIndex = 0;
        plan.forEach((step, i) => {
          const commitIndex = 1 + Math.floor(i / 4);
          if (step === 'save' || step === 'restore') {
            const changes = save(one);
            if (other !== undefined) expect(other.changes()).toEqual(changes);
            if (step === 'restore') other = restored(one.counters);
            return;
          }
          const request = requestOf({
            ...step,
            birth: Math.max(0, commitIndex - step.sinceBirth),
            acknowledged: Math.max(0, step.number - step.unacknowledged),
          });
          const admission = feed(one, request, commitIndex, leafIndex);
          if (other !== undefined) {
            const again = feed(other, request, commitIndex, leafIndex);
            expect(verdictOf(again)).toBe(verdictOf(admission));
            if (again.kind === 'duplicate' && admission.kind === 'duplicate') {
              expect(again.remembered).toEqual(admission.remembered);
            }
            expect(other.size).toBe(one.size);
            expect(other.keptSizeBytes).toBe(one.keptSizeBytes);
            expect(other.counters).toEqual(one.counters);
            compared += 1;
          }
          if (admission.kind === 'execute') leafIndex += 1;
        });
        save(one);
        expect([...saved.keys()].filter((key) => key.startsWith('session/'))).toHaveLength(one.size);
        expect(restored(one.counters).keptSizeBytes).toBe(one.keptSizeBytes);
      }),
      { numRuns: 400 },
    );
    expect(compared).toBeGreaterThan(3_000);
  });

  it('write a result once, and a session when it was used', () => {
    const sessions = new Sessions({ bounds });
    feed(sessions, requestOf({ number: 1 }), 1, 0);
    expect([...sessions.changes().keys()].map((key) => key.replace(/\/.*/, ''))).toEqual(['session', 'result']);
    expect(sessions.changes().size).toBe(0);
    feed(sessions, requestOf({ number: 2 }), 2, 1);
    expect([...sessions.changes().keys()].at(-1)).toBe('result/0000000000000001');
    expect(feed(sessions, requestOf({ number: 2 }), 2, 2).kind).toBe('duplicate');
    expect([...sessions.changes().keys()].map((key) => key.replace(/\/.*/, ''))).toEqual(['session']);
    feed(sessions, requestOf({ number: 3, acknowledged: 2 }), 2, 2);
    expect([...sessions.changes()].filter(([, value]) => value === undefined).map(([key]) => key)).toEqual([
      'result/0000000000000000',
      'result/0000000000000001',
    ]);
  });

  it('take no entry that is not one', () => {
    const name = `${'ab'.repeat(48)}7`;
    const numbers = new Uint8Array(24);
    const damaged: readonly (readonly [string, Uint8Array])[] = [
      ['session/', numbers],
      [`session/${name}x`, numbers],
      [`session/${'ab'.repeat(48)}07`, numbers],
      [`session/${name}`, numbers.subarray(1)],
      ['result/00', numbers],
      ['result/ffffffffffffffff', numbers],
      ['result/0000000000000000', numbers],
    ];
    for (const [key, value] of damaged) expect(() => new SessionReading().take(key, value)).toThrow(StateDamage);
    expect(new SessionReading().take('key-duty/00000000', numbers)).toBe(false);

    const reading = new SessionReading();
    const fields = { session: name, number: 1, requestDigest: requestOf({ number: 1 }).digest, commitIndex: 1 };
    reading.take('result/0000000000000000', encodeResult({ ...fields, result: numbers }));
    expect(() => reading.finish({ expiredBirths: 0, admissions: 0 })).toThrow(StateDamage);
    reading.take(`session/${name}`, encodeSession({ acknowledged: 0, floor: 0, lastUse: 1 }));
    expect(() => reading.finish({ expiredBirths: 0, admissions: 0 })).toThrow(StateDamage);
    expect(reading.finish({ expiredBirths: 0, admissions: 1 }).results).toHaveLength(1);
  });
});
