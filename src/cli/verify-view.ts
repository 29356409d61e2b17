/**
 * Verify view: a verdict in plain words, with what it does not prove beside what it does; and as JSON.
 */
import type {
  DocumentVerdict,
  Head,
  ReasonCode,
  ReplicaAddress,
  Value,
  VerifiedMembership,
  VerifiedOperation,
  VerifiedReply,
  VerifiedState,
} from '../verify/verify.ts';
import { type Json, valueToJson } from '../wire/value-json.ts';
import { printable, type Terminal } from './terminal.ts';

export type Proven = Extract<DocumentVerdict, { readonly ok: true }>;
export interface Against {
  readonly serviceKey: string;
  /** An older head was given, and is of the same log. */
  readonly isCompared: boolean;
}

/** What is shown of one value; `--json` has all of it. */
const valueLengthMax = 500;
const operationsShownMax = 20;

const changed = 'It was changed after the service signed it, or put together from parts. Do not rely on it.';
const hints: Readonly<Record<ReasonCode, string>> = {
  document: 'It must be the JSON file as "coterie call --certified" or a replica\'s HTTP interface gave it, unchanged.',
  'service-key':
    'Take the service key from somebody you trust: 192 hex characters, the same for the life of the service.',
  request: changed,
  result: changed,
  inclusion: changed,
  state: changed,
  head: changed,
  membership: changed,
  signature: 'It was changed, or it is of another service than the one with this key. Do not rely on it.',
  consistency: [
    'The proof must be from the smaller to the larger of the two log sizes: ask a replica for /v1/proof?from=…&to=….',
    'When no replica can give it, the log was rewritten: keep both files, they are the evidence.',
  ].join('\n'),
};

export function hintOf(code: ReasonCode): string {
  return hints[code];
}

export function describeVerdict(
  verdict: Proven,
  against: Against,
  terminal: Pick<Terminal, 'style'>,
): readonly string[] {
  const { title, facts, proven, open } = accountOf(verdict, against);
  const width = Math.max(...facts.map(([name]) => name.length));
  return [
    terminal.style('green', title),
    '',
    ...facts.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`),
    '',
    'This is proven, when at most f replicas are faulty:',
    ...proven.map((sentence) => `  - ${sentence}`),
    'This is not:',
    ...open.map((sentence) => `  - ${sentence}`),
  ];
}

interface Account {
  readonly title: string;
  readonly facts: readonly (readonly [name: string, text: string])[];
  readonly proven: readonly string[];
  readonly open: readonly string[];
}

function accountOf(verdict: Proven, against: Against): Account {
  switch (verdict.kind) {
    case 'reply':
      return accountOfReply(verdict.reply, against);
    case 'head':
      return accountOfHead(verdict.head, against);
    case 'state':
      return accountOfState(verdict.state, against);
    case 'membership':
      return accountOfMembership(verdict.membership, against);
  }
}

function accountOfReply(reply: VerifiedReply, against: Against): Account {
  const { client, operations, leafIndex, commitIndex, head } = reply;
  const shown = operations.slice(0, operationsShownMax);
  const rest = operations.length - shown.length;
  return {
    title: 'Proven: the service certified this reply.',
    facts: [
      ['asked by', `the client with the key ${client}`],
      ...shown.flatMap(factsOfOperation),
      ...(rest === 0 ? [] : [['and', `${rest} more operations, which --json shows`] as const]),
      ['executed', `by ${timeOf(head)}, as the replicas agreed on the time`],
      ['place', `request ${leafIndex + 1} of ${head.logSize} in the log, in commit ${commitIndex}`],
      ...factsOfService(head, against),
    ],
    proven: [
      'The client signed this request, for this service.',
      'The service executed it once, at this place, with this result: f + 1 replicas or more vouched for it.',
      ...sameLog(against),
    ],
    open: ['That it is still so: what came later may have changed it.', ...otherLog(against)],
  };
}

function factsOfOperation({ name, input, outcome }: VerifiedOperation): readonly (readonly [string, string])[] {
  const asked = input === undefined ? 'with an input that is no value' : textOf(input);
  const result = outcome.ok
    ? textOf(outcome.value)
    : `refused: ${printable(outcome.code)}: ${shorten(outcome.message)}`;
  return [
    ['operation', `${name} ${asked}`],
    ['result', result],
  ];
}

function accountOfState({ key, present, value, asOf, head }: VerifiedState, against: Against): Account {
  return {
    title: present
      ? 'Proven: the service certified what is under this key.'
      : 'Proven: the service certified that there is no such key.',
    facts: [
      ['key', textOf(key)],
      ['value', value === undefined ? 'none: there was no such key' : textOf(value)],
      ['as of', `commit ${asOf.commitIndex}, ${timeOf(head)}, as the replicas agreed on the time`],
      ['state', head.stateRoot],
      ...factsOfService(head, against),
    ],
    proven: [
      'After that commit the state of the service was so: f + 1 replicas or more vouched for it.',
      ...sameLog(against),
    ],
    open: [
      'That it is still so: what came later may have changed it.',
      'That this is the key you asked for: compare it.',
      ...otherLog(against),
    ],
  };
}

function accountOfHead(head: Head, against: Against): Account {
  return {
    title: 'Proven: the service certified this head of its log.',
    facts: [
      ['log', `${head.logSize} requests, with the root ${head.logRoot}`],
      ['state', `${head.stateRoot} after commit ${head.commitIndex}`],
      ['time', `${timeOf(head)}, as the replicas agreed on it`],
      ...factsOfService(head, against),
    ],
    proven: [
      'After that commit the log of the service had these requests: f + 1 replicas or more vouched for it.',
      ...sameLog(against),
    ],
    open: ['That it is the newest head.', ...otherLog(against)],
  };
}

function accountOfMembership(membership: VerifiedMembership, { serviceKey }: Against): Account {
  const { serviceId, epoch, f, name, service, replicas } = membership;
  return {
    title: 'Proven: the service certified this membership.',
    facts: [
      ['name', `${printable(name)}, running ${printable(service)}`],
      ['replicas', `${replicas.length}, of which ${f} may be faulty`],
      ...replicas.map(({ replicaId, clientAddress, httpAddress }) => {
        const places = `clients at ${addressOf(clientAddress)}, HTTP at ${addressOf(httpAddress)}`;
        return [printable(replicaId), places] as const;
      }),
      ['service', `id ${serviceId}, epoch ${epoch}`],
      ['key', serviceKey],
    ],
    proven: ['These are the replicas of this epoch, with these keys and addresses.'],
    open: ['That this is the present epoch.', 'That the replicas can be reached, or are correct.'],
  };
}

function factsOfService({ serviceId, epoch }: Head, { serviceKey }: Against): readonly (readonly [string, string])[] {
  return [
    ['service', `id ${serviceId}, epoch ${epoch}`],
    ['key', serviceKey],
  ];
}

function sameLog({ isCompared }: Against): readonly string[] {
  return isCompared ? ['The log is the one of the head it was compared with: neither was rewritten.'] : [];
}

function otherLog({ isCompared }: Against): readonly string[] {
  return isCompared
    ? ['That nobody was shown another log, but for the two heads compared.']
    : [
        'That more than f faulty replicas did not show others another log: compare it with a head seen before (--head).',
      ];
}

function timeOf({ timestamp }: Head): string {
  // The largest time that has a date; beyond, the number itself is all there is to say.
  return timestamp <= 8.64e15 ? new Date(timestamp).toISOString() : `${timestamp} ms after 1970`;
}

function addressOf({ host, port }: ReplicaAddress): string {
  return printable(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
}

function textOf(value: Value): string {
  return shorten(JSON.stringify(valueToJson(value)));
}

function shorten(text: string): string {
  if (text.length <= valueLengthMax) return printable(text);
  return `${printable(text.slice(0, valueLengthMax))}… (${text.length} characters, which --json shows)`;
}

export function verdictToJson(verdict: Proven, { serviceKey, isCompared }: Against): Json {
  const common = { proven: true, kind: verdict.kind, serviceKey, compared: isCompared };
  switch (verdict.kind) {
    case 'reply': {
      const { certifiedHead: _kept, operations, head, ...reply } = verdict.reply;
      return { ...common, reply: { ...reply, operations: operations.map(operationToJson), head: { ...head } } };
    }
    case 'head':
      return { ...common, head: { ...verdict.head } };
    case 'state': {
      const { certifiedHead: _kept, value, asOf, head, ...state } = verdict.state;
      return {
        ...common,
        state: { ...state, value: valueToJson(value ?? null), asOf: { ...asOf }, head: { ...head } },
      };
    }
    case 'membership': {
      const { replicas, ...membership } = verdict.membership;
      return { ...common, membership: { ...membership, replicas: replicas.map(replicaToJson) } };
    }
  }
}

function operationToJson({ name, input, outcome }: VerifiedOperation): Json {
  const result = outcome.ok ? { ok: true, value: valueToJson(outcome.value) } : { ...outcome };
  return { name, ...(input === undefined ? {} : { input: valueToJson(input) }), outcome: result };
}

function replicaToJson(replica: VerifiedMembership['replicas'][number]): Json {
  const { peerAddress, clientAddress, httpAddress, identityKey, keysSince, cleanSince, ...names } = replica;
  return {
    ...names,
    ...(identityKey === undefined ? {} : { identityKey }),
    keysSince: { ...keysSince },
    cleanSince: { ...cleanSince },
    peerAddress: { ...peerAddress },
    clientAddress: { ...clientAddress },
    httpAddress: { ...httpAddress },
  };
}
