/**
 * HTTP interface: the replica for whoever has nothing but HTTP: calls, reads, heads, proofs, the membership, health, metrics.
 *
 * In: HTTP requests from anybody. Out: JSON. Bodies, rates, connections and open calls are bounded (`wire/limits.ts`).
 * It speaks plain HTTP: what it hands out is proven by the service's signature, not by who said it; who must not be
 * overheard puts a TLS proxy before it, or uses the client library (docs/operations/http.md).
 * Trust: an attacker who controls it can refuse, delay and read calls made by HTTP, and make unsigned ones up.
 */
import rateLimit from '@fastify/rate-limit';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { monotonicMs, now } from '../../platform/clock.ts';
import { transportErrorFrom } from '../../transport/transport-error.ts';
import { certifiedHeadDocument, certifiedMembershipDocument } from '../../verify/document.ts';
import { limits } from '../../wire/limits.ts';
import type { HttpBackend } from './backend.ts';
import { Bodies } from './bodies.ts';
import { answerCall } from './call-route.ts';
import { Metrics } from './metrics.ts';
import { openApi } from './openapi.ts';
import { badRequest, HttpProblem, type Problem, unavailable } from './problem.ts';
import { answerState } from './state-route.ts';
import { describeStatus } from './status-route.ts';

export interface HttpInterfaceOptions {
  readonly backend: HttpBackend;
  readonly host: string;
  readonly port: number;
  readonly onCounted: (event: string) => void;
  /** A mistake of ours in answering; the request was answered with 500. */
  readonly onMistake: (error: unknown) => void;
  /** In place of `limits.httpSilentMsMax`. */
  readonly silentMsMax?: number;
}

export class HttpInterface {
  readonly #options: HttpInterfaceOptions;
  readonly #server: FastifyInstance;
  readonly #metrics: Metrics;
  readonly #bodies: Bodies;
  #lastMetrics: { readonly text: Promise<string>; readonly readAtMs: number } | undefined;
  /** Of the calls that are open. */
  readonly #callers = new Set<AbortController>();

  constructor(options: HttpInterfaceOptions) {
    this.#options = options;
    this.#metrics = new Metrics(options.backend);
    this.#bodies = new Bodies(() => options.onCounted('http-bodies-shed'));
    this.#server = fastify({
      logger: false,
      requestTimeout: limits.httpPatienceMs,
      keepAliveTimeout: limits.httpPatienceMs,
      connectionTimeout: options.silentMsMax ?? limits.httpSilentMsMax,
      forceCloseConnections: true,
      return503OnClosing: true,
      // By itself Node looks every 30 s for requests that take too long.
      http: { connectionsCheckingInterval: limits.linkTickMs },
    });
    this.#server.server.maxConnections = limits.httpConnectionsMax;
    this.#server.server.headersTimeout = limits.httpPatienceMs;
    this.#server.server.on('timeout', (socket) => {
      options.onCounted('http-silent');
      socket.destroy();
    });
    this.#takeBodies();
    this.#server.setErrorHandler((error: FastifyError, _request, reply) => this.#fail(error, reply));
    this.#server.setNotFoundHandler((request, reply) => {
      const hint = 'The routes are in /v1/openapi.json.';
      const message = `there is no ${request.method} ${request.url.slice(0, 200)}`;
      send(reply, { status: 404, code: 'no-such-route', message, hint });
    });
  }

  /** Rejects with a `TransportError` when it cannot listen. */
  async listen(): Promise<void> {
    const { host, port } = this.#options;
    await this.#server.register(rateLimit, {
      max: limits.httpRequestsPerSecondMax,
      timeWindow: 1_000,
      cache: 4_096,
      errorResponseBuilder: () => {
        this.#options.onCounted('http-rate-limited');
        return new HttpProblem({
          status: 429,
          code: 'too-many-requests',
          message: `more than ${limits.httpRequestsPerSecondMax} requests a second from this address`,
          hint: 'Slow down, or use the client library, which sends many operations in one request.',
          retryAfterSeconds: 1,
        });
      },
    });
    this.#routes();
    try {
      await this.#server.listen({ host, port });
    } catch (error) {
      await this.#server.close();
      throw transportErrorFrom(error, `listening for HTTP on ${host}:${port}`);
    }
  }

  async close(): Promise<void> {
    for (const caller of this.#callers) caller.abort();
    await this.#server.close();
  }

  #takeBodies(): void {
    const parse = this.#server.getDefaultJsonParser('error', 'error');
    this.#server.removeAllContentTypeParsers();
    this.#server.addContentTypeParser('application/json', (request, _payload, done) => {
      this.#bodies.read(request.raw).then((text) => parse(request, text, done), done);
    });
    this.#server.addHook('onRequest', (request, reply, done) => {
      reply.raw.once('close', () => this.#bodies.release(request.raw));
      done();
    });
  }

  #routes(): void {
    const { backend } = this.#options;
    const server = this.#server;
    server.post('/v1/call', (request, reply) => this.#call(request, reply));
    server.get('/v1/state', (request, reply) => this.#state(request, reply));
    server.get('/v1/head', () => {
      const head = backend.certifiedHead();
      if (head === undefined) throw notYet('head');
      return certifiedHeadDocument(head);
    });
    server.get('/v1/proof', (request) => this.#proof(request.query as Readonly<Record<string, unknown>>));
    server.get('/v1/membership', () => {
      const membership = backend.certifiedMembership();
      if (membership === undefined) throw notYet('membership');
      return certifiedMembershipDocument({ statement: membership.encoded, signature: membership.signature });
    });
    server.get('/v1/closing-proof', () => {
      const proof = backend.closingProof();
      if (proof === undefined) throw notYet('closing proof');
      return { proof: Buffer.from(proof).toString('hex') };
    });
    server.get('/v1/status', () => describeStatus(backend, now()));
    server.get('/healthz', (_request, reply) => {
      const divergence = backend.divergence();
      if (divergence !== undefined) {
        const { commitIndex } = divergence.own;
        return reply.code(503).send({ status: 'diverged', commitIndex });
      }
      const { commitIndex, observer, phase } = backend.status();
      if (phase === 'fetching-state' || phase === 'without-keys')
        return reply.code(503).send({ status: phase, commitIndex });
      return { status: observer === true ? 'observer' : 'ok', replica: backend.replicaId, commitIndex };
    });
    server.get('/metrics', async (_request, reply) => {
      reply.header('content-type', this.#metrics.contentType);
      return this.#readMetrics();
    });
    server.get('/v1/openapi.json', () => openApi);
  }

  /** They take milliseconds to gather: who asks more often gets what another one got. */
  #readMetrics(): Promise<string> {
    const nowMs = monotonicMs();
    if (this.#lastMetrics === undefined || nowMs >= this.#lastMetrics.readAtMs + limits.httpMetricsAgeMsMax) {
      this.#lastMetrics = { text: this.#metrics.text(), readAtMs: nowMs };
    }
    return this.#lastMetrics.text;
  }

  #call(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { backend, onCounted } = this.#options;
    return this.#whileOpen(reply, async (signal) => {
      const { status, body } = await answerCall(backend, request.body, signal);
      onCounted('http-call');
      return reply.code(status).send(body);
    });
  }

  #state(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { backend, onCounted } = this.#options;
    return this.#whileOpen(reply, async (signal) => {
      const query = request.query as Readonly<Record<string, unknown>>;
      const ifNoneMatch = request.headers['if-none-match'];
      const { status, headers, body } = await answerState(backend, { query, ifNoneMatch, signal });
      onCounted('http-state-read');
      return reply.code(status).headers(headers).send(body);
    });
  }

  /** Runs what goes through the event loop, unless too much of that is open; the signal is aborted when the caller hangs up. */
  async #whileOpen(reply: FastifyReply, run: (signal: AbortSignal) => Promise<FastifyReply>): Promise<FastifyReply> {
    if (this.#callers.size >= limits.httpCallsMax) {
      throw unavailable('overloaded', 'too many calls are open at this replica', 'Try another replica, or later.');
    }
    const gone = new AbortController();
    this.#callers.add(gone);
    // The caller hung up: nobody waits for the answer.
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.abort();
    });
    // It may have done so while its body waited for its turn.
    if (reply.raw.destroyed) gone.abort();
    try {
      return await run(gone.signal);
    } finally {
      this.#callers.delete(gone);
    }
  }

  /** `leaf` and `size`: the inclusion of a leaf; `from` and `to`: that a log of one size goes on from one of another. */
  #proof(query: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    const { backend } = this.#options;
    const names = Object.keys(query).sort().join();
    if (names === 'leaf,size') {
      const leafIndex = wholeNumber(query, 'leaf');
      const logSize = wholeNumber(query, 'size');
      return { leafIndex, logSize, path: found(backend.inclusionPath(leafIndex, logSize)) };
    }
    if (names === 'from,to') {
      const from = wholeNumber(query, 'from');
      const to = wholeNumber(query, 'to');
      return { from, to, path: found(backend.consistencyPath(from, to)) };
    }
    throw badRequest('give leaf and size, or from and to', 'For example /v1/proof?from=10&to=20.');
  }

  #fail(error: Error, reply: FastifyReply): void {
    if (error instanceof HttpProblem) {
      send(reply, error.problem);
      return;
    }
    const { statusCode, code } = error as FastifyError;
    if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
      this.#options.onCounted('http-malformed');
      const hint = 'The routes and their bodies are in /v1/openapi.json.';
      send(reply, { status: statusCode, code: codeOf(code), message: error.message.slice(0, 300), hint });
      return;
    }
    this.#options.onMistake(error);
    const message = 'a mistake of this replica';
    send(reply, { status: 500, code: 'internal', message, hint: 'Its log says more. Ask another replica.' });
  }
}

function send(reply: FastifyReply, { status, code, message, hint, retryAfterSeconds }: Problem): void {
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
  reply.code(status).send({ error: { code, message, hint } });
}

/** Fastify's `FST_ERR_CTP_BODY_TOO_LARGE` as `body-too-large`. */
function codeOf(code: string | undefined): string {
  const name = (code ?? '').replace(/^FST_ERR_(CTP_|)/, '').toLowerCase();
  return name === '' ? 'bad-request' : name.replaceAll('_', '-');
}

function notYet(what: string): HttpProblem {
  return unavailable('not-certified-yet', `there is no certified ${what} yet`, 'Ask again in a moment.');
}

function wholeNumber(query: Readonly<Record<string, unknown>>, name: string): number {
  const text = query[name];
  const number = typeof text === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number))
    throw badRequest(`${name} is not a whole number`, 'Sizes and places count from 0.');
  return number;
}

function found<T>(path: T | undefined): T {
  if (path !== undefined) return path;
  const hint = 'The newest certified size is in /v1/head.';
  throw new HttpProblem({
    status: 404,
    code: 'no-such-proof',
    message: 'the log of this replica is not so long, or it has dropped this part of it',
    hint,
  });
}
