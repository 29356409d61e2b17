/**
 * Key watch: what `up` knows of the service key: how far its making is, which key the replicas here report, and the file in
 * the cluster directory that keeps it for people and clients.
 *
 * In: the states of the replicas, again and again. Out: a line of progress, then the key or an alarm, each once.
 * Safety: a key counts when more than f replicas report it and none here reports another. A file that holds another key is
 * never replaced: who trusts it trusts the first one.
 */
import type { ReplicaState } from './supervised-replica.ts';
import type { KeyReport } from './supervision-message.ts';

export type KeyFinding =
  /** No replica says anything about a key. */
  | { readonly kind: 'unknown' }
  /** Not enough report one; the report of whoever is furthest. */
  | { readonly kind: 'making'; readonly furthest: KeyReport }
  | { readonly kind: 'agreed'; readonly serviceKey: string }
  /** Replicas report different keys. */
  | { readonly kind: 'disputed'; readonly claims: ReadonlyMap<string, readonly string[]> };

export interface ReportedKey {
  readonly replicaId: string;
  readonly state: ReplicaState;
}

/** What the replicas say together; a key counts when `needed` of them report it. */
export function findKey(reported: readonly ReportedKey[], needed: number): KeyFinding {
  const claims = new Map<string, string[]>();
  let furthest: KeyReport | undefined;
  for (const { replicaId, state } of reported) {
    const key = state.kind === 'ready' ? state.status.key : undefined;
    if (key === undefined) continue;
    if (key.serviceKey !== undefined) claims.set(key.serviceKey, [...(claims.get(key.serviceKey) ?? []), replicaId]);
    if (furthest === undefined || placeOf(key) > placeOf(furthest)) furthest = key;
  }
  if (furthest === undefined) return { kind: 'unknown' };
  if (claims.size > 1) return { kind: 'disputed', claims };
  for (const [serviceKey, replicas] of claims) {
    if (replicas.length >= needed) return { kind: 'agreed', serviceKey };
  }
  return { kind: 'making', furthest };
}

/** Orders reports by how far they are. */
function placeOf({ phase, dealt, qualified }: KeyReport): number {
  return ({ waiting: 0, generating: 1, ready: 2 }[phase] * 1_000 + qualified) * 1_000 + dealt;
}

/** One line of progress. */
export function formatKeyProgress({ phase, dealt, qualified, needed }: KeyReport): string {
  const what = 'Making the service key';
  switch (phase) {
    case 'waiting':
      return `${what}: waiting for the first dealing`;
    case 'generating':
      return `${what}: ${dealt} dealt · ${Math.min(qualified, needed)} of ${needed} qualified`;
    case 'ready':
      return `${what}: waiting for more replicas to report it`;
  }
}

export interface KeyWatchOptions {
  /** Replicas that must report one key. */
  readonly needed: number;
  /** Keeps the key. Rejects when there is another one already. */
  record(serviceKey: string): Promise<void>;
  onKey(serviceKey: string): void;
  /** Something is wrong that a person must look at. */
  onAlarm(sentence: string): void;
}

export class KeyWatch {
  readonly #options: KeyWatchOptions;
  readonly #alarms = new Set<string>();
  #finding: KeyFinding = { kind: 'unknown' };
  #serviceKey: string | undefined;
  #refused: string | undefined;
  #recording: Promise<void> | undefined;
  #onSettled: () => void = () => {};

  constructor(options: KeyWatchOptions) {
    this.#options = options;
  }

  /** The key that the replicas agree on and that the file holds. */
  get serviceKey(): string | undefined {
    return this.#serviceKey;
  }

  /** There was an alarm: no key is to be shown as the service's. */
  get isInDoubt(): boolean {
    return this.#alarms.size > 0;
  }

  /** A line while the key is being made; undefined when it is known, disputed or never spoken of. */
  get progress(): string | undefined {
    const finding = this.#finding;
    return this.#serviceKey === undefined && finding.kind === 'making'
      ? formatKeyProgress(finding.furthest)
      : undefined;
  }

  /** Takes what the replicas say now. */
  update(reported: readonly ReportedKey[]): void {
    this.#finding = findKey(reported, this.#options.needed);
    if (this.#finding.kind === 'disputed') this.#alarm(disputeOf(this.#finding.claims));
    if (this.#finding.kind === 'agreed') this.#take(this.#finding.serviceKey);
    if (this.progress === undefined && this.#recording === undefined) this.#onSettled();
  }

  /** Resolves when there is nothing to wait for, or with `signal`. */
  settled(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#onSettled = () => {};
        resolve();
      };
      if (signal.aborted || (this.progress === undefined && this.#recording === undefined)) {
        resolve();
        return;
      }
      signal.addEventListener('abort', done);
      this.#onSettled = done;
    });
  }

  #take(serviceKey: string): void {
    if (this.#recording !== undefined || serviceKey === this.#serviceKey || serviceKey === this.#refused) return;
    this.#recording = this.#options
      .record(serviceKey)
      .then(
        () => {
          this.#serviceKey = serviceKey;
          this.#options.onKey(serviceKey);
        },
        (error: unknown) => {
          // Told once; the replicas will go on reporting the same key.
          this.#refused = serviceKey;
          this.#alarm(sentenceOf(error));
        },
      )
      .then(() => {
        this.#recording = undefined;
        this.#onSettled();
      });
  }

  #alarm(sentence: string): void {
    if (this.#alarms.has(sentence)) return;
    this.#alarms.add(sentence);
    this.#options.onAlarm(sentence);
  }
}

function disputeOf(claims: ReadonlyMap<string, readonly string[]>): string {
  const said = [...claims].map(([key, replicas]) => `${replicas.join(', ')}: ${key.slice(0, 16)}…`).sort();
  return `The replicas report different service keys (${said.join('; ')}). Some of them lie or are broken; none was kept.`;
}

function sentenceOf(error: unknown): string {
  const { message, hint } = error as { readonly message?: unknown; readonly hint?: unknown };
  return [message, hint].filter((part) => typeof part === 'string').join(' ');
}
