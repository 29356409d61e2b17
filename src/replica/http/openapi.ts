/**
 * OpenAPI: the HTTP interface described for programs, at `/v1/openapi.json`. A test holds the routes and the answers to it.
 */
import { limits } from '../../wire/limits.ts';

const hex = (characters?: number): object => ({
  type: 'string',
  pattern: characters === undefined ? '^([0-9a-f]{2})*$' : `^[0-9a-f]{${characters}}$`,
});
const count = (description: string): object => ({ type: 'integer', minimum: 0, description });
const path = { type: 'array', items: hex(64), maxItems: limits.proofHashesMax };

function record(properties: Readonly<Record<string, object>>, optional: readonly string[] = []): object {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', required, properties, additionalProperties: false };
}

const head = record({
  serviceId: hex(64),
  epoch: count('Epoch of the membership.'),
  commitIndex: count('The commit after which the log was as said.'),
  logSize: count('Leaves in the log.'),
  logRoot: hex(64),
  stateRoot: hex(64),
  checkpoint: hex(64),
  timestamp: count('Agreed time of that commit, milliseconds since 1970.'),
});

const ages = record({
  code: { type: 'number' },
  state: { type: 'number' },
  'session-key': { type: 'number' },
  'key-share': { type: 'number' },
});

const schemas = {
  Problem: record({
    error: record({ code: { type: 'string' }, message: { type: 'string' }, hint: { type: 'string' } }),
  }),
  SignedCall: record(
    {
      request: { ...hex(), description: 'A whole encoded request, signed by its client.' },
      certified: { type: 'boolean', default: true },
      deadlineMs: { type: 'integer', minimum: 1, maximum: limits.httpDeadlineMsMax, default: 10_000 },
    },
    ['certified', 'deadlineMs'],
  ),
  UnsignedCall: record(
    {
      operation: { type: 'string', pattern: '^[a-z0-9][a-z0-9.-]{0,63}$' },
      input: { description: 'What the operation takes. Bytes are {"$bytes": BASE64}.' },
      certified: { type: 'boolean', default: true },
      deadlineMs: { type: 'integer', minimum: 1, maximum: limits.httpDeadlineMsMax, default: 10_000 },
    },
    ['input', 'certified', 'deadlineMs'],
  ),
  CertifiedReply: record({
    coterie: { const: 'certified reply' },
    version: { const: 1 },
    request: hex(),
    result: hex(),
    commitIndex: count('The commit in which it was executed.'),
    leafIndex: count('Its place in the log, from 0.'),
    inclusionPath: path,
    head,
    signature: hex(96),
  }),
  QuickReply: record({
    certified: { const: false },
    saidBy: { type: 'string', description: 'The one replica whose word this is.' },
    commitIndex: count('The commit in which it was executed.'),
    outcomes: { type: 'array', items: { type: 'object', required: ['ok'], properties: { ok: { type: 'boolean' } } } },
  }),
  CertifiedHead: record({ coterie: { const: 'certified head' }, version: { const: 1 }, head, signature: hex(96) }),
  CertifiedState: record({
    coterie: { const: 'certified state' },
    version: { const: 1 },
    key: { ...hex(), description: 'The key in UTF-8.' },
    value: {
      anyOf: [hex(), { type: 'null' }],
      description: 'The encoded value; null when there was no such key.',
    },
    proof: {
      ...hex(),
      maxLength: 2 * limits.stateProofSizeBytesMax,
      description: 'From the root of the state to the key.',
    },
    head,
    signature: hex(96),
  }),
  CertifiedMembership: record({
    coterie: { const: 'certified membership' },
    version: { const: 1 },
    statement: hex(),
    signature: hex(96),
  }),
  Proof: {
    oneOf: [
      record({ leafIndex: count('Place of the leaf.'), logSize: count('Leaves in the log.'), path }),
      record({ from: count('The smaller size.'), to: count('The larger size.'), path }),
    ],
  },
  Status: {
    type: 'object',
    description: 'Further fields are for people, and may change.',
    properties: {
      replicaId: { type: 'string' },
      epoch: count('Of the membership.'),
      commitIndex: count('Of the last commit.'),
      window: {
        type: 'object',
        description: 'The window of vulnerability, counted by the clock of this replica.',
        required: ['windowSeconds', 'boundsSeconds', 'replicas'],
        properties: {
          windowSeconds: { type: 'number', description: 'The largest of all replicas.' },
          boundsSeconds: { ...ages, type: ['object', 'null'], description: 'By the schedule; null without one.' },
          replicas: {
            type: 'array',
            items: record({ replica: { type: 'string' }, windowSeconds: { type: 'number' }, agesSeconds: ages }),
          },
        },
        additionalProperties: false,
      },
    },
  },
  Health: {
    type: 'object',
    required: ['status', 'commitIndex'],
    properties: {
      status: { enum: ['ok', 'observer', 'diverged', 'fetching-state', 'without-keys'] },
      replica: { type: 'string' },
      commitIndex: count('Of the last commit, or of the one at which it diverged.'),
    },
    additionalProperties: false,
  },
};

const json = (name: string): object => ({ 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } });
const answer = (description: string, name: string): object => ({ description, content: json(name) });
const problem = (description: string): object => answer(description, 'Problem');
const query = (name: string, description: string): object => ({
  name,
  in: 'query',
  description,
  schema: { type: 'integer', minimum: 0 },
});
const replyOf = (description: string): object => ({
  description,
  content: {
    'application/json': {
      schema: { oneOf: ['CertifiedReply', 'QuickReply'].map((name) => ({ $ref: `#/components/schemas/${name}` })) },
    },
  },
});

export const openApi = {
  openapi: '3.1.0',
  info: {
    title: 'Coterie replica',
    version: '1',
    description:
      'Calls to a replicated service, and what the service signs. Check what you get with the service key: coterie verify, or coterie/verify.',
  },
  paths: {
    '/v1/call': {
      post: {
        summary: 'Calls an operation. A certified reply, unless "certified" is false.',
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: {
                oneOf: ['SignedCall', 'UnsignedCall'].map((name) => ({ $ref: `#/components/schemas/${name}` })),
              },
            },
          },
        },
        responses: {
          200: replyOf('Executed.'),
          400: problem('The body or the request in it is malformed.'),
          401: problem('The signature in the request is not valid.'),
          403: replyOf('The service does not allow this operation to those who sign nothing.'),
          413: problem('The body is too large.'),
          422: replyOf('Executed, and the operation failed; nothing was changed.'),
          429: problem('Too many requests from this address.'),
          503: problem('Not taken by this replica; another one may.'),
          504: problem('No result in time; whether it is executed is not known.'),
        },
      },
    },
    '/v1/head': {
      get: {
        summary: 'The newest certified head of the log.',
        responses: { 200: answer('The head.', 'CertifiedHead'), 503: problem('There is none yet.') },
      },
    },
    '/v1/state': {
      get: {
        summary: 'What is under a key of the state, or that nothing is, proven as of the newest certified head.',
        parameters: [
          {
            name: 'key',
            in: 'query',
            required: true,
            description: 'The key in the state of the service.',
            schema: { type: 'string', maxLength: limits.stateKeySizeBytesMax },
          },
          query('notBefore', 'The answer is as of this commit or a later one; it is waited for a moment.'),
          {
            name: 'if-none-match',
            in: 'header',
            description: 'The tag of an answer that the caller has. It is that of the head, the same at all replicas.',
            schema: { type: 'string' },
          },
        ],
        responses: {
          200: answer('The value and its proof, or the proof of absence.', 'CertifiedState'),
          304: { description: 'The caller has the newest.' },
          400: problem('The parameters make no sense.'),
          403: problem('The service shows its state through its operations only.'),
          429: problem('Too many requests from this address.'),
          503: problem('Not proven by this replica at the moment; another one may.'),
        },
      },
    },
    '/v1/proof': {
      get: {
        summary: 'A proof from the log: give leaf and size, or from and to.',
        parameters: [
          query('leaf', 'Place of a leaf, from 0.'),
          query('size', 'Leaves in the log that it is to be in.'),
          query('from', 'Leaves in an earlier log.'),
          query('to', 'Leaves in the log that goes on from it.'),
        ],
        responses: {
          200: answer('The hashes (RFC 9162 §2.1.3, §2.1.4).', 'Proof'),
          400: problem('The parameters make no sense.'),
          404: problem('The log is not so long, or this part of it was dropped.'),
        },
      },
    },
    '/v1/membership': {
      get: {
        summary: 'Who the replicas are and where, signed by the service.',
        responses: { 200: answer('The statement.', 'CertifiedMembership'), 503: problem('There is none yet.') },
      },
    },
    '/v1/status': {
      get: {
        summary: 'What this replica says of itself, and of how fresh everybody is.',
        responses: { 200: answer('Its own word.', 'Status') },
      },
    },
    '/healthz': {
      get: {
        summary: 'Whether this replica is well.',
        responses: {
          200: answer('It is.', 'Health'),
          503: answer('It has diverged, fetches its state, or has lost its keys.', 'Health'),
        },
      },
    },
    '/metrics': {
      get: {
        summary: 'Metrics in the text format of Prometheus.',
        responses: { 200: { description: 'The metrics.', content: { 'text/plain': { schema: { type: 'string' } } } } },
      },
    },
    '/v1/openapi.json': {
      get: {
        summary: 'This description.',
        responses: {
          200: { description: 'It.', content: { 'application/json': { schema: { type: 'object' } } } },
        },
      },
    },
  },
  components: { schemas },
} as const;
