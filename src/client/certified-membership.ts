/**
 * Certified membership: finds the replicas for a client that knows the service key only.
 *
 * In: a membership document, or addresses where one may be had. Out: the cluster that the service itself has stated, in the
 * epoch of the document.
 * Trust: whoever answers can withhold the statement, or give an older one of the service; it cannot make one, nor put
 * another f, address or link key in it.
 */
import { parseDigest } from '../crypto/hash.ts';
import { quorumRule } from '../membership/membership.ts';
import { type FileSystem, systemFiles } from '../platform/files.ts';
import { httpGet } from '../transport/http-ask.ts';
import type { CertifiedMembershipDocument } from '../verify/document.ts';
import type { VerifiedMembership } from '../verify/read-membership.ts';
import { type GenesisAddress, parseAddress } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { decodeMembershipStatement } from '../wire/membership-statement.ts';
import { CoterieError } from './client-error.ts';
import { type Cluster, readFileText } from './cluster.ts';
import type { ServiceKey } from './service-key.ts';

export interface MembershipSource {
  /** HTTP ports of any replicas, as `host:port`: one that answers is enough. */
  readonly at?: readonly string[] | undefined;
  /** A certified membership: as a value, as JSON, or as the path of its file. Asked for by HTTP when left out. */
  readonly membership?: CertifiedMembershipDocument | string | undefined;
}

/** What the service has stated, and how it may be handed on. */
export interface Stated {
  readonly cluster: Cluster;
  readonly document: CertifiedMembershipDocument;
}

/** Rejects with `invalid-membership`, or `invalid-input` when there is no way to it. */
export async function readCertifiedCluster(
  serviceKey: ServiceKey,
  { at = [], membership }: MembershipSource,
  deadline: AbortSignal,
  files: FileSystem = systemFiles,
): Promise<Stated> {
  if (membership !== undefined) return statedBy(serviceKey, await given(membership, files));
  if (at.length === 0 || at.length > limits.replicasMax) {
    const sentence = `give 1 to ${limits.replicasMax} addresses of replicas, or a certified membership`;
    throw new CoterieError('invalid-input', sentence, { outcome: 'not-sent' });
  }
  return askAny(serviceKey, at, deadline);
}

async function given(membership: CertifiedMembershipDocument | string, files: FileSystem): Promise<unknown> {
  if (typeof membership !== 'string' || membership.trimStart().startsWith('{')) return membership;
  return readFileText(membership, files, invalid);
}

/** Asks all at once; the first that the service signed is taken. */
async function askAny(serviceKey: ServiceKey, at: readonly string[], deadline: AbortSignal): Promise<Stated> {
  const enough = new AbortController();
  const giveUp = (): void => enough.abort(deadline.reason);
  if (deadline.aborted) giveUp();
  deadline.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.any(at.map((address) => askOne(serviceKey, address, enough.signal)));
  } catch (error) {
    const reasons = error instanceof AggregateError ? error.errors : [error];
    const sentences = reasons.map((reason, i) => `${at[i]}: ${reason instanceof Error ? reason.message : 'no answer'}`);
    throw invalid(`no membership of this service could be had: ${sentences.join('; ')}`, error);
  } finally {
    deadline.removeEventListener('abort', giveUp);
    enough.abort();
  }
}

async function askOne(serviceKey: ServiceKey, address: string, signal: AbortSignal): Promise<Stated> {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new Error('it is not host:port');
  return statedBy(serviceKey, await askAddress(parsed, signal));
}

/** The text of what one address says that the membership is. Rejects with an Error that says what was in the way. */
export function askAddress({ host, port }: GenesisAddress, signal: AbortSignal): Promise<string> {
  const sizeBytesMax = limits.clientMembershipSizeBytesMax;
  // Each question has a signal of its own: many that wait for one look like a leak to Node.
  return httpGet({ host, port, path: '/v1/membership', sizeBytesMax, signal: AbortSignal.any([signal]) });
}

/** The epoch that a document speaks of, if it is one at all; nothing is checked. */
export function claimedEpoch(text: string): number | undefined {
  try {
    const { statement } = JSON.parse(text) as { readonly statement?: unknown };
    if (typeof statement !== 'string') return undefined;
    const decoded = decodeMembershipStatement(Buffer.from(statement, 'hex'));
    return decoded.ok ? decoded.value.epoch : undefined;
  } catch {
    return undefined;
  }
}

/** Throws `invalid-membership`. `document` is a value or its JSON. */
export function statedBy(serviceKey: ServiceKey, document: unknown): Stated {
  const verdict = serviceKey.checkMembership(document);
  if (!verdict.ok) throw invalid(`the membership is not proven: ${verdict.reason.sentence}`);
  try {
    // It was found to be one, whole.
    const value = typeof document === 'string' ? JSON.parse(document) : document;
    return { cluster: stated(verdict.membership), document: value as CertifiedMembershipDocument };
  } catch (cause) {
    throw invalid('the membership is of a version that this one does not understand', cause);
  }
}

function stated({ serviceId, epoch, name, service, f, k, replicas }: VerifiedMembership): Cluster {
  return {
    serviceId: digestOf(serviceId),
    epoch,
    name,
    service,
    rule: quorumRule({ n: replicas.length, f, k }),
    replicas: replicas.map(({ replicaId, clientAddress: { host, port }, linkKeyDigest, httpAddress }) => {
      return { replicaId, host, port, keyDigest: digestOf(linkKeyDigest), http: httpAddress };
    }),
  };
}

function digestOf(text: string) {
  const digest = parseDigest(text);
  if (digest === undefined) throw new RangeError('not a digest');
  return digest;
}

function invalid(sentence: string, cause?: unknown): CoterieError {
  return new CoterieError('invalid-membership', sentence, { outcome: 'not-sent', cause });
}
