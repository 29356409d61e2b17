/**
 * State route: `GET /v1/state`: what is under a key of the service's state, proven as of a certified head.
 *
 * In: a key, and perhaps the commit that the answer must not be earlier than. Out: a certified state document. The same key
 * and head give the same bytes at every replica, so the tag is that of the head, and a cache or a mirror may hand on what it
 * has stored: the document says of which time it is, and whoever changes it makes it worthless.
 */
import { sha256 } from '../../crypto/hash.ts';
import { deadlineAfter } from '../../platform/deadline.ts';
import { type CertifiedStateDocument, certifiedStateDocument } from '../../verify/document.ts';
import { encodeHead, type Head } from '../../wire/head.ts';
import { limits } from '../../wire/limits.ts';
import type { HttpBackend, StateRead } from './backend.ts';
import { badRequest, HttpProblem, unavailable } from './problem.ts';

export interface StateAnswer {
  /** 304 when the caller has the newest already. */
  readonly status: 200 | 304;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: CertifiedStateDocument | undefined;
}

const deadlineMs = 5_000;
/** A cache may hand it on for a second, for a minute while it asks for a newer one, and for a day when nobody answers. */
const cacheControl = 'public, max-age=1, stale-while-revalidate=60, stale-if-error=86400';

export async function answerState(
  backend: HttpBackend,
  {
    query,
    ifNoneMatch,
    signal,
  }: {
    readonly query: Readonly<Record<string, unknown>>;
    readonly ifNoneMatch: string | undefined;
    readonly signal: AbortSignal;
  },
): Promise<StateAnswer> {
  const { key, notBefore } = readQuery(query);
  const newest = backend.certifiedHead();
  if (newest === undefined)
    throw unavailable('not-certified-yet', 'there is no certified head yet', 'Ask again in a moment.');
  const isKnown = ifNoneMatch !== undefined && tagsOf(ifNoneMatch).includes(tagOf(newest.head));
  if (isKnown && newest.head.commitIndex >= notBefore) {
    return { status: 304, headers: headersOf(newest.head), body: undefined };
  }
  const deadline = deadlineAfter(deadlineMs, [signal]);
  const read = await backend.readState(key, { notBefore, signal: deadline.signal }).finally(() => deadline.end());
  if (read.kind !== 'state') throw refusal(read);
  const { head, signature } = read.certifiedHead;
  return { status: 200, headers: headersOf(head), body: certifiedStateDocument({ ...read, key, head, signature }) };
}

function readQuery(query: Readonly<Record<string, unknown>>): { readonly key: string; readonly notBefore: number } {
  const { key, notBefore = '0', ...others } = query;
  const hint = 'For example /v1/state?key=greeting, or /v1/state?key=greeting&notBefore=120.';
  if (typeof key !== 'string' || Object.keys(others).length > 0)
    throw badRequest('give one key, and nothing else but notBefore', hint);
  if (Buffer.byteLength(key) > limits.stateKeySizeBytesMax || !key.isWellFormed()) {
    throw badRequest(`a key is text of at most ${limits.stateKeySizeBytesMax} bytes`, hint);
  }
  const isNumber = typeof notBefore === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(notBefore);
  if (!isNumber || !Number.isSafeInteger(Number(notBefore))) throw badRequest('notBefore is not a whole number', hint);
  return { key, notBefore: Number(notBefore) };
}

function headersOf(head: Head): Readonly<Record<string, string>> {
  return { etag: tagOf(head), 'cache-control': cacheControl };
}

function tagOf(head: Head): string {
  return `"${sha256(encodeHead(head)).slice(0, 32)}"`;
}

/** The tags of an `If-None-Match`; a weak one will do as well. */
function tagsOf(header: string): readonly string[] {
  return header.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
}

function refusal(read: Exclude<StateRead, { readonly kind: 'state' }>): HttpProblem {
  if (read.kind === 'given-up') {
    return unavailable('deadline', 'this replica could not prove it in time', 'Try another replica, or later.');
  }
  const { code, reason } = read;
  if (code !== 'not-public') return unavailable(code, reason, 'Try another replica, or later.');
  return new HttpProblem({
    status: 403,
    code,
    message: reason,
    hint: 'Call an operation of the service that reads it.',
  });
}
