/**
 * Epoch inquiry: what the other members of an epoch say of it by HTTP, to a member that has no links to them (docs/protocol/epochs.md K2).
 *
 * In: the membership of the epoch, and its members' HTTP ports. Out: where the epoch stands, what became of a successor, the membership as the
 * service has signed it.
 * Trust: what is not signed by the service counts when f + 1 members say it alike: one of them is correct.
 */
import { z } from 'zod';
import { httpGet, httpPost } from '../transport/http-ask.ts';
import { type EpochReport, readEpochReport } from '../wire/epoch-report.ts';
import { limits } from '../wire/limits.ts';
import {
  encodeMembershipStatement,
  type MembershipStatement,
  type StatedReplica,
} from '../wire/membership-statement.ts';
import type { Value } from '../wire/value.ts';
import { valueToJson } from '../wire/value-json.ts';
import type { SignedMembership } from './keeper-port.ts';
import { type ProofContext, statedEpoch } from './proven-epoch.ts';

const patienceMs = 3_000;
/** What a call may take to be executed, and a little for the way. */
const executedMs = 4_000;
const callMs = 5_000;
const answerSizeBytesMax = 1024 * 1024;

/** Where a successor goes in: any replica takes it, and executes it in its own name. */
const successorOperation = 'coterie.successor';

const statusForm = z.object({ epoch: z.int(), epochState: z.unknown() });
const statedForm = z.object({ statement: z.string(), signature: z.string() });
const executedForm = z.object({
  outcomes: z.tuple([z.object({ ok: z.boolean(), code: z.string().max(64).optional() })]),
});

export interface EpochStanding {
  readonly phase: EpochReport['phase'];
  /** It is this replica's turn to be made clean. */
  readonly isMyTurn: boolean;
}

export interface EpochInquiryOptions {
  /** Of the epoch. */
  readonly statement: MembershipStatement;
  readonly replicaId: string;
  readonly context: ProofContext;
  /** Nothing is asked any more. */
  readonly signal: AbortSignal;
}

export class EpochInquiry {
  readonly #options: EpochInquiryOptions;
  readonly #others: readonly StatedReplica[];
  /** Different ones are asked first each time. */
  #first = 0;

  constructor(options: EpochInquiryOptions) {
    this.#options = options;
    this.#others = options.statement.replicas.filter(({ replicaId }) => replicaId !== options.replicaId);
  }

  /** Undefined when not enough of the others say that they are in this epoch, and in the same phase of it. */
  async standing(): Promise<EpochStanding | undefined> {
    const { statement, replicaId } = this.#options;
    const reports = await Promise.all(this.#others.map((other) => this.#reportOf(other)));
    const here = reports.filter((report) => report?.epoch === statement.epoch);
    const phase = saidByEnough(
      here.map((report) => report?.phase),
      statement.f,
    );
    if (phase === undefined) return undefined;
    const inTurn = here.filter((report) => report?.phase === phase && report.turn.includes(replicaId));
    return { phase, isMyTurn: inTurn.length > statement.f };
  }

  /** The membership of the epoch with the service's signature; undefined when nobody has shown it. */
  async signedMembership(): Promise<SignedMembership | undefined> {
    const ours = Buffer.from(encodeMembershipStatement(this.#options.statement));
    for (const other of this.#inTurns()) {
      const shown = statedForm.safeParse(await this.#get(other, '/v1/membership'));
      if (!shown.success) continue;
      const statement = Buffer.from(shown.data.statement, 'hex');
      const signature = Buffer.from(shown.data.signature, 'hex');
      if (!statement.equals(ours) || statedEpoch(statement, signature, this.#options.context) === undefined) continue;
      return { statement, signature };
    }
    return undefined;
  }

  /** Has a successor executed: `taken`, or the code of a refusal; undefined when not enough of those asked say the same in time. */
  async handIn(successor: Uint8Array): Promise<string | undefined> {
    const { f } = this.#options.statement;
    // Each puts a request of its own into the log. With f that are silent, f + 1 answer.
    const asked = this.#inTurns().slice(0, 2 * f + 1);
    const document = {
      operation: successorOperation,
      input: valueToJson({ successor }),
      certified: false,
      deadlineMs: executedMs,
    };
    const codes = await Promise.all(asked.map((other) => this.#call(other, document)));
    // The first that takes it may end the wait of all: the same comes too late at the next one.
    const isTaken = codes.includes('taken');
    return saidByEnough(isTaken ? codes.map((code) => (code === 'too-late' ? 'taken' : code)) : codes, f);
  }

  #inTurns(): readonly StatedReplica[] {
    this.#first = (this.#first + 1) % Math.max(1, this.#others.length);
    return [...this.#others.slice(this.#first), ...this.#others.slice(0, this.#first)];
  }

  async #reportOf(other: StatedReplica): Promise<EpochReport | undefined> {
    const status = statusForm.safeParse(await this.#get(other, '/v1/status'));
    const report = status.success ? readEpochReport(status.data.epochState as Value) : undefined;
    return report?.epoch === status.data?.epoch ? report : undefined;
  }

  async #get({ httpAddress }: StatedReplica, path: string): Promise<unknown> {
    try {
      return JSON.parse(
        await httpGet({ ...httpAddress, path, sizeBytesMax: answerSizeBytesMax, signal: this.#within(patienceMs) }),
      );
    } catch {
      // Nobody there, or nothing to say, or rubbish: it is one that says nothing.
      return undefined;
    }
  }

  async #call({ httpAddress }: StatedReplica, document: unknown): Promise<string | undefined> {
    try {
      const question = { ...httpAddress, path: '/v1/call', sizeBytesMax: limits.httpBodySizeBytesMax };
      const { text } = await httpPost({ ...question, signal: this.#within(callMs) }, document);
      const executed = executedForm.safeParse(JSON.parse(text));
      if (!executed.success) return undefined;
      const [{ ok, code }] = executed.data.outcomes;
      return ok ? 'taken' : code;
    } catch {
      return undefined;
    }
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([AbortSignal.timeout(ms), this.#options.signal]);
  }
}

/** What at least f + 1 say alike, if anything. */
function saidByEnough<T extends string>(said: readonly (T | undefined)[], f: number): T | undefined {
  return said.find((each) => each !== undefined && said.filter((other) => other === each).length > f);
}
