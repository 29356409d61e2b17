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
  /** One value, encoded: as large as the request that carries it. Larger: it has no encoding. */
  valueSizeBytesMax: 1 * MiB,
  /** Array slots that the records of one message may cost (`slot-budget.ts`); 2 Mi take 24 MiB. More: refused. */
  valueSlotsMax: 2 * 1024 * 1024,
  /** Nesting of a value; keeps decoding off the end of the stack. Deeper: refused. */
  valueDepthMax: 32,
  /** Result of one request, encoded. Larger: the operation fails with `result-too-large` and changes nothing. */
  resultSizeBytesMax: 1 * MiB,
  /** Code of a failed operation; all of them are ASCII. Longer: refused by the reader. */
  outcomeCodeSizeBytesMax: 64,
  /** Message of a failed operation, in UTF-8. Longer: cut by the writer, refused by the reader. */
  outcomeMessageSizeBytesMax: 4 * KiB,
  /** A state key, in UTF-8 bytes. Longer: the operation fails. */
  stateKeySizeBytesMax: 1 * KiB,
  /** A state value, encoded. Larger: the operation fails. */
  stateValueSizeBytesMax: 512 * KiB,

  /** Requests of one session that may be executed but unacknowledged. Beyond: `rejected: window`. */
  sessionWindowRequests: 256,
  /** Sessions kept; beyond, the least recently used is forgotten and its requests are `rejected: session-expired`. */
  sessionsMax: 100_000,
  /** Bytes of results kept for all sessions together; beyond, the oldest result is forgotten: `result-forgotten`. */
  sessionResultsSizeBytesMax: 64 * MiB,
  /** What a kept result counts for besides its bytes, so that many empty ones are bounded too. */
  sessionResultOverheadSizeBytes: 256,

  /** Commits after a due head with which the next is due when one is wished, even if agreed time stands still. */
  headCommitsMax: 64,
  /** Where nobody wishes for a head, time and commits between two that are due are longer by this factor. */
  headUnwishedIntervals: 10,
  /** Ordered blocks above the horizon that a checkpoint names: `pruneDepth` times n, twice for twins. Beyond: none is taken. */
  checkpointBlocksMax: 131_072,
  /** Commits, changed entries, and bytes of these, after a checkpoint with which the next one is due. */
  checkpointCommitsMax: 16_384,
  checkpointEntriesMax: 32_768,
  checkpointSizeBytesMax: 32 * MiB,
  /** Sessions with requests since then: they are hashed at a checkpoint, and no commit is to wait for many. */
  checkpointSessionsMax: 4_096,
  /** Entries in a bucket of the state tree, and bytes of their keys and values unless it is only one. More: it is split. */
  stateBucketEntriesMax: 16,
  stateBucketSizeBytesMax: 256 * KiB,
  /** A key and a value in the engine under the state: the largest result and what is kept with it. Larger: our bug. */
  engineKeySizeBytesMax: 1_900,
  engineValueSizeBytesMax: 1 * MiB + 64 * KiB,
  /** Time a write to the engine may hold the event loop at once. Reached: what is left goes on in the next turn. */
  engineWriteSliceMs: 1,
  /** Address space for the file of the state, and so the largest it may be without being mapped anew. */
  engineMapSizeBytes: 1024 * 1024 * MiB,
  /** Free space on a disk that took only a part of what was written. Less: it is full; more: it fails. */
  engineDiskFullSizeBytes: 1 * MiB,
  /** The id of a replica, where it stands for one: they are ASCII of so many characters. Longer: refused. */
  replicaIdSizeBytesMax: 32,
  /** Administrator keys of a genesis. More: it is refused. */
  administratorsMax: 16,
  /** Proposals that wait for administrators, and approved actions that wait for a change of epoch. More: refused. */
  proposalsMax: 32,
  approvedActionsMax: 32,
  /** Agreed time between two changes of epoch, and until a change goes on without the keys that are missing. Longer: refused. */
  epochIntervalMsMax: 31_536_000_000,
  successorWaitMsMin: 100,
  successorWaitMsMax: 3_600_000,
  /** Inputs of clients that wait while a replica turns to the next epoch; more are dropped, and asked again by the clients. */
  turnInputsMax: 10_000,
  /** An encoded proof that an epoch is over: a head, a checkpoint without blocks, a membership. Larger: refused. */
  closingProofSizeBytesMax: 128 * KiB,
  /** Sets of session keys made for one epoch that a replica remembers. More: the oldest is forgotten. */
  nextSecretsMax: 8,
  /** An encoded proposal or statement of successor keys. Larger: refused. */
  proposalSizeBytesMax: 4 * KiB,
  successorSizeBytesMax: 1 * KiB,
  /** The encoded state of the epoch: two memberships, and all that waits. Larger: refused. */
  epochStateSizeBytesMax: 512 * KiB,
  /** An encoded checkpoint: the blocks it names, and the rest of it. Larger: refused. */
  checkpointEncodedSizeBytesMax: 4 * MiB + 16 * KiB,
  /** An inner node as it is stored: sixteen hashes, counts and sizes. Larger: refused. */
  stateNodeSizeBytesMax: 1 * KiB,
  /** Entries in one part of a state that is sent to another replica. More: refused. */
  statePartEntriesMax: 16 * KiB,
  /** Leaf hashes of the log that are sent as one. More: refused. */
  logChunkSizeBytesMax: 32 * KiB,
  /** Hashes in a proof of inclusion or consistency; enough for a log of 2^53 leaves. More: refused. */
  proofHashesMax: 64,
  /** An encoded proof of what is under a key: 64 inner nodes with all their children, and a bucket. Larger: refused. */
  stateProofSizeBytesMax: 40 * KiB,
  /** An encoded statement of the service: a head, or a membership of all the replicas there may be. Larger: refused. */
  statementSizeBytesMax: 64 * KiB,
  /** Text of a certified document: a request and a result in hex, and their proof. Longer: refused unread. */
  documentLengthMax: 4 * MiB + 256 * KiB,

  // ── local: protect one process ──

  /** One frame on a link: a block and its envelope. Larger: the link is closed and the peer counted. */
  frameSizeBytesMax: 4 * MiB + 64 * KiB,
  /** One frame from a client, who sends requests only. Larger: the link is closed. */
  clientFrameSizeBytesMax: 1 * MiB + 64 * KiB,
  /** Bytes queued to one replica before the link counts as stuck. Beyond: the link is reset; the peer fetches later. */
  peerQueueSizeBytesMax: 64 * MiB,
  /** Bytes queued to one client. Beyond: the link is closed; the client asks again. */
  clientQueueSizeBytesMax: 8 * MiB,
  /** Client links one replica holds. More: the newest is closed, and its client asks another replica. */
  clientLinksMax: 4_096,
  /** The words in a refusal, in UTF-16 code units. Longer: cut off. */
  refusalReasonLengthMax: 512,
  /** Time a new link has to finish TLS and its first frame. Longer: closed. */
  handshakeTimeoutMs: 5_000,
  /** Connections on a peer port that have not shown who they are. More: the oldest of the busiest address is closed. */
  peerStrangersMax: 64,
  /** The same on a client port, where a link is a stranger until its first frame. */
  clientStrangersMax: 512,
  /** The slow timer of links; the limits in ticks below are counted by it. */
  linkTickMs: 1_000,
  /** Ticks with bytes waiting and none taken. More: the link is reset. */
  linkStuckTicksMax: 10,
  /** Ticks without a sign of life from a peer we dialled. More: the link is reset and dialled again. */
  linkSilentTicksMax: 10,
  /** Ticks one frame of a client may take to arrive. More: the link is closed. */
  clientFrameTicksMax: 30,
  /** Bytes waiting for one client above which no more is read from it until half of them are gone. */
  clientQueuePauseSizeBytes: 256 * KiB,
  /** Bytes waiting for all clients together. Beyond: the link with the most is closed. */
  clientQueuesSizeBytesMax: 64 * MiB,
  /** Bytes held for incomplete frames of all clients together. Beyond: the link with the most is closed. */
  clientPartialsSizeBytesMax: 32 * MiB,
  /** Wait before a lost peer is dialled again; doubled with each failure in a row, up to the second number. */
  redialDelayMsMin: 50,
  redialDelayMsMax: 2_000,

  /** Blocks parked for one author while their parents are fetched. Beyond: the farthest future is dropped first. */
  parkedPerAuthorMax: 1_024,
  /** Bytes parked for one author. Beyond: as above. */
  parkedPerAuthorSizeBytesMax: 32 * MiB,
  /** Rounds beyond the highest quorum round that are taken from an author without proof. Farther: refused. */
  futureRoundsMax: 512,
  /** References in one fetch. More: the fetch is refused. */
  fetchReferencesMax: 256,
  /** Bytes sent in answer to the fetches of one step, or to a catch-up (two whole rounds at least). More: asked again. */
  fetchReplySizeBytesMax: 8 * MiB,
  /** Requests passed on to the others as a reason for a round, and looked at when they pass on theirs. More: not looked at. */
  forwardedRequestsMax: 64,
  /** Requests waiting here to be put into a block. More: refused with `overloaded`. */
  pendingRequestsMax: 16_384,
  /** Bytes of waiting requests. More: refused with `overloaded`. */
  pendingRequestsSizeBytesMax: 64 * MiB,
  /** Client keys kept imported. More: the least recently used are imported again. */
  verifierKeysMax: 16_384,
  /** Requests remembered as verified. More: the oldest are verified again. */
  verifierRequestsMax: 16_384,
  /** Rounds that a proven block may be ahead before whole rounds are asked for in place of single blocks. */
  catchUpRoundsMin: 16,
  /** Bytes of replies that one step may leave to send. More: the oldest is dropped, and its client asks again. */
  repliesSizeBytesMax: 32 * MiB,
  /** Bytes of accepted blocks not yet durable; beyond, they are made durable without a proposal. */
  undurableSizeBytesMax: 4 * MiB,
  /** Bytes of requests put into one block; keeps rounds short under load. The rest waits for the next. */
  blockPayloadSizeBytesMax: 1 * MiB,
  /** Bytes of duties put into one block besides. The rest waits for the next. */
  blockDutiesSizeBytesMax: 1 * MiB,
  /** Shares of coins put into one block; a new one is due every few rounds. The rest waits for the next. */
  blockCoinSharesMax: 16,
  /** Rounds without a decision after which blocks go on without payload. */
  stalledRoundsMax: 64,
  /** Operations of one commit whose own failures are handed to the local log. More: counted only. */
  diagnosticsPerCommitMax: 16,
  /** Length of one such diagnostic. Longer: cut. */
  diagnosticLengthMax: 2_048,
  /** Kinds of events counted by name. More: counted together as `other`. */
  countersMax: 128,
  /** Kinds of rejections logged, each once. More: counted only. */
  evidenceMax: 256,
  /** Proofs of equivocation kept in a home, of at most two blocks each. More: counted, not kept: one is proof enough. */
  evidenceFilesMax: 16,

  /** Last due heads kept to hold those of others against. Older: covered by a newer one. */
  dueHeadsMax: 256,
  /** Due heads against which keys of the state can be proven, until a newer one is certified. More: the oldest goes. */
  provableHeadsMax: 64,
  /** Shares of heads kept of one replica. More: that of its oldest commit is dropped; a newer head covers it. */
  headSharesPerReplicaMax: 256,
  /** Heads signed in one step, and said again on a new link, newest first. The others are covered by these. */
  headsSignedPerStepMax: 8,
  /** Wait until a head is certified for which nobody waits: then the newest one, with one signature for all. */
  certifyLazyMs: 100,
  /** Wait for the shares with which no pairing is needed, while somebody waits and there are enough for one. */
  certifyPairingAfterMs: 5,
  /** Time between two such pairings: where most shares are far away, each head would take one, of 4 ms. */
  certifyPairingRestMs: 25,
  /** Wait before a share is said again while its statement is not certified; doubled each time, up to the second number. */
  shareRetryDelayMsMin: 500,
  shareRetryDelayMsMax: 5_000,
  /** Time between telling one replica twice of certified statements that it seems to lack. */
  certifiedRestMs: 200,
  /** Time after a certified head was verified, by a pairing, in which shares alone certify our heads, by additions. */
  certifiedChecksRestMs: 200,
  /** Time for which no share or certified statement of a replica is looked at after one that is not valid, which costs pairings. */
  faultySharesRestMs: 60_000,

  /** Requests to be executed of which a proof is wanted at one replica. More: the oldest gets `not-certifying`. */
  certifiedWishesMax: 16_384,
  /** Bytes of results that wait there for a certified head. Beyond: as above. */
  certifiedWaitingSizeBytesMax: 64 * MiB,

  /** Questions for a key of the state that wait at one replica, and bytes of their keys. More: the oldest gets `overloaded`. */
  stateReadsWaitingMax: 4_096,
  stateReadsWaitingSizeBytesMax: 1 * MiB,
  /** Time that such a question waits for a head as late as it wants. Longer: `too-old`. */
  stateReadWaitMs: 1_000,
  /** Such questions answered in one step, and bytes of their values and proofs. The rest waits for the next. */
  stateReadsPerStepMax: 256,
  stateReadsPerStepSizeBytesMax: 4 * MiB,

  /** Body of an HTTP request: the largest request in hex, and what is around it. Larger: 413. */
  httpBodySizeBytesMax: 2 * MiB + 64 * KiB,
  /** Bytes held for the bodies of HTTP requests that are not answered yet. Beyond: the connection with most is closed. */
  httpBodiesSizeBytesMax: 64 * MiB,
  /** A body above this is parsed in a turn of the event loop of its own, so that links are served between two. */
  httpBodyTurnSizeBytes: 64 * KiB,
  /** Connections to the HTTP port. More: closed at once. */
  httpConnectionsMax: 1_024,
  /** Calls by HTTP that are open at once. More: 503. */
  httpCallsMax: 256,
  /** Time after which a call by HTTP that has no reply is put before the replica again. */
  httpAskAgainMs: 1_000,
  /** HTTP requests a second from one address. More: 429. */
  httpRequestsPerSecondMax: 500,
  /** Age of the metrics that are handed out. Older: gathered anew. */
  httpMetricsAgeMsMax: 250,
  /** The longest deadline a call by HTTP may have. Longer: 400. */
  httpDeadlineMsMax: 60_000,
  /** Time an HTTP request may take to arrive, and an idle connection may stay. Longer: closed. */
  httpPatienceMs: 10_000,
  /** Time in which nothing moves on an HTTP connection, such as a reply that nobody reads; more than the longest call. Closed. */
  httpSilentMsMax: 75_000,

  /** Time that results may be without a due head before rounds are made for their sake alone; more than an unwished interval. */
  headOverdueMs: 150,

  /**
   * Leaves of the request log of which a replica can give proofs, unless it is set otherwise: more than there are results
   * that sessions remember. Older: dropped, and who asks gets `not-retained`.
   */
  logLeavesRetained: 1_048_576,

  /** A subtree of the state is sent whole up to so many bytes of keys and values and of what goes with each entry. */
  statePartSizeBytesMax: 1 * MiB,
  statePartEntryOverheadSizeBytes: 64,
  /** Parts, and bytes of these, that a transfer of state awaits from one replica. More: asked later. */
  stateAsksPerPeerMax: 16,
  stateAskedSizeBytesMax: 4 * MiB,
  /** Bytes verified that wait to be written. More: nothing is asked for. */
  stateUnwrittenSizeBytesMax: 16 * MiB,
  /** Records of its own state that a transfer reads in one step, and bytes of these. The rest waits for the next. */
  transferReadsPerStepMax: 256,
  transferReadsPerStepSizeBytesMax: 1 * MiB,
  /** Time without an answer from a replica after which its parts are asked of others; it rests, twice as long each time. */
  stateAskPatienceMs: 2_000,
  stateAskRestMsMax: 30_000,
  /** The same for one part, whatever else comes from that replica. */
  stateAskPatienceMsMax: 20_000,
  /** Wait before replicas are asked again which checkpoint they have; doubled each time, up to the second number. */
  checkpointAskDelayMsMin: 500,
  checkpointAskDelayMsMax: 10_000,
  /** Asks of one replica that wait to be answered here. More: the newest is dropped, and asked again. */
  stateAsksWaitingMax: 64,
  /** Time that answers may hold the event loop at once, and the rest after it as a multiple when others have work. */
  stateAnswerSliceMs: 2,
  stateAnswerRestFactor: 4,
  /** Checkpoints held for others at once. More: the one not asked for longest goes. */
  stateSnapshotsMax: 2,
  /** A checkpoint that nobody asks for is let go of after this time, and any after the second: it keeps pages from reuse. */
  stateSnapshotIdleMs: 30_000,
  stateSnapshotAgeMsMax: 600_000,

  // ── client ──

  /** Requests a client keeps open at once; calls beyond wait and share the next request. Far below the window. */
  clientRequestsOpenMax: 8,
  /** Calls that wait in a client. More: refused with `overloaded`. */
  clientCallsWaitingMax: 65_536,
  /** Bytes of their inputs. More: refused with `overloaded`. */
  clientCallsWaitingSizeBytesMax: 64 * MiB,
  /** Certified reads a client keeps open at once. More: refused with `overloaded`. */
  clientReadsOpenMax: 4_096,
  /** Accepted results kept to compare later replies with. More: the oldest is forgotten, a late lie goes unnoticed. */
  clientResultsKeptMax: 32,
  /** Largest result kept for that. Larger: not kept. */
  clientResultKeptSizeBytesMax: 64 * KiB,

  /** Certified heads a client remembers as signed, and as of its log. More: the oldest are checked and proven again. */
  clientHeadsKeptMax: 256,
  /** Certified heads not yet proven to be of the log of the others. More: the oldest counts for nothing. */
  clientHeadsUnprovenMax: 32,
  /** The answer to a client that asks for the membership. Larger: not read. */
  clientMembershipSizeBytesMax: 256 * KiB,

  // ── keeper ──

  /** One message of a replica to its keeper: two documents as hex. Longer: skipped up to its end, and counted. */
  keeperMessageSizeBytesMax: 192 * KiB,
  /** Messages of a replica that its keeper reads in a second, and bytes. More: the channel waits, and the replica with it. */
  keeperMessagesPerSecond: 20,
  keeperBytesPerSecond: 512 * KiB,
  /** Wait between two signatures that a replica asks for: each costs a pairing. Sooner: refused. */
  keeperSignRestMs: 1_000,
  /** Signatures for one epoch that one process gets: its channel may break. More: refused. A clean start counts anew. */
  keeperSignaturesPerLifeMax: 8,
  /** A line of the log of a replica under a keeper, and bytes of it in a second. More: cut off; the replica waits. */
  keeperLogLineLengthMax: 64 * KiB,
  keeperLogBytesPerSecond: 1 * MiB,
  /** Complaints about one process that a keeper logs. More: not logged. */
  keeperComplaintsMax: 32,
  keeperPhaseLengthMax: 32,
  keeperReasonLengthMax: 512,
  /** Files of a manifest, and what it is as JSON. More: refused. */
  manifestFilesMax: 200_000,
  manifestSizeBytesMax: 64 * MiB,
  /** What a keeper remembers: a certified membership and a few numbers. Larger: refused unread. */
  keeperRecordSizeBytesMax: 256 * KiB,
  /** A replica is clean for so long after it was started clean: later it may have been taken over again. */
  keeperCleanForMs: 3_600_000,
  /** Wait between two clean starts that a replica asks for. Sooner: it waits for the rest. */
  keeperTurnRestMs: 20_000,

  // ── command line ──

  /** One supervised replica's log file. Larger: it becomes `replica.log.1`, and the one before that goes. */
  replicaLogSizeBytesMax: 4 * MiB,
  /** Wait before a dead replica is started again; doubled with each failure in a row, up to the second number. */
  restartDelayMsMin: 250,
  restartDelayMsMax: 10_000,
  /** A replica that ran for so long failed anew, not again: the wait is the smallest one. */
  restartSteadyAfterMs: 30_000,

  /** A segment file of the log; what is read, repaired and dropped as one. Reached: the next file is begun. */
  logSegmentSizeBytesMax: 16 * MiB,
  /** The same where little of the log is retained, so that a part of that is what may lie around beyond it. */
  logSegmentSizeBytesMin: 1 * MiB,
  /** Bytes of the log kept, though checkpoints stand for it, for replicas that are a little behind. More: they fetch state. */
  logRetainedSizeBytes: 64 * MiB,
  /** One record of a snapshot file: a checkpoint, or a part of the state and what goes with its entries. Larger: refused. */
  snapshotRecordSizeBytesMax: 4 * MiB + 64 * KiB,
  /** Bytes of a snapshot's entries and nodes that are written to a state at once when it is restored. */
  snapshotWriteSizeBytes: 8 * MiB,
  /** Records written under one checksum and one fsync. More: several writes, each with its own. */
  logBatchSizeBytesMax: 8 * MiB,
  /** A genesis or another JSON file of a home. Larger: refused unread. */
  homeFileSizeBytesMax: 256 * KiB,

  /** Rounds of a DAG file given to `debug decide`; every slot up to the top is looked at. Higher: the file is refused. */
  debugRoundsMax: 100_000,
} as const;
