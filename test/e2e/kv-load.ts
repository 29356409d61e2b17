/**
 * Kv load: clients that use the key-value service of a real cluster, and remember everything they did and were told.
 *
 * Callers of one client share its requests; a caller makes one call at a time or a burst of them. A few keys are fought
 * over, with values that nobody writes twice; besides there are keys written once, which must be there in the end.
 * With the service key some calls are certified, and what is written once is read from the state, too: what a client has seen
 * certified it must never see otherwise, and each document must prove what it says.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, CoterieError, connect, type ReplicaObservation } from 'coterie/client';
import { kv } from 'coterie/services/kv';
import { verifyCertifiedReply, verifyCertifiedState } from 'coterie/verify';
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
  /** The same, and some calls are certified. */
  readonly serviceKey?: string | undefined;
  readonly clients?: number;
  readonly callersPerClient?: number;
  readonly keys?: number;
  /** After so many calls the keys are others, so that the history of each stays short enough to be searched; by default never. */
  readonly callsPerKeys?: number;
  /** Between the calls of one caller; bounds the history, which is searched afterwards. */
  readonly pauseMs?: number;
  readonly deadlineMs?: number;
  /** Added to each value. */
  readonly paddingSizeBytes?: number;
  readonly seed?: number;
}

/** Calls in a burst. */
const burstCalls = 6;
/** Of the calls, when there is a service key to check them by. */
const certifiedCalls = 0.2;

export class KvLoad {
  /** Calls that were rejected, as sentences. */
  readonly failures: string[] = [];
  readonly #options: Required<Omit<KvLoadOptions, 'followKey' | 'serviceKey'>> &
    Pick<KvLoadOptions, 'followKey' | 'serviceKey'>;
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
  /** Results and reads that came with a proof. */
  #proven = 0;

  private constructor(options: KvLoadOptions) {
    this.#options = {
      clients: 3,
      callersPerClient: 3,
      keys: 6,
      callsPerKeys: Number.POSITIVE_INFINITY,
      pauseMs: 15,
      deadlineMs: 60_000,
      paddingSizeBytes: 0,
      seed: 1,
      ...options,
    };
  }

  static async start(options: KvLoadOptions): Promise<KvLoad> {
    const load = new KvLoad(options);
    const { genesis, followKey, serviceKey, clients, callersPerClient, deadlineMs, seed } = load.#options;
    for (let i = 0; i < clients; i++) load.#clients.push(await connect({ genesis, followKey, serviceKey, deadlineMs }));
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

  /** Results and reads that came with a proof, and were as it says. */
  get proven(): number {
    return this.#proven;
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
    const fought = new Set(this.#history.entries.map(({ action }) => action.key).filter((key) => !isOnce(key)));
    for (const key of fought) await this.#call(client, 'final', { kind: 'get', key });
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
    const { keys, callsPerKeys } = this.#options;
    const generation = Math.floor(this.#values / callsPerKeys);
    const key = `${generation === 0 ? '' : `g${generation}/`}k${prng.below(keys)}`;
    const isCertified = this.#options.serviceKey !== undefined && prng.chance(certifiedCalls);
    if (prng.chance(0.15)) {
      const once: KvAction = { kind: 'put', key: `once/${this.#values}/${name}`, value };
      const written = await this.#call(client, name, once, isCertified);
      if (written === undefined) return;
      this.#once.set(written, value);
      if (isCertified) await this.#readBack(client, written, value);
      return;
    }
    const kind = prng.weighted<KvAction['kind']>([
      ['get', 35],
      ['put', 30],
      ['cas', 25],
      ['delete', 10],
    ]);
    if (kind !== 'cas') {
      await this.#call(client, name, kind === 'put' ? { kind, key, value } : { kind, key }, isCertified);
      return;
    }
    // Against what it holds now, so that it often succeeds when nobody comes between.
    const held = await client
      .of(kv)
      .get({ key })
      .catch(() => null);
    const expected = typeof held === 'string' ? held : undefined;
    await this.#call(client, name, { kind, key, expected, value }, isCertified);
  }

  /** The state of the head that certified it, or of a later one, has it. */
  async #readBack(client: Client, key: string, written: string): Promise<void> {
    try {
      const { value, document } = await client.readCertified(key);
      if (value !== written) this.failures.push(`${key} is certified and the state has ${JSON.stringify(value)}`);
      const verdict = verifyCertifiedState(document, this.#options.serviceKey ?? '');
      if (!verdict.ok) this.failures.push(`the proof of ${key} does not hold: ${JSON.stringify(verdict)}`);
      this.#proven += 1;
    } catch (error) {
      this.#failed(`reading ${key}`, error);
    }
  }

  /** Makes one call and notes it; the key when it was acknowledged. */
  async #call(client: Client, name: string, action: KvAction, isCertified = false): Promise<string | undefined> {
    const request = `${name} #${this.#history.entries.length}`;
    const entries = this.#history.called(request, sha256(Buffer.from(request)), [action]);
    try {
      const value = isCertified ? await this.#certified(client, action) : await invoke(client, action);
      const result = encodeOutcomes([{ ok: true, value }]);
      this.#returned += 1;
      this.#history.returned(entries, readKvOutcomes([action], result), result, this.#returned);
      return action.key;
    } catch (error) {
      const failure = this.#failed(request, error);
      if (failure.outcome !== 'unknown') for (const entry of entries) this.#notExecuted.add(entry);
      return undefined;
    }
  }

  async #certified(client: Client, action: KvAction): Promise<Value> {
    const { value, document } = await client.callCertified(action.kind, inputOf(action));
    const verdict = verifyCertifiedReply(document, this.#options.serviceKey ?? '');
    if (!verdict.ok) this.failures.push(`the proof of a ${action.kind} does not hold: ${JSON.stringify(verdict)}`);
    this.#proven += 1;
    return value;
  }

  #failed(what: string, error: unknown): CoterieError {
    if (!(error instanceof CoterieError)) throw error;
    if (error.code !== 'closed') this.failures.push(`${what}: ${error.code} (${error.outcome}): ${error.message}`);
    return error;
  }
}

function isOnce(key: string): boolean {
  return key.startsWith('once/');
}

function invoke(client: Client, action: KvAction): Promise<Value> {
  return client.call(action.kind, inputOf(action));
}

function inputOf(action: KvAction): Value {
  switch (action.kind) {
    case 'get':
    case 'delete':
      return { key: action.key };
    case 'put':
      return { key: action.key, value: action.value };
    case 'cas':
      return { key: action.key, expected: action.expected ?? null, value: action.value };
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
