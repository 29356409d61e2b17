/**
 * Following: how a replica that was away, or has yet to join, learns of the epoch that the others are in, with the service key alone.
 *
 * In: addresses of replicas as far as they are known, the service key. Out: the newest epoch that anybody has shown: by the statement
 * that the service signed, or by the proof that the epoch before is over. Asked only while it may be needed.
 * Trust: whoever answers can withhold, or show an older one; it cannot make one up.
 */
import type { Logger } from 'pino';
import type { Digest } from '../crypto/hash.ts';
import { setTimer, type Timer } from '../platform/clock.ts';
import type { EpochRecord } from '../storage/epoch-files.ts';
import { httpGet } from '../transport/http-ask.ts';
import type { GenesisAddress } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { decodeMembershipStatement } from '../wire/membership-statement.ts';
import { closedEpoch, type ProofContext, statedEpoch } from './proven-epoch.ts';
import { serviceSignatureCheck } from './service-signature.ts';

const intervalMs = 500;
const patienceMs = 3_000;
/** As hex, with what is around it. */
const answerSizeBytesMax = 2 * limits.closingProofSizeBytesMax + 4_096;

export interface FollowingOptions {
  readonly serviceId: Digest;
  readonly logger: Logger;
  /** Is there a reason to think that the others are elsewhere? Asked twice a second. */
  readonly isNeeded: () => boolean;
  readonly epoch: () => number;
  /** 192 hex characters. */
  readonly serviceKey: () => string | undefined;
  /** HTTP ports of the others, of this epoch and of the first. */
  readonly addresses: () => readonly GenesisAddress[];
  /** Is this epoch one to go on in? Not for who waits until a membership has it. */
  readonly concerns: (record: EpochRecord) => boolean;
  /** All that was shown and holds, of whatever epoch. */
  readonly shown: (record: EpochRecord) => void;
  /** A later epoch than ours. */
  readonly found: (record: EpochRecord) => void;
}

export class Following {
  readonly #options: FollowingOptions;
  readonly #context: ProofContext;
  readonly #ended = new AbortController();
  #timer: Timer | undefined;

  constructor(options: FollowingOptions) {
    this.#options = options;
    this.#context = { serviceId: options.serviceId, isSigned: serviceSignatureCheck(options.serviceKey) };
  }

  start(): void {
    this.#timer = setTimer(intervalMs, () => void this.#look().finally(() => this.#again()));
  }

  end(): void {
    this.#ended.abort();
    this.#timer?.cancel();
  }

  #again(): void {
    if (!this.#ended.signal.aborted) this.start();
  }

  async #look(): Promise<void> {
    const { isNeeded, addresses, epoch, concerns, found, logger } = this.#options;
    if (!isNeeded()) return;
    const shown = (await Promise.all(addresses().map((address) => this.#ask(address)))).flat();
    for (const record of shown) this.#options.shown(record);
    let newest: EpochRecord | undefined;
    for (const record of shown.filter(concerns)) {
      if (record.statement.epoch > (newest?.statement.epoch ?? epoch())) newest = record;
    }
    if (newest === undefined || this.#ended.signal.aborted) return;
    logger.info({ epoch: newest.statement.epoch }, 'the others are in a later epoch');
    found(newest);
  }

  async #ask(address: GenesisAddress): Promise<readonly EpochRecord[]> {
    const [stated, proven] = await Promise.all([
      this.#get(address, '/v1/membership', (document) => this.#readStatement(document)),
      this.#get(address, '/v1/closing-proof', (document) => this.#readProof(document)),
    ]);
    return [stated, proven].filter((record) => record !== undefined);
  }

  async #get(
    address: GenesisAddress,
    path: string,
    read: (document: Readonly<Record<string, unknown>>) => EpochRecord | undefined,
  ): Promise<EpochRecord | undefined> {
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(patienceMs), this.#ended.signal]);
      const text = await httpGet({ ...address, path, sizeBytesMax: answerSizeBytesMax, signal });
      const document: unknown = JSON.parse(text);
      return typeof document === 'object' && document !== null
        ? read(document as Readonly<Record<string, unknown>>)
        : undefined;
    } catch {
      // Nobody there, or nothing to say, or rubbish: another one is asked.
      return undefined;
    }
  }

  #readStatement({ statement, signature }: Readonly<Record<string, unknown>>): EpochRecord | undefined {
    if (typeof statement !== 'string' || typeof signature !== 'string') return undefined;
    const encoded = Buffer.from(statement, 'hex');
    const decoded = decodeMembershipStatement(encoded);
    // Before the pairing: most that is shown is of the epoch we are in.
    if (!decoded.ok || decoded.value.epoch <= this.#options.epoch()) return undefined;
    return statedEpoch(encoded, Buffer.from(signature, 'hex'), this.#context);
  }

  #readProof({ proof }: Readonly<Record<string, unknown>>): EpochRecord | undefined {
    return typeof proof === 'string' ? closedEpoch(Buffer.from(proof, 'hex'), this.#context) : undefined;
  }
}
