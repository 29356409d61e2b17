/**
 * Run verify: files in, a verdict in words out. It opens no connection and reads no cluster directory: what is believed is
 * what the service key proves.
 */

import { type CompareOptions, verifyDocument } from '../verify/verify.ts';
import { limits } from '../wire/limits.ts';
import { CliError, exitCodes } from './cli-error.ts';
import type { CommandContext } from './command.ts';
import { readInput } from './read-input.ts';
import { readServiceKeyOption } from './service-key-option.ts';
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

  const { text: serviceKey } = await readServiceKeyOption(options.serviceKey);
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
