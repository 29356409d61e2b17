/**
 * Limits: every bound of the system in one place, each with its reason and what happens when it is reached.
 *
 * A limit that replicas must agree on (it decides whether a block or request is valid) is part of the protocol:
 * changing it is a new wire version. The others are local and only protect one process.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  // ── agreed: part of what "valid" means ──

  /** Replica sets are bit masks in one 31-bit integer. More replicas: the genesis is refused. */
  replicasMax: 31,
  /** Largest encoded block; bounds what one author can make others store per round. Larger: block refused. */
  blockSizeBytesMax: 4 * MiB,
  /** Requests in one block. More: block refused. */
  blockRequestsMax: 4_096,
  /** Duties in one block. More: block refused. */
  blockDutiesMax: 256,
  /** One duty's payload. Larger: block refused. */
  dutySizeBytesMax: 64 * KiB,
  /** One encoded request with all its operations; well below a block so that it always fits one. Larger: refused. */
  requestSizeBytesMax: 1 * MiB,
  /** Operations one request may carry. More: refused. */
  requestOperationsMax: 1_024,
  /** Length of an operation's name, ASCII. Longer: refused. */
  operationNameLengthMax: 64,
  /** Nesting of a value; keeps decoding off the end of the stack. Deeper: refused. */
  valueDepthMax: 32,
  /** Result of one request, encoded. Larger: the operation fails with `result-too-large` and changes nothing. */
  resultSizeBytesMax: 1 * MiB,
  /** A state key, in UTF-8 bytes. Longer: the operation fails. */
  stateKeySizeBytesMax: 1 * KiB,
  /** A state value, encoded. Larger: the operation fails. */
  stateValueSizeBytesMax: 512 * KiB,

  /** Requests of one session that may be executed but unacknowledged. Beyond: `rejected: window`. */
  sessionWindowRequests: 256,
  /** Sessions kept; beyond, the least recently used is forgotten and its requests are `rejected: session-expired`. */
  sessionsMax: 100_000,
  /** Bytes of results kept for all sessions together; beyond, least recently used sessions are forgotten. */
  sessionResultsSizeBytesMax: 64 * MiB,

  // ── local: protect one process ──

  /** One frame on a link: a block and its envelope. Larger: the link is closed and the peer counted. */
  frameSizeBytesMax: 4 * MiB + 64 * KiB,
  /** One frame from a client, who sends requests only. Larger: the link is closed. */
  clientFrameSizeBytesMax: 1 * MiB + 64 * KiB,
  /** Bytes queued to one replica before the link counts as stuck. Beyond: the link is reset; the peer fetches later. */
  peerQueueSizeBytesMax: 64 * MiB,
  /** Bytes queued to one client. Beyond: the link is closed; the client asks again. */
  clientQueueSizeBytesMax: 8 * MiB,
  /** Client links one replica holds. More: the newest is refused with `overloaded`. */
  clientLinksMax: 4_096,
  /** Time a new link has to finish TLS and its first frame. Longer: closed. */
  handshakeTimeoutMs: 5_000,

  /** Blocks parked for one author while their parents are fetched. Beyond: the farthest future is dropped first. */
  parkedPerAuthorMax: 1_024,
  /** Bytes parked for one author. Beyond: as above. */
  parkedPerAuthorSizeBytesMax: 32 * MiB,
  /** Rounds beyond the highest quorum round that are taken from an author without proof. Farther: refused. */
  futureRoundsMax: 512,
  /** References in one fetch. More: the fetch is refused. */
  fetchReferencesMax: 256,
  /** Bytes sent in answer to one fetch or catch-up. More: the asker asks again. */
  fetchReplySizeBytesMax: 8 * MiB,
  /** Requests waiting here to be put into a block. More: refused with `overloaded`. */
  pendingRequestsMax: 16_384,
  /** Bytes of waiting requests. More: refused with `overloaded`. */
  pendingRequestsSizeBytesMax: 64 * MiB,
  /** Pieces of evidence kept. More: counted, not kept (one pair is proof enough). */
  evidenceMax: 256,
} as const;
