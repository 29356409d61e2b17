/**
 * Client port of a liar: tells clients wrong results, some at once and some that were right once, with wrong indexes and proofs of something
 * else; refuses good requests; sends frames that nobody asked for; and says of itself what it likes.
 */

import { sha256, sha256Of } from '../../../src/crypto/hash.ts';
import type { Reply } from '../../../src/execution/execution.ts';
import type { CertifiedAnswer, CertifiedMessage } from '../../../src/replica/certified-replies.ts';
import { type ClientInput, ClientPort as HonestClientPort } from '../../../src/replica/client-port.ts';
import type { ClientLink } from '../../../src/transport/client-listener.ts';
import { encodeReplicaToClient } from '../../../src/wire/client-message.ts';
import { encodeOutcomes } from '../../../src/wire/outcome.ts';
import { decodeRequest, type Request } from '../../../src/wire/request.ts';
import { encodeValue } from '../../../src/wire/value.ts';
import { diceFor, Memory } from './dice.ts';

/** Of every so many requests one is refused. */
const requestsPerRefusal = 5;
/** Late enough for it to have lied before. */
const pesterAfterMs = 400;
const lie = encodeOutcomes([{ ok: true, value: 'a lie' }]);

type ClientPortOptions = ConstructorParameters<typeof HonestClientPort>[0];

export class ClientPort extends HonestClientPort {
  readonly #options: ClientPortOptions;
  readonly #dice = diceFor(10_000_019);
  readonly #results = new Memory<Uint8Array>(this.#dice, 16);
  readonly #answers = new Memory<CertifiedMessage>(this.#dice, 16);
  #requests = 0;

  constructor(options: ClientPortOptions) {
    super({
      ...options,
      // So far in the future that no replica knows a session born then.
      commitIndex: () => options.commitIndex() + 1_000_000,
      status: () => ({ ...Object(options.status()), commitIndex: 999_999, stateRoot: 'f'.repeat(64) }),
      onInput: (input) => this.#take(input),
    });
    this.#options = options;
  }

  override add(link: ClientLink): void {
    super.add(link);
    if (link.id % 2 === 0) setTimeout(() => this.#pester(link), pesterAfterMs);
  }

  override reply(reply: Reply): void {
    // An old result of its own is as good as any lie: a read that is stale, a swap that was.
    const old = this.#results.any;
    this.#results.keep(reply.result);
    const result = old !== undefined && this.#dice.chance(0.5) ? old : lie;
    const commitIndex = this.#dice.chance(0.3) ? reply.commitIndex + 1 : reply.commitIndex;
    super.reply({ ...reply, result, commitIndex });
  }

  override certified({ link, message }: CertifiedAnswer): void {
    super.certified({ link, message: this.#misproven(message) });
  }

  /** Its proofs are of another result, of another value, or of a while ago. */
  #misproven(message: CertifiedMessage): CertifiedMessage {
    const old = this.#answers.any;
    this.#answers.keep(message);
    const isFit = old !== undefined && old.kind === message.kind && this.#dice.chance(0.5);
    switch (message.kind) {
      case 'certified': {
        if (!isFit || old.kind !== 'certified') return { ...message, result: lie };
        const { requestDigest, number } = message;
        return { ...old, requestDigest, number };
      }
      case 'state': {
        if (!isFit || old.kind !== 'state') return { ...message, value: encodeValue('a lie') };
        return { ...old, number: message.number };
      }
      case 'head':
        return isFit ? old : { ...message, certifiedHead: undefined };
      case 'state-refused':
        return message;
    }
  }

  #take(input: ClientInput): void {
    const { onInput } = this.#options;
    if (input.kind !== 'client-request') {
      onInput(input);
      return;
    }
    const { link, request, certifyFrom } = input;
    this.#requests += 1;
    const decoded = decodeRequest(request);
    if (decoded.ok) {
      this.#lieAbout(decoded.value);
      if (certifyFrom !== undefined && this.#requests % 2 === 0) this.#certifyLie(link, decoded.value);
    }
    if (this.#requests % requestsPerRefusal !== 0) onInput(input);
    else this.refuse({ link, requestDigest: sha256(request), code: 'bad-signature', reason: 'so I say' });
  }

  /** A wrong result of the right form at once, long before anybody can have executed the request. */
  #lieAbout({ client, session, digest, number, operations }: Request): void {
    super.reply({
      client: Buffer.from(client).toString('hex'),
      sessionNonce: Buffer.from(session.nonce).toString('hex'),
      requestDigest: digest,
      number,
      commitIndex: this.#options.commitIndex() + 1,
      result: encodeOutcomes(operations.map(() => ({ ok: true, value: 'a lie' }))),
      leafIndex: 0,
    });
  }

  /** A proof of a log that has this one request in it, signed by nobody, or by the service under another head. */
  #certifyLie(link: number, { digest: requestDigest, number }: Request): void {
    const commitIndex = this.#options.commitIndex() + 1;
    const entry = Buffer.concat([Buffer.from(requestDigest, 'hex'), Buffer.from(sha256(lie), 'hex'), Buffer.alloc(8)]);
    entry.writeUInt32BE(commitIndex, 68);
    const old = this.#answers.any;
    const signed = old?.kind === 'certified' ? old.certifiedHead : undefined;
    const head = {
      serviceId: this.#options.serviceId,
      epoch: signed?.head.epoch ?? 0,
      commitIndex,
      logSize: 1,
      logRoot: sha256Of([Uint8Array.of(0), entry]),
      stateRoot: requestDigest,
      checkpoint: requestDigest,
      timestamp: 0,
    };
    const certifiedHead = { head, signature: signed?.signature ?? this.#dice.bytes(48) };
    const proof = { leafIndex: 0, inclusionPath: [], certifiedHead, consistentWith: 0, consistencyPath: [] };
    super.certified({
      link,
      message: { kind: 'certified', requestDigest, number, commitIndex, result: lie, ...proof },
    });
  }

  /** Frames that no client has asked for, one kind for each link. */
  #pester(link: ClientLink): void {
    const digest = sha256(Uint8Array.of(link.id & 255));
    const reply = { requestDigest: digest, commitIndex: 1, result: this.#dice.bytes(20) };
    const frames = [
      this.#dice.bytes(1 + this.#dice.below(200)),
      encodeReplicaToClient({ kind: 'reply', number: 1_000_000, ...reply }),
      encodeReplicaToClient({ kind: 'reply', number: 1, ...reply }),
      encodeReplicaToClient({ kind: 'refused', requestDigest: digest, code: 'malformed', reason: '\u001b[2J' }),
      encodeReplicaToClient({ kind: 'status', status: { deep: [[[[]]]] } }),
      this.#dice.bytes(1024 * 1024),
    ];
    const frame = frames[link.id % frames.length];
    if (link.open && frame !== undefined) link.send(frame);
  }
}
