/**
 * What is deployed is valid where that can be checked, and as strict as the documents say.
 *
 * systemd's own checks run where it is installed; Kubernetes' manifests are read, and what matters for safety is asserted.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { defineKeeper } from '../src/cli/keeper.ts';
import { defineReplica } from '../src/cli/replica.ts';
import { Terminal } from '../src/cli/terminal.ts';

const at = (path: string): string => fileURLToPath(new URL(`../deploy/${path}`, import.meta.url));
const units = readdirSync(at('systemd')).filter((name) => name.endsWith('.service'));
const hasSystemd = runs('systemd-analyze', ['--version']);

function runs(program: string, parameters: readonly string[]): boolean {
  try {
    execFileSync(program, parameters, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Every option of a command line that a unit or a manifest starts. */
function longOptions(words: readonly string[]): readonly string[] {
  return words.filter((word) => word.startsWith('--')).map((word) => word.replace(/=.*/, ''));
}

const context = {
  terminal: new Terminal({ json: false, stdout: process.stdout, stderr: process.stderr, environment: {} }),
  environment: {},
  setExitCode: () => {},
};
function optionsOf(command: string): readonly string[] {
  const program = new Command();
  defineKeeper(program, context);
  defineReplica(program, context);
  return program.commands.find((each) => each.name() === command)?.options.map(({ long }) => long ?? '') ?? [];
}

describe('systemd units', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'coterie-units-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('are there, and start what there is with options that there are', () => {
    expect(units).toEqual(['coterie-keeper@.service', 'coterie-replica@.service']);
    for (const unit of units) {
      const line = /^ExecStart=(.*)$/m.exec(readFileSync(at(`systemd/${unit}`), 'utf8'))?.[1] ?? '';
      const words = line.split(' ');
      const command = words[2] ?? '';
      expect(words[1]).toMatch(/\/dist\/src\/cli\/main\.js$/);
      expect(optionsOf(command)).toEqual(expect.arrayContaining([...longOptions(words)]));
      expect(longOptions(words)).toContain('--home');
    }
  });

  test.runIf(hasSystemd).each(units)('%s is understood by systemd, every word of it', (unit) => {
    // The program is looked for on this machine; the one of this test is there.
    const text = readFileSync(at(`systemd/${unit}`), 'utf8');
    writeFileSync(join(directory, unit), text.replace('/usr/bin/node', process.execPath));
    const verify = (): string =>
      execFileSync('systemd-analyze', ['verify', '--man=no', join(directory, unit)], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
    expect(verify()).toBe('');
    writeFileSync(join(directory, unit), text.replace('ProtectSystem=strict', 'ProtectSystem=sometimes'));
    expect(complaintsOf('systemd-analyze', ['verify', '--man=no', join(directory, unit)])).toContain('sometimes');
  });

  test.runIf(hasSystemd).each([
    ['coterie-keeper@.service', 30],
    ['coterie-replica@.service', 15],
  ] as const)('%s leaves little exposed, and nothing that it need not', (unit, thresholdTenths) => {
    copyFileSync(at(`systemd/${unit}`), join(directory, unit));
    // The threshold is in tenths of the level that is printed; above it the program fails.
    const parameters = ['security', '--offline=true', `--threshold=${thresholdTenths}`, join(directory, unit)];
    expect(runs('systemd-analyze', parameters)).toBe(true);
    const weaker = readFileSync(at(`systemd/${unit}`), 'utf8').replace(
      /^(CapabilityBoundingSet|SystemCallFilter)=.*$/gm,
      '',
    );
    writeFileSync(join(directory, unit), weaker);
    expect(runs('systemd-analyze', parameters)).toBe(false);
  });
});

/** What a program says on both of its outputs, however it ends. */
function complaintsOf(program: string, parameters: readonly string[]): string {
  try {
    return execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', program, ...parameters], { encoding: 'utf8' });
  } catch (error) {
    return String((error as { readonly stdout?: unknown }).stdout);
  }
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

describe('the manifests of Kubernetes', () => {
  const documents = parseAllDocuments(readFileSync(at('kubernetes/coterie.yaml'), 'utf8'), { strict: true });
  const manifests = documents.map((document) => document.toJS() as Manifest | null).filter((each) => each !== null);
  const of = (kind: string): Manifest => manifests.find((each) => each.kind === kind) as Manifest;

  test('are YAML without a mistake, each of a kind and a version that go together', () => {
    expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([]);
    expect(manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
      'v1 ServiceAccount',
      'v1 Service',
      'policy/v1 PodDisruptionBudget',
      'networking.k8s.io/v1 NetworkPolicy',
      'apps/v1 StatefulSet',
    ]);
  });

  interface Container {
    readonly command: readonly string[];
    readonly securityContext: unknown;
    readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  }
  interface SetSpec {
    readonly serviceName: string;
    readonly replicas: number;
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: Readonly<Record<string, unknown>> & {
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string }[];
        readonly securityContext: Readonly<Record<string, unknown>>;
      };
    };
    readonly volumeClaimTemplates: readonly {
      readonly metadata: { readonly name: string };
      readonly spec: { readonly accessModes: readonly string[] };
    }[];
  }
  const set = of('StatefulSet').spec as unknown as SetSpec;
  const pod = set.template.spec;
  const [keeper] = pod.containers as readonly [Container];

  test('give the keeper three capabilities and nothing else of root, and the replica another user', () => {
    expect(pod.containers).toHaveLength(1);
    expect(keeper.securityContext).toEqual({
      runAsUser: 0,
      runAsGroup: 0,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['SETUID', 'SETGID', 'KILL'] },
    });
    expect(pod.securityContext).toEqual({ seccompProfile: { type: 'RuntimeDefault' } });
    expect([pod.automountServiceAccountToken, pod.hostNetwork, pod.hostPID, pod.hostIPC]).toEqual([
      false,
      undefined,
      undefined,
      undefined,
    ]);
    const user = keeper.command.find((word) => word.startsWith('--user='));
    expect(user).toMatch(/^--user=[1-9]\d{3,}:[1-9]\d{3,}$/);
    expect(optionsOf('keeper')).toEqual(expect.arrayContaining([...longOptions(keeper.command)]));
  });

  test('keep home and store apart, each on a volume of one pod that stays', () => {
    const claims = set.volumeClaimTemplates.map(({ metadata, spec }) => [metadata.name, spec.accessModes]);
    expect(claims).toEqual([
      ['home', ['ReadWriteOncePod']],
      ['keeper', ['ReadWriteOncePod']],
    ]);
    const path = (option: string) => keeper.command.find((word) => word.startsWith(option))?.slice(option.length) ?? '';
    const mountOf = (name: string) => keeper.volumeMounts.find((mount) => mount.name === name)?.mountPath ?? '?';
    expect(path('--home=').startsWith(`${mountOf('home')}/`)).toBe(true);
    expect(path('--store=').startsWith(`${mountOf('keeper')}/`)).toBe(true);
    const known = [
      ...set.volumeClaimTemplates.map(({ metadata }) => metadata.name),
      ...pod.volumes.map(({ name }) => name),
    ];
    expect(keeper.volumeMounts.map(({ name }) => name).sort()).toEqual(known.sort());
  });

  test('select the pods that the set makes, and let no more of them go than may be away', () => {
    const { labels } = set.template.metadata;
    const selectors = [
      set.selector.matchLabels,
      of('Service').spec.selector,
      (of('PodDisruptionBudget').spec.selector as { readonly matchLabels: unknown }).matchLabels,
      (of('NetworkPolicy').spec.podSelector as { readonly matchLabels: unknown }).matchLabels,
    ];
    for (const selector of selectors) expect(selector).toEqual(labels);
    expect(set.serviceName).toBe(of('Service').metadata.name);
    expect(of('PodDisruptionBudget').spec.maxUnavailable).toBe(Math.floor((set.replicas - 1) / 3));
  });
});
