/**
 * HTTP interface of a liar: whoever follows the replicas from epoch to epoch asks here who they are, and is told old truths, forgeries or
 * nothing; whoever calls or reads is told wrong results and values, and heads of a while ago.
 */
import type { HttpBackend, StateRead, Submitted } from '../../../src/replica/http/backend.ts';
import {
  HttpInterface as HonestHttpInterface,
  type HttpInterfaceOptions,
} from '../../../src/replica/http/http-interface.ts';
import type { CertifiedHead } from '../../../src/wire/client-message.ts';
import { encodeOutcomes } from '../../../src/wire/outcome.ts';
import { encodeValue } from '../../../src/wire/value.ts';
import { bent, diceFor, Memory } from './dice.ts';

const lie = encodeOutcomes([{ ok: true, value: 'a lie' }]);
/** In these bytes of a statement of the membership is its epoch, of which the next would be believed. */
const epochOffset = 33;

type Statement = NonNullable<ReturnType<HttpBackend['certifiedMembership']>>;

export class HttpInterface extends HonestHttpInterface {
  constructor(options: HttpInterfaceOptions) {
    super({ ...options, backend: lyingBackend(options.backend) });
  }
}

function lyingBackend(backend: HttpBackend): HttpBackend {
  const dice = diceFor(20_000_003);
  const statements = new Memory<Statement>(dice, 4);
  const proofs = new Memory<Uint8Array>(dice, 4);
  const heads = new Memory<CertifiedHead>(dice, 8);

  const forgedStatement = (statement: Statement): Statement => {
    const { encoded, signature } = statement;
    const later = Uint8Array.from(encoded);
    const epoch = new DataView(later.buffer, epochOffset, 4);
    epoch.setUint32(0, epoch.getUint32(0) + 1 + dice.below(3));
    return dice.pick([
      { encoded: later, signature },
      { encoded: bent(encoded, dice), signature },
      { encoded, signature: bent(signature, dice) },
    ]);
  };
  const falselySubmitted = (submitted: Submitted): Submitted =>
    submitted.kind === 'reply' || submitted.kind === 'certified' ? { ...submitted, result: lie } : submitted;
  const falselyRead = (read: StateRead): StateRead =>
    read.kind === 'state' ? { ...read, value: encodeValue('a lie') } : read;

  return {
    ...backend,
    submit: async (request, options) => falselySubmitted(await backend.submit(request, options)),
    submitAnonymous: async (operation, input, options) => {
      const answer = await backend.submitAnonymous(operation, input, options);
      return answer === 'too-many' ? answer : { ...answer, submitted: falselySubmitted(answer.submitted) };
    },
    readState: async (key, options) => falselyRead(await backend.readState(key, options)),
    certifiedHead: () => {
      const head = backend.certifiedHead();
      if (head !== undefined) heads.keep(head);
      return heads.any;
    },
    certifiedMembership: () => {
      const statement = backend.certifiedMembership();
      const old = statements.any;
      if (statement === undefined) return old;
      statements.keep(statement);
      return dice.pick([undefined, old, forgedStatement(statement), statement]);
    },
    closingProof: () => {
      const proof = backend.closingProof();
      const old = proofs.any;
      if (proof === undefined) return old;
      proofs.keep(proof);
      return dice.pick([undefined, old, bent(proof, dice), dice.bytes(500), proof]);
    },
    status: () => ({ ...backend.status(), commitIndex: 999_999, epoch: 1_000 }),
  };
}
