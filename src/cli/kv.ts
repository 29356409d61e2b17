/**
 * `coterie kv`: the key-value service from a shell.
 */
import type { Command } from 'commander';
import {
  addClientOptions,
  addHelp,
  addJsonOption,
  addTrustOptions,
  type ClientOptions,
  type CommandContext,
  type HelpDetails,
  parseSeconds,
  type TrustOptions,
  wholeNumber,
} from './command.ts';

export interface KvGetOptions extends ClientOptions {
  readonly raw?: true;
}

export interface KvReadOptions extends TrustOptions {
  readonly raw?: true;
  readonly maxAge?: number;
  readonly notBefore?: number;
  readonly saveDocument?: string;
}

export interface KvListOptions extends ClientOptions {
  readonly limit: number;
  readonly after?: string;
}

export interface KvCasOptions extends ClientOptions {
  readonly absent?: true;
}

const timeoutCode = { 3: 'too few replicas answered in time; a write may or may not have been executed' };

export function defineKv(program: Command, context: CommandContext): void {
  const kv = program.command('kv').description('Use the key-value service.').helpCommand(false);
  const add = (command: Command, details: HelpDetails): void => {
    addHelp(addJsonOption(addClientOptions(command)), {
      ...details,
      exitCodes: { ...timeoutCode, ...details.exitCodes },
    });
  };
  const run = () => import('./run-kv.ts');

  add(
    kv
      .command('put')
      .description('Store a value under a key.')
      .argument('<key>')
      .argument('<value>', 'text; "-" takes it from stdin, as text when it is UTF-8, else as bytes')
      .action(async (key: string, value: string, options: ClientOptions) => {
        await (await run()).runPut(key, value, options, context);
      }),
    {
      examples: [
        'coterie kv put greeting hello',
        'coterie kv put logo - < logo.png',
        'coterie kv put deed mine --certified deed.json',
      ],
      exitCodes: {},
    },
  );
  add(
    kv
      .command('get')
      .description('Print the value of a key.')
      .argument('<key>')
      .option('--raw', 'exactly the value, no line end after text')
      .action(async (key: string, options: KvGetOptions) => {
        await (await run()).runGet(key, options, context);
      }),
    {
      examples: ['coterie kv get greeting', 'coterie kv get logo > logo.png', 'coterie kv get greeting --json'],
      exitCodes: { 1: 'there is no such key' },
    },
  );
  addHelp(
    addJsonOption(
      addTrustOptions(
        kv
          .command('read')
          .description(
            'Print the value of a key as one replica proves it. Nothing is ordered for it: it is as of the newest certified head, and says how old that is.',
          )
          .argument('<key>')
          .option('--raw', 'exactly the value, no line end after text')
          .option('--max-age <seconds>', 'take nothing that is proven as of longer ago', parseSeconds)
          .option('--not-before <commit>', 'take nothing that is proven as of an earlier commit', wholeNumber(0))
          .option('--save-document <file>', 'write the proof there, for "coterie verify"')
          .action(async (key: string, options: KvReadOptions) => {
            await (await run()).runRead(key, options, context);
          }),
      ),
    ),
    {
      examples: [
        'coterie kv read greeting',
        'coterie kv read greeting --max-age 5',
        'coterie kv read greeting --save-document greeting.json',
      ],
      exitCodes: {
        1: 'it is proven that there is no such key; or history is not what it was',
        3: 'no replica proved anything as new as was asked for in time',
      },
    },
  );
  add(
    kv
      .command('delete')
      .description('Remove a key.')
      .argument('<key>')
      .action(async (key: string, options: ClientOptions) => {
        await (await run()).runDelete(key, options, context);
      }),
    { examples: ['coterie kv delete greeting'], exitCodes: { 1: 'there was no such key' } },
  );
  add(
    kv
      .command('list')
      .description('List keys and values in the order of the keys, a page at a time.')
      .argument('[prefix]', 'only keys that begin with this', '')
      .option('--limit <n>', 'entries of a page', wholeNumber(1, 1000), 100)
      .option('--after <key>', 'go on behind this key')
      .action(async (prefix: string, options: KvListOptions) => {
        await (await run()).runList(prefix, options, context);
      }),
    { examples: ['coterie kv list', 'coterie kv list user/ --limit 20 --after user/0020'], exitCodes: {} },
  );
  add(
    kv
      .command('cas')
      .description('Compare and set: store a value only if the key still has the expected one.')
      .argument('<key>')
      .argument('<expected>', 'the value it must have now; with --absent, left out')
      .argument('[new]', 'the value to store; "-" takes it from stdin')
      .option('--absent', 'the key must not exist')
      .action(async (key: string, first: string, second: string | undefined, options: KvCasOptions) => {
        await (await run()).runCas(key, first, second, options, context);
      }),
    {
      examples: ['coterie kv cas counter 1 2', 'coterie kv cas lock my-name --absent'],
      exitCodes: { 1: 'the key has another value, which is printed; nothing was changed' },
    },
  );
}
