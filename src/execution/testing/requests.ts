/** Requests for tests, as the ordering would hand them over: well-formed, their signatures not looked at. */
import { encodeRequest, type Request } from '../../wire/request.ts';
import { encodeValue } from '../../wire/value.ts';

export interface RequestSketch {
  /** Which of 256 clients. */
  readonly client?: number;
  readonly birth?: number;
  /** Which of 256 sessions. */
  readonly nonce?: number;
  readonly number: number;
  readonly acknowledged?: number;
  /** Names with inputs. */
  readonly operations?: readonly (readonly [string, unknown])[];
}

export function requestOf(sketch: RequestSketch): Request {
  const { client = 1, birth = 0, nonce = 1, number, acknowledged = 0, operations = [['note', number]] } = sketch;
  return encodeRequest(
    {
      client: new Uint8Array(32).fill(client),
      session: { birth, nonce: new Uint8Array(16).fill(nonce) },
      number,
      acknowledged,
      operations: operations.map(([name, input]) => ({ name, input: encodeValue(input) })),
    },
    () => new Uint8Array(64),
  );
}
