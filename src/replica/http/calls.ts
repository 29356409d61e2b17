/**
 * Calls: requests that came by HTTP, on their way through the event loop and back.
 *
 * In: encoded requests, questions for the state; from the loop, replies, proofs and refusals. Out: inputs for the loop; each
 * call's end. A call stands
 * for a link of a client that is used once; such links have negative numbers, real ones do not. Calls for somebody who
 * signs nothing go into sessions of this replica's own, under its signing key (docs/operations/http.md).
 */
import { type SigningKey, sign } from '../../crypto/ed25519.ts';
import type { Digest } from '../../crypto/hash.ts';
import type { Reply } from '../../execution/execution.ts';
import { setTimer, type Timer } from '../../platform/clock.ts';
import type { RandomBytes } from '../../platform/random.ts';
import { limits } from '../../wire/limits.ts';
import { decodeOutcomes } from '../../wire/outcome.ts';
import { decodeRequest, encodeRequest, requestPreimage, sessionNonceSizeBytes } from '../../wire/request.ts';
import { encodeValue, type Value } from '../../wire/value.ts';
import type { ClientInput } from '../client-port.ts';
import type { ReplicaEffects } from '../effects.ts';
import type { StateRead, Submitted } from './backend.ts';

interface OpenCall {
  readonly link: number;
  readonly requestDigest: Digest | undefined;
  readonly certified: boolean;
  readonly settle: (submitted: Submitted) => void;
}

export interface SubmitOptions {
  readonly certified: boolean;
  readonly signal: AbortSignal;
}

/** Does this number stand for a call by HTTP, and not for a client's link? */
export function isHttpLink(link: number): boolean {
  return link < 0;
}

export class HttpCalls {
  readonly #serviceId: Digest;
  #signingKey: SigningKey;
  readonly #randomBytes: RandomBytes;
  readonly #commitIndex: () => number;
  readonly #onInput: (input: ClientInput) => void;
  readonly #open = new Map<number, OpenCall>();
  /** Questions for the state, by their links. */
  readonly #reads = new Map<number, (read: StateRead) => void>();
  readonly #byDigest = new Map<Digest, Set<OpenCall>>();
  #lastLink = 0;
  #session: AnonymousSession | undefined;

  constructor(options: {
    readonly serviceId: Digest;
    readonly signingKey: SigningKey;
    readonly randomBytes: RandomBytes;
    readonly commitIndex: () => number;
    readonly onInput: (input: ClientInput) => void;
  }) {
    this.#serviceId = options.serviceId;
    this.#signingKey = options.signingKey;
    this.#randomBytes = options.randomBytes;
    this.#commitIndex = options.commitIndex;
    this.#onInput = options.onInput;
  }

  /** In another epoch the replica has another key, and sessions of its own under that. */
  signWith(signingKey: SigningKey): void {
    this.#signingKey = signingKey;
    this.#session = undefined;
  }

  submit(request: Uint8Array, { certified, signal }: SubmitOptions): Promise<Submitted> {
    this.#lastLink -= 1;
    const link = this.#lastLink;
    const decoded = decodeRequest(request);
    const requestDigest = decoded.ok ? decoded.value.digest : undefined;
    const input: ClientInput = { kind: 'client-request', link, request, certifyFrom: certified ? 0 : undefined };
    return new Promise((resolve) => {
      const giveUp = (): void => call.settle({ kind: 'given-up' });
      // A reply may be dropped among too many large ones (`execution/reply-batch.ts`): whoever calls asks again, as clients do.
      let asking: Timer | undefined;
      const ask = (): void => {
        this.#onInput(input);
        if (this.#open.has(link)) asking = setTimer(limits.httpAskAgainMs, ask, { background: true });
      };
      const call: OpenCall = {
        link,
        requestDigest,
        certified,
        settle: (submitted) => {
          if (!this.#remove(call)) return;
          asking?.cancel();
          signal.removeEventListener('abort', giveUp);
          resolve(submitted);
        },
      };
      this.#open.set(link, call);
      if (requestDigest !== undefined) {
        const calls = this.#byDigest.get(requestDigest) ?? new Set();
        this.#byDigest.set(requestDigest, calls.add(call));
      }
      signal.addEventListener('abort', giveUp, { once: true });
      if (signal.aborted) giveUp();
      else ask();
    });
  }

  async submitAnonymous(
    operation: string,
    input: Value,
    options: SubmitOptions,
  ): Promise<{ readonly request: Uint8Array; readonly submitted: Submitted } | 'too-many'> {
    this.#session ??= new AnonymousSession(this.#commitIndex(), this.#randomBytes(sessionNonceSizeBytes));
    const session = this.#session;
    const place = session.take();
    if (place === undefined) return 'too-many';
    const client = this.#signingKey.publicKey.bytes;
    const operations = [{ name: operation, input: encodeValue(input) }];
    const content = { client, session: session.name, ...place, operations };
    const { bytes } = encodeRequest(content, (digest) =>
      sign(this.#signingKey, requestPreimage(this.#serviceId, digest)),
    );
    const submitted = await this.submit(bytes, options);
    session.done(place.number);
    if (isSessionLost(submitted) && this.#session === session) this.#session = undefined;
    return { request: bytes, submitted };
  }

  /** Asks what is under a key of the state; the same as a link that is used once. */
  read(
    key: string,
    { notBefore, signal }: { readonly notBefore: number; readonly signal: AbortSignal },
  ): Promise<StateRead> {
    this.#lastLink -= 1;
    const link = this.#lastLink;
    return new Promise((resolve) => {
      const giveUp = (): void => settle({ kind: 'given-up' });
      const settle = (read: StateRead): void => {
        if (!this.#reads.delete(link)) return;
        signal.removeEventListener('abort', giveUp);
        this.#onInput({ kind: 'client-gone', link });
        resolve(read);
      };
      this.#reads.set(link, settle);
      signal.addEventListener('abort', giveUp, { once: true });
      if (signal.aborted) giveUp();
      else this.#onInput({ kind: 'client-asks-state', link, number: 0, key, notBefore, logSize: 0 });
    });
  }

  /** A reply to anybody; it may be one that is waited for here. */
  reply(reply: Reply): void {
    for (const call of this.#byDigest.get(reply.requestDigest) ?? []) {
      // One that was not executed has no proof: the reply is all there is.
      if (call.certified && reply.leafIndex !== undefined) continue;
      call.settle({ kind: 'reply', commitIndex: reply.commitIndex, result: reply.result });
    }
  }

  certified({ link, message }: ReplicaEffects['certified'][number]): void {
    switch (message.kind) {
      case 'certified':
        this.#open.get(link)?.settle(message);
        return;
      case 'state':
        this.#reads.get(link)?.(message);
        return;
      case 'state-refused':
        this.#reads.get(link)?.({ ...message, kind: 'refused' });
    }
  }

  refuse({ link, code, reason }: ReplicaEffects['refusals'][number]): void {
    this.#open.get(link)?.settle({ kind: 'refused', code, reason });
  }

  #remove(call: OpenCall): boolean {
    if (!this.#open.delete(call.link)) return false;
    if (call.requestDigest !== undefined) {
      const calls = this.#byDigest.get(call.requestDigest);
      calls?.delete(call);
      if (calls?.size === 0) this.#byDigest.delete(call.requestDigest);
    }
    this.#onInput({ kind: 'client-gone', link: call.link });
    return true;
  }
}

/** The numbers of one session of this replica's own: taken in order, done in any. */
class AnonymousSession {
  readonly name: { readonly birth: number; readonly nonce: Uint8Array };
  readonly #done = new Set<number>();
  #number = 0;
  #acknowledged = 0;

  constructor(birth: number, nonce: Uint8Array) {
    this.name = { birth, nonce };
  }

  /** The next number; undefined when too many are open. */
  take(): { readonly number: number; readonly acknowledged: number } | undefined {
    if (this.#number - this.#acknowledged >= limits.sessionWindowRequests) return undefined;
    this.#number += 1;
    return { number: this.#number, acknowledged: this.#acknowledged };
  }

  done(number: number): void {
    this.#done.add(number);
    while (this.#done.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
  }
}

/** The replicas have forgotten the session: the next call begins another. */
function isSessionLost(submitted: Submitted): boolean {
  if (submitted.kind !== 'reply') return false;
  const outcomes = decodeOutcomes(submitted.result);
  const first = outcomes.ok ? outcomes.value[0] : undefined;
  return first !== undefined && !first.ok && first.code === 'session-expired';
}
