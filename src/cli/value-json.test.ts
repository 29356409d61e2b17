/**
 * Shows that values survive the way to JSON and back, bytes included, and that bad JSON is refused with a reason.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeValue, type Value } from '../wire/value.ts';
import { valueToJson } from '../wire/value-json.ts';
import { CliError } from './cli-error.ts';
import { valueFromJsonText } from './value-json.ts';

const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string(),
    fc.uint8Array(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__' && key !== '$bytes'),
      tie('value'),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).value;

const refused = (text: string): CliError => {
  try {
    valueFromJsonText(text, 'the input');
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error('it was taken');
};

describe('values as JSON', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(value, (original) => {
        const back = valueFromJsonText(JSON.stringify(valueToJson(original)), 'it');
        expect(Buffer.from(encodeValue(back))).toEqual(Buffer.from(encodeValue(original)));
      }),
      { numRuns: 300 },
    );
  });

  it('show bytes as base64', () => {
    expect(valueToJson({ a: [Uint8Array.of(1, 2, 255)] })).toEqual({ a: [{ $bytes: 'AQL/' }] });
    expect(valueFromJsonText('{"$bytes":"AQL/"}', 'it')).toEqual(Uint8Array.of(1, 2, 255));
  });
});

describe('bad JSON', () => {
  it('is refused with what is wrong', () => {
    expect(refused('{"a":')).toMatchObject({ code: 'invalid-json', exitCode: 2 });
    expect(refused('{key: 1}').message).toMatch(/^the input is not JSON: /);
    expect(refused('1e999').message).toMatch(/cannot be sent/);
    expect(refused('{"$bytes":"*"}').message).toMatch(/base64/);
    expect(refused('{"__proto__": 1}').message).toMatch(/cannot be sent/);
    expect(refused('"\\ud800"').message).toMatch(/surrogate/);
    expect(refused(`${'['.repeat(5000)}${']'.repeat(5000)}`).message).toMatch(/nested/);
  });
});
