/**
 * Shows the text that people see: tables, progress, the status line and the status of a cluster with a liar in it.
 */
import { describe, expect, it } from 'vitest';
import type { Value } from '../wire/value.ts';
import { formatSizeBytes } from './format-size.ts';
import { formatProgress, formatSeconds } from './progress-bar.ts';
import { agreedEpoch } from './status-epoch.ts';
import { agree, disagreeing, formatStatus, type ReplicaAnswer, statusRow, withOtherKey } from './status-view.ts';
import type { ReplicaState } from './supervised-replica.ts';
import { formatTable } from './table.ts';
import { Terminal } from './terminal.ts';
import { fitLine, formatKey, formatReplicas, formatStatusLine, suggestedCommands, summarize } from './up-view.ts';

const nowhere = { write: () => true };
const terminal = new Terminal({ json: false, stdout: nowhere, stderr: nowhere, environment: {} });

describe('a table', () => {
  it('aligns columns and pads before it paints', () => {
    const lines = formatTable(
      [{ title: 'name' }, { title: 'n', align: 'right' }, { title: 'rest' }],
      [
        ['a', '1', 'x'],
        [{ text: 'long', paint: (text) => `<${text}>` }, '100'],
      ],
    );
    expect(lines).toEqual(['name    n  rest', 'a       1  x', '<long>  100']);
  });
});

describe('progress', () => {
  it('shows pace and time left', () => {
    expect(formatProgress(0, 10, 0)).toContain('0/10  0 %');
    expect(formatProgress(500, 1000, 10_000)).toContain('500/1000  50 %  50/s  10 s left');
    expect(formatProgress(1, 3, 2_000)).toContain('0.5/s  4 s left');
    expect([formatSeconds(59), formatSeconds(75), formatSeconds(7320)]).toEqual(['59 s', '1 min 15 s', '2 h 2 min']);
  });
});

describe('a size', () => {
  it('is short, and never 1000 of a unit', () => {
    const sizes = [0, 9_999, 10_000, 999_400, 999_600, 9_940_000, 9_960_000, 2e9, 5e15];
    expect(sizes.map(formatSizeBytes)).toEqual([
      '0 bytes',
      '9,999 bytes',
      '10 kB',
      '999 kB',
      '1.0 MB',
      '9.9 MB',
      '10 MB',
      '2.0 GB',
      '5000 TB',
    ]);
  });
});

describe('the status line of up', () => {
  const ready = (heardAtMs: number, suspected: readonly string[] = []): ReplicaState => {
    return { kind: 'ready', heardAtMs, status: { round: 7, commitIndex: 5, requestsPerSecond: 1234.4, suspected } };
  };

  it('counts replicas, and names as suspected whom more than f suspect', () => {
    const states = [ready(0, ['d']), ready(0, ['d', 'a']), ready(0, ['d']), { kind: 'starting' as const }];
    expect(formatStatusLine(summarize(states, 1, 0))).toBe(
      '3/4 replicas · round 7 · commit 5 · certified none · checkpoint none · 1,234 requests/s · suspected: d',
    );
  });

  it('shows the newest certified head of any', () => {
    const heads = [3, 5, 4].map((commitIndex) => {
      const state = ready(0) as Extract<ReplicaState, { readonly kind: 'ready' }>;
      return { ...state, status: { ...state.status, certified: { commitIndex, logSize: 9 } } };
    });
    expect(formatStatusLine(summarize(heads, 1, 0))).toBe(
      '3/3 replicas · round 7 · commit 5 · certified 5 · checkpoint none · 1,234 requests/s',
    );
  });

  it('shows the newest checkpoint, and how far those are that fetch their state', () => {
    const states = [{}, { stableCommitIndex: 4 }, { fetched: 0.456 }].map((more) => {
      const state = ready(0) as Extract<ReplicaState, { readonly kind: 'ready' }>;
      return { ...state, status: { ...state.status, ...more } };
    });
    expect(formatStatusLine(summarize(states, 1, 0))).toBe(
      '3/3 replicas (1 fetching state: 45 %) · round 7 · commit 5 · certified none · checkpoint 4 · 1,234 requests/s',
    );
  });

  it('does not count a replica that fell silent', () => {
    const line = formatStatusLine(summarize([ready(0), ready(9_000), ready(9_000), ready(9_000)], 1, 10_000));
    expect(line).toContain('3/4 replicas (1 silent)');
  });

  it('is cut to the width of the terminal', () => {
    expect(fitLine('0123456789', 20)).toBe('0123456789');
    expect(fitLine('0123456789', 8)).toBe('012345…');
  });

  it('stands below the addresses of each replica', () => {
    const addresses = { clientAddress: 'host:2', peerAddress: 'host:1', httpAddress: 'host:3' };
    const shown = { replicaId: 'r0', ...addresses, home: 'c/r0', state: ready(0) };
    expect(formatReplicas([shown], terminal)).toEqual([
      'replica  state  clients  replicas  http    home',
      'r0       ready  host:2   host:1    host:3  c/r0',
    ]);
  });

  it('suggests commands that fit the service', () => {
    const place = { keyPath: 'x/service-key', httpAddress: '127.0.0.1:7600' };
    const call = { program: 'npx coterie', clusterOption: '--cluster x', service: 'kv', ...place };
    expect(suggestedCommands(call)).toEqual([
      'npx coterie kv put greeting hello --cluster x',
      'npx coterie kv get greeting --cluster x',
      'npx coterie kv get greeting --certified reply.json --cluster x',
      'npx coterie verify reply.json --service-key $(cat x/service-key)',
      `curl -s http://127.0.0.1:7600/v1/call -H content-type:application/json -d '{"operation":"get","input":{"key":"greeting"}}'`,
      'npx coterie status --cluster x',
    ]);
    expect(suggestedCommands({ ...call, service: './ledger.js' }).join()).not.toContain('kv');
  });

  it('has the service key above it, or says where it will be', () => {
    const made = { serviceKey: 'ab'.repeat(96), isInDoubt: false };
    expect(formatKey(made, 'x/service-key')).toEqual([
      expect.stringContaining('x/service-key'),
      `  ${'ab'.repeat(96)}`,
    ]);
    const young = { serviceKey: undefined, isInDoubt: false };
    expect(formatKey(young, 'x/service-key').join()).toMatch(/not made yet.*x\/service-key/);
    expect(formatKey({ ...made, isInDoubt: true }, 'x/service-key').join()).not.toContain('abab');
  });
});

describe('the status of a cluster', () => {
  const said = (replicaIndex: number, status: Value): ReplicaAnswer => {
    return { replicaIndex, replicaId: `r${replicaIndex}`, clientAddress: 'host:1', answer: { ok: true, status } };
  };
  const good = {
    epoch: 0,
    round: 12,
    commitIndex: 9,
    stateRoot: 'ab'.repeat(32),
    requestsPerSecond: 0,
    suspected: ['r3'],
    uptimeMs: 5,
    logSize: 40,
    certifiedCommitIndex: 8,
    phase: 'running',
    stableCommitIndex: 7,
    stateEntries: 3,
    engineSizeBytes: 1_200_000,
    blockLogSizeBytes: 300_000,
    keyState: 'ready',
    serviceKey: 'cd'.repeat(96),
    diverged: false,
  };
  const report = (rows: readonly ReplicaAnswer[]) => {
    const replicas = rows.map(statusRow);
    const reachable = replicas.filter((row) => row.reachable).length;
    const agreed = agree(replicas);
    const head = { cluster: '.', name: 'ledger', service: 'kv', serviceId: 'ff', quorum: 3, hasQuorum: reachable >= 3 };
    const said = rows.map(({ answer }) => (answer.ok ? answer.status : null));
    return { ...head, replicas, reachable, agreed, epoch: agreedEpoch(said, 1, 10 * hourMs) };
  };

  it('is a table, with the reasons of those that cannot be reached', () => {
    const down: ReplicaAnswer = {
      replicaIndex: 3,
      replicaId: 'r3',
      clientAddress: 'host:4',
      answer: { ok: false, reason: 'connection refused' },
    };
    const lines = formatStatus(report([said(0, good), said(1, good), said(2, { ...good, round: 11 }), down]), terminal);
    expect(lines).toEqual([
      'ledger · service kv · ff',
      '',
      'replica  reachable  epoch  round  commit  certified  checkpoint  log  state         entries    disk  key    requests/s  window  suspected',
      'r0       yes            0     12       9          8           7   40  abababababab        3  1.5 MB  ready           0       ?  r3',
      'r1       yes            0     12       9          8           7   40  abababababab        3  1.5 MB  ready           0       ?  r3',
      'r2       yes            0     11       9          8           7   40  abababababab        3  1.5 MB  ready           0       ?  r3',
      'r3       no',
      '',
      '3 of 4 replicas reachable, 3 needed',
      'r3 (host:4): connection refused',
    ]);
  });

  const hourMs = 3_600_000;
  const since = (hours: number) => ({ epoch: hours, timestamp: hours * hourMs });
  /** Epoch 9 of four replicas, an hour old, of which r3 was made clean five hours ago. */
  const epochState = {
    epoch: 9,
    sharingEpoch: 9,
    began: { commitIndex: 90, timestamp: 9 * hourMs },
    phase: 'steady',
    since: null,
    turn: [],
    membership: {
      f: 1,
      k: 0,
      replicas: [9, 8, 7, 5].map((clean, i) => {
        return { replicaId: `r${i}`, recovery: 'awareness', keysSince: since(9), cleanSince: since(clean) };
      }),
    },
    next: null,
    successors: [],
    disputed: [],
    epochIntervalMs: 0,
  };

  it('shows the window of vulnerability as more than f replicas report it, not as one does', () => {
    const honest = { ...good, epochState };
    const fresh = epochState.membership.replicas.map((replica) => ({ ...replica, cleanSince: since(10) }));
    const liar = { ...good, epochState: { ...epochState, epoch: 10, membership: { f: 1, k: 0, replicas: fresh } } };
    const all = [said(0, honest), said(1, honest), said(2, good), said(3, liar)];
    expect(report(all).epoch).toMatchObject({ epoch: 9, windowSeconds: 5 * 3_600, tooOld: [], disputed: [] });
    const lines = formatStatus(report(all), terminal);
    expect(lines[3]).toMatch(/ 1 h {2}r3$/);
    expect(lines[6]).toMatch(/ 5 h {2}r3$/);
    expect(report([said(0, honest), said(3, liar)]).epoch).toBeNull();
    for (const nonsense of [null, 'x', [], { ...epochState, epoch: -1 }, { ...epochState, turn: [7] }]) {
      expect(report([0, 1, 2].map((i) => said(i, { ...good, epochState: nonsense }))).epoch).toBeNull();
    }
  });

  it('says that the epoch is ending, what is too old for the schedule, and whose keys are in dispute', () => {
    const ending = {
      ...epochState,
      phase: 'preparing',
      since: { commitIndex: 99, timestamp: 9.9 * hourMs },
      disputed: ['r1'],
      epochIntervalMs: hourMs / 2,
    };
    const lines = formatStatus(report([0, 1, 2].map((i) => said(i, { ...good, epochState: ending }))), terminal);
    expect(lines).toContain('the epoch is ending: see "coterie epoch show"');
    expect(lines).toContain('r3: its code is older than the schedule allows');
    expect(lines).toContain('r1: two different successors of its key are signed: replace it');
    expect(lines).not.toContain('r0: its code is older than the schedule allows');
  });

  it('says who is an observer', () => {
    const lines = formatStatus(report([said(0, good), said(1, { ...good, observer: true })]), terminal);
    expect(lines.at(-1)).toBe('r1 is an observer: its log was lost, and it signs nothing in this epoch');
  });

  it('says how far a replica is that fetches its state', () => {
    const progress = {
      phase: 'fetching',
      entries: 30,
      entriesTotal: 120,
      sizeBytes: 5e6,
      sizeBytesTotal: 2e7,
      peers: 3,
    };
    const fetching = { ...good, phase: 'fetching-state', stateRoot: '', transfer: { ...progress, commitIndex: 8 } };
    const all = [said(0, good), said(1, fetching), said(2, { ...fetching, transfer: { commitIndex: 0 } })];
    const lines = formatStatus(report(all), terminal);
    expect(lines.slice(-2)).toEqual([
      'r1 fetches the state of commit 8 from 3 replicas: 30 of 120 entries, 25 % of 20 MB',
      'r2 looks for a checkpoint of the others, to fetch the state that it lacks',
    ]);
    expect(lines[4]).toMatch(/^r1 .* fetching /);
    // It has executed nothing: that is no other state.
    expect(report(all).agreed).toBe(true);
    expect(statusRow(said(1, fetching)).transfer).toMatchObject({ entries: 30, sizeBytesTotal: 2e7 });
    for (const transfer of ['x', [], { entriesTotal: 'x', commitIndex: 1 }]) {
      const nonsense = formatStatus(report([said(0, { ...fetching, transfer })]), terminal);
      expect(nonsense.at(-1)).toMatch(/^r0 looks for/);
    }
  });

  it('names the one whose state differs at the same commit, and not one that is merely behind', () => {
    const liar = { ...good, stateRoot: 'cd'.repeat(32) };
    const behind = { ...liar, commitIndex: 8 };
    const rows = [said(0, good), said(1, good), said(2, liar), said(3, behind)].map(statusRow);
    expect(disagreeing(rows).map(({ replica }) => replica)).toEqual(['r2']);
    const lines = formatStatus(report([said(0, good), said(1, good), said(2, liar)]), terminal);
    expect(lines.at(-1)).toBe('different states at one commit index: r2');
  });

  it('names one that has diverged, and shows so in place of the state of its key', () => {
    const said4 = [said(0, good), said(1, { ...good, diverged: true })];
    const lines = formatStatus(report(said4), terminal);
    expect(report(said4).agreed).toBe(false);
    expect(lines[4]).toMatch(/^r1 .* diverged /);
    expect(lines.at(-1)).toMatch(/^r1 says that its log differs from what the service certified/);
  });

  it('names one that reports another service key, and not one that has none yet', () => {
    const young = { ...good, keyState: 'generating', serviceKey: null, certifiedCommitIndex: 0 };
    const said4 = [said(0, good), said(1, good), said(2, { ...good, serviceKey: 'ef'.repeat(96) }), said(3, young)];
    expect(withOtherKey(said4.map(statusRow)).map(({ replica }) => replica)).toEqual(['r2']);
    const lines = formatStatus(report(said4), terminal);
    expect(lines.at(-1)).toBe('different service keys: r2');
    expect(lines[6]).toMatch(/^r3 .* none +7 +40 +abababababab .* generating /);
    expect(report([said(0, good), said(3, young)]).agreed).toBe(true);
  });

  it('takes nonsense and terminal codes from a hostile replica', () => {
    for (const status of [
      null,
      [],
      'x',
      { round: 'x', suspected: [1], stateRoot: 7, logSize: -1, diverged: 'x', serviceKey: 'x' },
      { epoch: -1 },
    ]) {
      const row = statusRow(said(0, status));
      expect(row).toMatchObject({ reachable: true, round: null, stateRoot: null, suspected: null, epoch: null });
      expect(row).toMatchObject({ logSize: null, diverged: null, serviceKey: null });
      expect(formatStatus(report([said(0, status)]), terminal)[3]).toMatch(/^r0 {7}yes/);
    }
    const nasty = formatStatus(
      report([said(0, { ...good, stateRoot: '\x1b[2J', keyState: '\x1b[2J', suspected: ['\x07'] })]),
      terminal,
    );
    // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is shown.
    expect(nasty.join('')).not.toMatch(/[\x00-\x1f]/);
  });
});
