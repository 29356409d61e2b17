/**
 * Process usage: CPU time and memory of processes of this machine, from /proc.
 */
import { readFileSync } from 'node:fs';

/** Clock ticks per second in /proc on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU seconds, user and system, that a process has used; 0 when it is gone. */
export function cpuSecondsOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  // The name in parentheses may hold anything; fields are counted after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond;
}

/** CPU seconds that all processes of this machine have used since it was started, and what its host took away from it. */
export function machineCpuSeconds(): number {
  const [, user, nice, system, , , interrupts, softInterrupts, stolen] = read('/proc/stat').split(/\s+/, 9).map(Number);
  const ticks = [user, nice, system, interrupts, softInterrupts, stolen];
  return ticks.reduce((sum: number, each) => sum + (each ?? 0), 0) / ticksPerSecond;
}

/** Resident bytes of a process; 0 when it is gone. */
export function residentBytesOf(pid: number): number {
  const line = read(`/proc/${pid}/status`).match(/^VmRSS:\s+(\d+) kB$/m);
  return Number(line?.[1] ?? 0) * 1_024;
}

/** The most resident bytes that a process ever had; 0 when it is gone. */
export function peakResidentBytesOf(pid: number): number {
  const line = read(`/proc/${pid}/status`).match(/^VmHWM:\s+(\d+) kB$/m);
  return Number(line?.[1] ?? 0) * 1_024;
}

/** Of the resident bytes of a process those that are no file's, such as a part of a state that lmdb has mapped; 0 when it is gone. */
export function ownBytesOf(pid: number): number {
  const line = read(`/proc/${pid}/status`).match(/^RssAnon:\s+(\d+) kB$/m);
  return Number(line?.[1] ?? 0) * 1_024;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
