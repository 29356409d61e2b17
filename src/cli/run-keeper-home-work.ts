/**
 * Run keeper home work: the process, of the replica's own user, in which a keeper has work done in the home.
 */
import { doHomeWork, homeWorkForm } from '../keeper/home-work.ts';
import { limits } from '../wire/limits.ts';
import { CliError, exitCodes } from './cli-error.ts';
import type { CommandContext } from './command.ts';

const workSizeBytesMax = 8 * limits.homeFileSizeBytesMax;

export async function runKeeperHomeWork({ terminal }: CommandContext): Promise<void> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk as string;
    if (text.length > workSizeBytesMax) break;
  }
  const work = homeWorkForm.safeParse(parsed(text));
  if (!work.success) {
    const hint = 'It is the keeper that calls this.';
    throw new CliError('what is to be done is not understood', { code: 'usage', hint, exitCode: exitCodes.usage });
  }
  terminal.raw(`${JSON.stringify(await doHomeWork(work.data))}\n`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
