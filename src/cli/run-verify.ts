/**
 * Run verify: files in, a verdict in words out. It opens no connection and reads no cluster directory: what is believed is
 * what the service key proves.
 */

import { type CompareOptions, verifyDocument } from '../verify/verify.ts';
import { limits } from '../wire/limits.ts';
import { CliError, exitCodes } from './cli-error.ts';
import type { CommandContext } from './command.ts';
import { readInput } from './read-input.ts';
import type { VerifyOptions } from './verify.ts';
import { describeVerdict, hintOf, verdictToJson } from './verify-view.ts';

const smallFileSizeBytesMax = 64 * 1024;

export async function runVerify(file: string, options: VerifyOptions, { terminal }: CommandContext): Promise<void> {
  const { head, consistency } = options;
  if (consistency !== undefined && head === undefined) {
    throw new CliError('--consistency says nothing without --head', {
      code: 'usage',
      hint: 'Give the older certified head that the proof begins at.',
    });
  }
  const inputs = [file, head, consistency].filter((path) => path === '-');
  if (inputs.length > 1) throw new CliError('only one file can come from stdin', { code: 'usage' });

  const serviceKey = await readServiceKey(options.serviceKey);
  const document = await readText(file, 'the document', limits.documentLengthMax);
  const comparison = await readComparison(options);
  const verdict = verifyDocument(document, serviceKey, comparison);
  if (!verdict.ok) {
    const { code, sentence } = verdict.reason;
    throw new CliError(`not proven: ${sentence}`, {
      code: 'not-proven',
      hint: hintOf(code),
      exitCode: exitCodes.negative,
      details: { reason: verdict.reason },
    });
  }
  if (verdict.kind === 'membership' && head !== undefined) {
    throw new CliError('a membership has no head to compare with', {
      code: 'usage',
      hint: 'Verify it without --head.',
    });
  }
  const isCompared = head !== undefined;
  if (terminal.json) terminal.document(verdictToJson(verdict, { serviceKey, isCompared }));
  else for (const line of describeVerdict(verdict, { serviceKey, isCompared }, terminal)) terminal.line(line);
}

/** The key itself, or what a file holds. Whether it is a key is the verifier's to say. */
async function readServiceKey(option: string): Promise<string> {
  if (/^[0-9a-f]{192}$/.test(option)) return option;
  if (/^[0-9a-fA-F]{100,}$/.test(option)) {
    throw new CliError('the service key is not 192 lower-case hex characters', {
      code: 'invalid-service-key',
      hint: `It has ${option.length} characters.`,
    });
  }
  const text = (await readText(option, 'the service key', smallFileSizeBytesMax)).trim();
  if (/^[0-9a-f]{192}$/.test(text)) return text;
  throw new CliError(`${option} holds no service key`, {
    code: 'invalid-service-key',
    hint: 'It must hold 192 lower-case hex characters, as the file "service-key" of a cluster directory does.',
  });
}

async function readComparison({ head, consistency }: VerifyOptions): Promise<CompareOptions> {
  if (head === undefined) return {};
  const lastHead = await readText(head, 'the older head', smallFileSizeBytesMax);
  if (consistency === undefined) return { lastHead };
  const text = await readText(consistency, 'the consistency proof', smallFileSizeBytesMax);
  let proof: unknown;
  try {
    proof = JSON.parse(text);
  } catch (error) {
    throw new CliError(`the consistency proof: ${consistency} is not JSON`, { code: 'invalid-json', cause: error });
  }
  // As a replica answers it, or the list of hashes alone.
  const path = Array.isArray(proof) ? proof : (proof as { readonly path?: unknown } | null)?.path;
  return { lastHead, consistencyPath: path ?? null };
}

async function readText(path: string, what: string, sizeBytesMax: number): Promise<string> {
  return (await readInput(path, what, sizeBytesMax)).toString('utf8');
}
