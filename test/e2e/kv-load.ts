/**
 * Kv load: clients that use the key-value service of a real cluster, and remember everything they did and were told.
 *
 * Callers of one client share its requests; a caller makes one call at a time or a burst of them. A few keys are fought
 * over, with values that nobody writes twice; besides there are keys written once, which must be there in the end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, CoterieError, connect, type ReplicaObservation } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { checkHistory } from '../../simulator/checkers/history-linearizability.ts';
import { History, type HistoryEntry } from '../../simulator/history.ts';
import { readKvOutcomes } from '../../simulator/kv-client.ts';
import type { KvAction } from '../../simulator/kv-model.ts';
import { Prng } from '../../simulator/prng.ts';
import { sha256 } from '../../src/crypto/hash.ts';
import { encodeOutcomes } from '../../src/wire/outcome.ts';
import type { Value } from '../../src/wire/value.ts';

export interface KvLoadOptions {
  readonly genesis: string;
  /** With it the clients follow the replicas from epoch to epoch. */
  readonly followKey?: string | undefined;
  readonly clients?: number;
  readonly callersPerClient?: number;
  readonly keys?: number;
  /** Between the calls of one caller; bounds the history, which is searched afterwards. */
  readonly pauseMs?: number;
  readonly deadlineMs?: number;
  /** Added to each value. */
  readonly paddingSizeBytes?: number;
  readonly seed?: number;
}

/** Calls in a burst. */
const burstCalls = 6;

export class KvLoad {
  /** Calls that were rejected, as sentences. */
  readonly failures: string[] = [];
  readonly #options: Required<Omit<KvLoadOptions, 'followKey'>> & Pick<KvLoadOptions, 'followKey'>;
  readonly #clients: Client[] = [];
  readonly #history = new History();
  /** Operations that certainly were not executed. */
  readonly #notExecuted = new Set<HistoryEntry>();
  /** Keys written once whose writing was acknowledged, with their values. */
  readonly #once = new Map<string, string>();
  #callers: Promise<void>[] = [];
  #isEnding = false;
  #returned = 0;
  #values = 0;

  private constructor(options: KvLoadOptions) {
    this.#options = {
      clients: 3,
      callersPerClient: 3,
      keys: 6,
      pauseMs: 15,
      deadlineMs: 60_000,
      paddingSizeBytes: 0,
      seed: 1,
      ...options,
    };
  }

  static async start(options: KvLoadOptions): Promise<KvLoad> {
    const load = new KvLoad(options);
    const { genesis, followKey, clients, callersPerClient, deadlineMs, seed } = load.#options;
    for (let i = 0; i < clients; i++) load.#clients.push(await connect({ genesis, followKey, deadlineMs }));
    load.#callers = load.#clients.flatMap((client, i) =>
      Array.from({ length: callersPerClient }, (_, j) =>
        load.#run(client, `c${i}.${j}`, new Prng(seed * 1_000 + i * 100 + j), j % 2 === 1 ? burstCalls : 1),
      ),
    );
    return load;
  }

  /** Calls that have returned with a result. */
  get returned(): number {
    return this.#returned;
  }

  /** What each client has seen of the replicas. */
  get observations(): readonly (readonly ReplicaObservation[])[] {
    return this.#clients.map((client) => client.replicas());
  }

  /** Resolves when so many more calls have returned with a result. */
  async goesOn(calls: number): Promise<void> {
    const target = this.#returned + calls;
    while (this.#returned < target) {
      if (this.failures.length > 20) throw new Error(`the load fails: ${this.failures.slice(-3).join('; ')}`);
      await sleep(10);
    }
  }

  /** Lets the calls that are open return, then reads every key once more. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#callers);
    const client = this.#clients[0] as Client;
    for (let i = 0; i < this.#options.keys; i++) await this.#call(client, 'final', { kind: 'get', key: `k${i}` });
    const found = await readAll(client, 'once/');
    for (const [key, value] of this.#once) {
      if (found.get(key) !== value) this.failures.push(`${key} was acknowledged and is ${found.get(key) ?? 'absent'}`);
    }
    await this.close();
  }

  /** Ends the clients; calls that are open are given up. */
  async close(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all(this.#callers);
  }

  /** What no order of the operations explains, as sentences; and how much there was to explain. */
  judge(): { readonly violations: readonly string[]; readonly operations: number; readonly tooHard: number } {
    const violations: string[] = [];
    const entries = this.#history.entries.filter((entry) => !this.#notExecuted.has(entry));
    const counts = checkHistory(entries, (_, message) => violations.push(message));
    return { violations, ...counts };
  }

  async #run(client: Client, name: string, prng: Prng, together: number): Promise<void> {
    while (!this.#isEnding) {
      await Promise.all(Array.from({ length: together }, () => this.#turn(client, name, prng)));
      await sleep(this.#options.pauseMs);
    }
  }

  async #turn(client: Client, name: string, prng: Prng): Promise<void> {
    this.#values += 1;
    const value = `${name}-${this.#values}${'.'.repeat(this.#options.paddingSizeBytes)}`;
    const key = `k${prng.below(this.#options.keys)}`;
    if (prng.chance(0.15)) {
      const written = await this.#call(client, name, { kind: 'put', key: `once/${this.#values}/${name}`, value });
      if (written !== undefined) this.#once.set(written, value);
      return;
    }
    const kind = prng.weighted<KvAction['kind']>([
      ['get', 35],
      ['put', 30],
      ['cas', 25],
      ['delete', 10],
    ]);
    if (kind !== 'cas') {
      await this.#call(client, name, kind === 'put' ? { kind, key, value } : { kind, key });
      return;
    }
    // Against what it holds now, so that it often succeeds when nobody comes between.
    const held = await client
      .of(kv)
      .get({ key })
      .catch(() => null);
    const expected = typeof held === 'string' ? held : undefined;
    await this.#call(client, name, { kind, key, expected, value });
  }

  /** Makes one call and notes it; the key when it was acknowledged. */
  async #call(client: Client, name: string, action: KvAction): Promise<string | undefined> {
    const request = `${name} #${this.#history.entries.length}`;
    const entries = this.#history.called(request, sha256(Buffer.from(request)), [action]);
    try {
      const result = encodeOutcomes([{ ok: true, value: await invoke(client, action) }]);
      this.#returned += 1;
      this.#history.returned(entries, readKvOutcomes([action], result), result, this.#returned);
      return action.key;
    } catch (error) {
      if (!(error instanceof CoterieError)) throw error;
      if (error.outcome !== 'unknown') for (const entry of entries) this.#notExecuted.add(entry);
      if (error.code !== 'closed') this.failures.push(`${request}: ${error.code} (${error.outcome}): ${error.message}`);
      return undefined;
    }
  }
}

function invoke(client: Client, action: KvAction): Promise<Value> {
  switch (action.kind) {
    case 'get':
    case 'delete':
      return client.call(action.kind, { key: action.key });
    case 'put':
      return client.call('put', { key: action.key, value: action.value });
    case 'cas':
      return client.call('cas', { key: action.key, expected: action.expected ?? null, value: action.value });
  }
}

/** Every entry with a prefix, page by page. */
export async function readAll(client: Client, prefix: string): Promise<ReadonlyMap<string, unknown>> {
  const found = new Map<string, unknown>();
  for (let after: string | undefined; ; ) {
    const page = await client
      .of(kv)
      .list(after === undefined ? { prefix, limit: 1000 } : { prefix, after, limit: 1000 });
    for (const { key, value } of page.entries) found.set(key, value);
    if (page.next === null) return found;
    after = page.next;
  }
}
