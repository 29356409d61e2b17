/**
 * Status: asks one replica how it does. Its answer is its own word, believed by nobody; it holds no secret.
 *
 * Uses a link of its own for each question, so that it works without a session and disturbs none.
 */
import type { Digest } from '../crypto/hash.ts';
import { deadlineAfter } from '../platform/deadline.ts';
import { decodeReplicaToClient, encodeClientToReplica } from '../wire/client-message.ts';
import type { Value } from '../wire/value.ts';
import { CoterieError } from './client-error.ts';
import type { Cluster, Dial } from './cluster.ts';

export async function askReplicaStatus(options: {
  readonly cluster: Cluster;
  readonly replicaIndex: number;
  readonly dial: Dial;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}): Promise<Value> {
  const { cluster, replicaIndex, dial, deadlineMs, signal } = options;
  const address = cluster.replicas[replicaIndex];
  if (address === undefined) {
    const sentence = `there is no replica ${replicaIndex}; they are numbered from 0 to ${cluster.replicas.length - 1}`;
    throw new CoterieError('invalid-input', sentence, { outcome: 'not-sent' });
  }
  const what = `replica ${replicaIndex} at ${address.host}:${address.port}`;
  const deadline = deadlineAfter(deadlineMs, [signal]);
  const givenUp = deadline.signal;
  const answer = new Answer(what, cluster.serviceId, replicaIndex);
  const onGivenUp = (): void => {
    if (signal?.aborted) answer.fail('aborted', 'given up by the caller', signal.reason);
    else answer.fail('timeout', `${what} did not answer within ${deadlineMs} ms`);
  };
  if (givenUp.aborted) onGivenUp();
  givenUp.addEventListener('abort', onGivenUp, { once: true });
  let close = (): void => {};
  try {
    const { host, port, keyDigest } = address;
    const link = await dial({
      host,
      port,
      keyDigest,
      timeoutMs: deadlineMs,
      signal: givenUp,
      onFrame: (frame) => answer.take(frame),
      onClose: (end) => answer.fail('unavailable', `${what}: the link ended: ${end.code}`),
    });
    close = () => link.close();
    link.send(encodeClientToReplica({ kind: 'status' }));
  } catch (error) {
    answer.fail('unavailable', `${what}: ${error instanceof Error ? error.message : 'it cannot be reached'}`, error);
  }
  try {
    return await answer.value;
  } finally {
    deadline.end();
    givenUp.removeEventListener('abort', onGivenUp);
    close();
  }
}

/** The answer on one link: a welcome of this replica, then its status. The first word counts. */
class Answer {
  readonly value: Promise<Value>;
  readonly #what: string;
  readonly #serviceId: Digest;
  readonly #replicaIndex: number;
  #isWelcome = false;
  #resolve: (value: Value) => void = () => {};
  #reject: (error: CoterieError) => void = () => {};

  constructor(what: string, serviceId: Digest, replicaIndex: number) {
    this.#what = what;
    this.#serviceId = serviceId;
    this.#replicaIndex = replicaIndex;
    this.value = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // It may fail while the dialling is still awaited.
    this.value.catch(() => {});
  }

  fail(code: 'aborted' | 'timeout' | 'unavailable' | 'invalid-result', sentence: string, cause?: unknown): void {
    this.#reject(new CoterieError(code, sentence, { outcome: 'not-sent', cause }));
  }

  take(frame: Uint8Array): void {
    const decoded = decodeReplicaToClient(frame);
    if (!decoded.ok) {
      this.fail('invalid-result', `${this.#what} sent what is no message: ${decoded.reason}`);
      return;
    }
    const message = decoded.value;
    if (message.kind === 'welcome') {
      this.#isWelcome = message.serviceId === this.#serviceId && message.replicaIndex === this.#replicaIndex;
      if (!this.#isWelcome)
        this.fail('invalid-result', `${this.#what} belongs to another service or is another replica`);
    } else if (message.kind === 'status' && this.#isWelcome) this.#resolve(message.status);
    else this.fail('invalid-result', `${this.#what} sent a ${message.kind} that nobody asked for`);
  }
}
