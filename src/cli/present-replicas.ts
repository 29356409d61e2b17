/**
 * Present replicas: who the replicas of a cluster directory are by now, and what each says of itself.
 *
 * In: the genesis, the service key and the last membership of the directory. Out: statuses, each the word of one replica. The
 * membership is asked for only when there are signs of a later epoch: a replica that is not the one known, or that says so.
 */
import { dirname, join } from 'node:path';
import { askAddress, claimedEpoch, statedBy } from '../client/certified-membership.ts';
import type { CertifiedMembershipDocument, Value } from '../client/client.ts';
import { CoterieError } from '../client/client-error.ts';
import { type Cluster as Replicas, readCluster } from '../client/cluster.ts';
import { isAfter } from '../client/epoch-following.ts';
import { loadServiceKey, type ServiceKey } from '../client/service-key.ts';
import { askReplicaStatus } from '../client/status.ts';
import { deadlineAfter } from '../platform/deadline.ts';
import { readServiceKey } from '../storage/cluster-directory.ts';
import { dialReplica } from '../transport/client-dial.ts';
import { httpGet } from '../transport/http-ask.ts';
import { TransportError } from '../transport/transport-error.ts';
import type { GenesisAddress } from '../wire/genesis.ts';
import type { Cluster } from './cluster.ts';
import { MembershipFile, membershipName } from './membership-file.ts';
import type { Terminal } from './terminal.ts';

/** Where a replica cannot be reached, whoever is there is asked for so long why that is. */
const httpPatienceMs = 2_000;
const statusSizeBytesMax = 1024 * 1024;

export type Answers = readonly PromiseSettledResult<Value>[];

export class PresentReplicas {
  #replicas: Replicas;
  readonly #key: (() => Promise<ServiceKey>) | undefined;
  readonly #file: MembershipFile;

  private constructor(replicas: Replicas, key: (() => Promise<ServiceKey>) | undefined, file: MembershipFile) {
    this.#replicas = replicas;
    this.#key = key;
    this.#file = file;
  }

  /** As far as the directory knows. Rejects with the typed errors of storage/ and of the client. */
  static async open(cluster: Cluster, terminal: Terminal): Promise<PresentReplicas> {
    const first = await readCluster(cluster.genesis);
    const text = await readServiceKey(cluster.directory);
    const key = text === undefined ? undefined : () => loadServiceKey(text);
    const path = join(dirname(cluster.identityPath), membershipName);
    const present = new PresentReplicas(
      first,
      key,
      new MembershipFile(path, (what) => terminal.note(`warning: ${what}`)),
    );
    const kept = await present.#file.load();
    if (kept !== undefined) await present.#take(kept).catch(() => undefined);
    return present;
  }

  /** As they are known now, by replica index. */
  get replicas(): Replicas {
    return this.#replicas;
  }

  /** Asks all at the same time; `replicas` are those that were asked. */
  async askAll(timeoutMs: number): Promise<Answers> {
    const answers = await this.#ask(timeoutMs);
    if (!this.#isBehind(answers) || !(await this.#follow(timeoutMs))) return answers;
    return this.#ask(timeoutMs);
  }

  #ask(timeoutMs: number): Promise<Answers> {
    const cluster = this.#replicas;
    return Promise.allSettled(
      cluster.replicas.map(async ({ http }, replicaIndex) => {
        try {
          return await askReplicaStatus({ cluster, replicaIndex, dial: dialReplica, deadlineMs: timeoutMs });
        } catch (error) {
          throw (await isWithoutKeys(http, timeoutMs)) ? withoutKeys(error) : error;
        }
      }),
    );
  }

  #isBehind(answers: Answers): boolean {
    return answers.some((answer) =>
      answer.status === 'fulfilled'
        ? Number(Object(answer.value).epoch) > this.#replicas.epoch
        : isStranger(answer.reason),
    );
  }

  /** Is there a later membership? */
  async #follow(timeoutMs: number): Promise<boolean> {
    if (this.#key === undefined) return false;
    const deadline = deadlineAfter(timeoutMs);
    try {
      const said = await Promise.allSettled(
        this.#replicas.replicas.map(({ http }) => askAddress(http, deadline.signal)),
      );
      const texts = said.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      const latestFirst = texts.sort((a, b) => (claimedEpoch(b) ?? -1) - (claimedEpoch(a) ?? -1));
      for (const text of latestFirst) {
        const document = await this.#take(text).catch(() => undefined);
        if (document === undefined) continue;
        this.#file.save(document);
        return true;
      }
      return false;
    } finally {
      deadline.end();
      await this.#file.ended();
    }
  }

  /** Undefined when it is of no later epoch. Rejects when the service did not sign it. */
  async #take(text: string): Promise<CertifiedMembershipDocument | undefined> {
    if (this.#key === undefined || (claimedEpoch(text) ?? 0) <= this.#replicas.epoch) return undefined;
    const { cluster, document } = statedBy(await this.#key(), text);
    if (!isAfter(cluster, this.#replicas)) return undefined;
    this.#replicas = cluster;
    return document;
  }
}

/** Says who answers by HTTP, with no key to prove it, that the replica has lost its keys? Then it listens nowhere else. */
async function isWithoutKeys(http: GenesisAddress, timeoutMs: number): Promise<boolean> {
  const signal = AbortSignal.timeout(Math.min(timeoutMs, httpPatienceMs));
  try {
    const text = await httpGet({ ...http, path: '/v1/status', sizeBytesMax: statusSizeBytesMax, signal });
    return Object(JSON.parse(text)).phase === 'without-keys';
  } catch {
    return false;
  }
}

/** It cannot be reached, and this is why. */
function withoutKeys(error: unknown): CoterieError {
  const sentence = 'it has lost its keys of this epoch, as it says by HTTP; it names new ones when the epoch ends';
  return new CoterieError('unavailable', sentence, { outcome: 'not-sent', cause: Object(error).cause });
}

/** Was there somebody else than who is known? */
function isStranger(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return (cause instanceof TransportError && cause.code === 'wrong-key') || /another replica/.test(String(error));
}
