/**
 * Shows that errors and results come out where and how they should, and that text from outside cannot steer a terminal.
 */
import { describe, expect, it } from 'vitest';
import { CliError, exitCodes, toCliError } from './cli-error.ts';
import { printable, Terminal } from './terminal.ts';

function open(options: { json?: boolean; tty?: boolean; environment?: Record<string, string> } = {}) {
  const written = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    isTTY: options.tty ?? false,
    write: (text: string | Uint8Array) => {
      written[name] += typeof text === 'string' ? text : Buffer.from(text).toString('latin1');
      return true;
    },
  });
  const { json = false, environment = {} } = options;
  return { written, terminal: new Terminal({ json, stdout: sink('stdout'), stderr: sink('stderr'), environment }) };
}

const error = new CliError('it broke', { code: 'broken', hint: 'mend it\nor not' });

describe('an error', () => {
  it('is a sentence and hint lines on stderr', () => {
    const { written, terminal } = open();
    terminal.error(error);
    expect(written).toEqual({ stdout: '', stderr: 'error: it broke\n  mend it\n  or not\n' });
  });

  it('is one document on stdout with --json', () => {
    const { written, terminal } = open({ json: true });
    terminal.error(error);
    expect(JSON.parse(written.stdout)).toEqual({
      error: { code: 'broken', message: 'it broke', hint: 'mend it\nor not' },
    });
    expect(written.stderr).toBe('');
  });

  it('never makes a second document', () => {
    const { written, terminal } = open({ json: true });
    terminal.document({ a: 1 });
    terminal.error(error);
    expect(written.stdout).toBe('{"a":1}\n');
    expect(written.stderr).toContain('it broke');
  });

  it('has a stack trace with COTERIE_DEBUG=1 only', () => {
    const quiet = open();
    quiet.terminal.error(error);
    expect(quiet.written.stderr).not.toContain('at ');
    const loud = open({ environment: { COTERIE_DEBUG: '1' } });
    loud.terminal.error(error);
    expect(loud.written.stderr).toContain('terminal.test.ts');
  });
});

describe('colour', () => {
  it('is for terminals, and not with NO_COLOR', () => {
    expect(open({ tty: true }).terminal.style('red', 'x')).toBe('\x1b[31mx\x1b[39m');
    expect(open().terminal.style('red', 'x')).toBe('x');
    expect(open({ tty: true, environment: { NO_COLOR: '1' } }).terminal.style('red', 'x')).toBe('x');
    expect(open({ tty: true, environment: { NO_COLOR: '' } }).terminal.style('red', 'x')).toContain('\x1b');
  });
});

describe('printable', () => {
  it('shows what would steer a terminal, and leaves the rest', () => {
    expect(printable('grün 日本 🎉')).toBe('grün 日本 🎉');
    expect(printable('\x1b[2J\r\n\t\x07')).toBe('\\x1b[2J\\x0d\\n\\t\\x07');
    expect(printable('\u202e\u2028')).toBe('\\u{202e}\\u{2028}');
    expect(printable('\ud800')).toBe('\\u{d800}');
  });
});

describe('toCliError', () => {
  it('keeps code, sentence and hint of typed errors and chooses the exit code', () => {
    const typed = (code: string) => Object.assign(new Error('sentence'), { code, hint: 'do this' });
    expect(toCliError(typed('timeout'))).toMatchObject({
      message: 'sentence',
      code: 'timeout',
      hint: 'do this',
      exitCode: exitCodes.unavailable,
    });
    expect(toCliError(typed('unavailable')).exitCode).toBe(exitCodes.unavailable);
    expect(toCliError(typed('rejected')).exitCode).toBe(exitCodes.negative);
    expect(toCliError(typed('disk-full')).exitCode).toBe(exitCodes.environment);
  });

  it('gives each replica that cannot be reached a line of its own', () => {
    const reasons = 'replica 0 at h:1: dialling h:1: nobody listens there; replica 1 at h:2: no answer in time';
    const unavailable = Object.assign(new Error(`0 of 4 replicas are connected (${reasons})`), {
      code: 'unavailable',
      hint: 'start them',
      outcome: 'unknown',
    });
    expect(toCliError(unavailable)).toMatchObject({
      message: '0 of 4 replicas are connected',
      hint: [
        'replica 0 at h:1: nobody listens there',
        'replica 1 at h:2: no answer in time',
        'start them',
        'It may have been executed, and may still be.',
      ].join('\n'),
      details: { outcome: 'unknown' },
    });
  });

  it('says in words what the operating system says', () => {
    const denied = Object.assign(new Error('EACCES: …'), { code: 'EACCES', syscall: 'open', path: '/x' });
    expect(toCliError(denied)).toMatchObject({ message: '/x: permission denied', exitCode: exitCodes.environment });
  });

  it('calls everything else a mistake of ours', () => {
    expect(toCliError(new TypeError('undefined is not a function'))).toMatchObject({ exitCode: exitCodes.bug });
    expect(toCliError('text')).toMatchObject({ exitCode: exitCodes.bug });
  });
});
