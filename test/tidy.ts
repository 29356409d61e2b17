/**
 * Tidy: the style rules that a program can check. Each rule takes one file and says, in sentences, what is wrong with it.
 *
 * In: a path from the root of the repository, and its text. Out: complaints. The rules are those of docs/ARCHITECTURE.md,
 * "Who may import whom" and "Style"; tidy.test.ts runs them over the repository and shows that each one bites.
 */
import { posix } from 'node:path';

export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

export interface Rule {
  readonly name: string;
  readonly check: (file: SourceFile) => readonly string[];
}

// ── what a file is ──

const isSource = ({ path }: SourceFile): boolean => path.endsWith('.ts') && !path.endsWith('.d.ts');
/** Tests, and what only tests use. */
const isTest = ({ path }: SourceFile): boolean =>
  /\.(test|testing)\.ts$/.test(path) || /(^|\/)testing\//.test(path) || path.startsWith('test/');
const isConfig = ({ path }: SourceFile): boolean => path.endsWith('.config.ts');
/** The folder under src/, or the folder at the top: `ordering`, `services`. */
const roomOf = (path: string): string => {
  const [top = '', room = ''] = path.split('/');
  return top === 'src' ? room : top;
};

/** Replaces comments, and the insides of strings and regular expressions, by blanks; lines stay where they are. */
export function codeOf(text: string): string {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=(?:^|[(,=:[!&|?{};+~<>\n]|return|typeof|case)\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])*\/[a-z]*/g;
  return text.replace(token, (match) => {
    // What a template computes is code; what it says is not.
    const kept = match.startsWith('`') ? [...match.matchAll(/\$\{([^`]*?)\}/g)].map(([, code]) => code).join(' ') : '';
    return kept + match.replace(/[^\n]/g, ' ').slice(kept.length);
  });
}

export interface Import {
  readonly target: string;
  readonly isTypeOnly: boolean;
  readonly isDynamic: boolean;
  readonly isReExport: boolean;
}

export function importsOf(text: string): readonly Import[] {
  const found: Import[] = [];
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/[^\n]*/gm, '');
  for (const [, keyword, clause = '', target = ''] of code.matchAll(
    /^[ \t]*(import|export)\b(?!\s*\()([^'";]*?)(?:\bfrom\s*)?['"]([^'"\n]+)['"]/gm,
  )) {
    if (keyword === 'export' && !/[*}]\s*$|\*\s+as\s+\w+\s*$/.test(clause)) continue;
    const names = /^\s*\{([^}]*)\}\s*$/
      .exec(clause)?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '');
    const isTypeOnly = /^\s*type\b/.test(clause) || (names?.every((name) => /^\s*type\s/.test(name)) ?? false);
    found.push({ target, isTypeOnly, isDynamic: false, isReExport: keyword === 'export' });
  }
  for (const [, target = ''] of code.matchAll(/\bimport\(\s*['"]([^'"\n]+)['"]/g)) {
    found.push({ target, isTypeOnly: false, isDynamic: true, isReExport: false });
  }
  return found;
}

// ── who may import whom ──

const stages = ['ordering', 'execution', 'certification', 'keys', 'secrets', 'recovery', 'epochs'];
const ground = ['membership', 'wire', 'crypto'];
/** Over `state/` only these two stand: who executes, and who fetches what others executed. */
const overState = ['execution', 'recovery'];
const pureRooms = [...stages, ...ground, 'state', 'verify'];
const belowReplica = [...pureRooms, 'transport', 'storage', 'platform'];

/** Rooms of src/ that each room may import. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  crypto: [],
  wire: ['crypto'],
  membership: ['wire', 'crypto'],
  verify: ['wire', 'crypto'],
  state: ['wire', 'crypto'],
  ...Object.fromEntries(stages.map((stage) => [stage, overState.includes(stage) ? [...ground, 'state'] : ground])),
  transport: ['wire', 'crypto', 'platform'],
  storage: ['state', 'wire', 'crypto', 'platform'],
  platform: [],
  keeper: ['storage', 'platform', 'wire', 'crypto', 'verify', 'membership'],
  replica: belowReplica,
  client: ['verify', 'transport', 'membership', 'wire', 'crypto', 'platform'],
  cli: [...ground, 'verify', 'transport', 'storage', 'platform', 'replica', 'client', 'execution', 'keeper'],
  dashboard: ['replica', 'client'],
};
/**
 * The part of a subcommand that is loaded when it is run: it may import the simulator, the benchmarks and the services,
 * and nothing else imports it, so that a replica in production never loads them.
 */
const isOnDemand = (path: string): boolean => /^src\/cli\/run-[a-z-]+\.ts$/.test(path);

/** Files that stand in a pure room and are not pure: they may import these rooms too. */
const besides: Readonly<Record<string, readonly string[]>> = {
  // Service authors test with the very guard that replicas run under.
  'src/execution/test-harness.ts': ['platform'],
};
/** Rooms of which types may be imported although the code may not: the stages before; what a client's calls are typed by. */
const typesOf = (room: string): readonly string[] =>
  room === 'client' ? ['execution'] : stages.slice(0, Math.max(0, stages.indexOf(room)));

function checkImports(file: SourceFile): readonly string[] {
  if (!isSource(file) || isTest(file) || isConfig(file)) return [];
  const room = roomOf(file.path);
  if (['simulator', 'bench'].includes(room)) return [];
  const complaints: string[] = [];
  for (const { target, isTypeOnly, isDynamic } of importsOf(file.text)) {
    if (!target.startsWith('.')) {
      if (target.startsWith('coterie/') && room !== 'services') {
        complaints.push(`imports the published entry ${target}: inside the package name the file`);
      }
      continue;
    }
    const resolved = posix.normalize(posix.join(posix.dirname(file.path), target));
    const other = roomOf(resolved);
    if (room === 'services') {
      if (other !== 'services') complaints.push(`a service may import published entries only, not ${target}`);
    } else if (!resolved.startsWith('src/')) {
      if (!isOnDemand(file.path) && !(room === 'cli' && isDynamic)) complaints.push(`src/ may not import ${resolved}`);
    } else if (isOnDemand(resolved) && !isOnDemand(file.path) && !isDynamic && !isTypeOnly) {
      complaints.push(`${target} may be loaded by a dynamic import only`);
    } else if (other !== room) {
      const allowed = mayImport[room];
      if (allowed === undefined) complaints.push(`src/${room}/ is not in the table of who may import whom`);
      else if (
        ![...allowed, ...(besides[file.path] ?? [])].includes(other) &&
        !(isTypeOnly && typesOf(room).includes(other))
      ) {
        complaints.push(`${room}/ may not import ${other}/ (${target})`);
      }
    }
  }
  return complaints;
}

// ── purity ──

const impure: readonly (readonly [RegExp, string])[] = [
  [/(?<![.\w$])(?:async|await)\b(?!\s*[:?(]?\s*\))/, 'is asynchronous'],
  [/(?<![.\w$])Date\b/, 'reads a clock'],
  [/\bMath\.random\b|\bgetRandomValues\b|\brandom(?:Bytes|UUID|Int)\b/, 'draws a random number'],
  [/\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'sets a timer'],
  [/(?<![.\w$])(?:process|console|performance)\b(?!\s*[:?]\s)/, 'reaches for process, console or performance'],
  [/\b(?:Intl|localeCompare|toLocale\w*)\b/, 'depends on the locale of the machine'],
];

/** Loads WebAssembly when it is imported, which nothing can do synchronously; everything after that is. */
const awaitsWhenLoaded = new Set(['src/crypto/curve-mcl.ts']);

function checkPurity(file: SourceFile): readonly string[] {
  const room = roomOf(file.path);
  if (!isSource(file) || isTest(file) || !file.path.startsWith('src/') || !pureRooms.includes(room)) return [];
  const code = codeOf(file.text);
  const complaints = impure
    .filter(([pattern]) => pattern.test(code))
    .filter(([, what]) => what !== 'is asynchronous' || !awaitsWhenLoaded.has(file.path))
    .map(([, what]) => `${room}/ is pure, but this ${what}`);
  for (const { target } of importsOf(file.text)) {
    if (!target.startsWith('node:')) continue;
    const isAllowed = ['crypto', 'wire'].includes(room) && ['node:crypto', 'node:buffer'].includes(target);
    if (!isAllowed) complaints.push(`${room}/ is pure, but this imports ${target}`);
  }
  return complaints;
}

// ── form ──

function checkSize(file: SourceFile): readonly string[] {
  if (!isSource(file)) return [];
  const max = isTest(file) ? 700 : 500;
  const lines = file.text.trimEnd().split('\n').length;
  return lines > max ? [`has ${lines} lines; split it before ${max}`] : [];
}

function checkHeader(file: SourceFile): readonly string[] {
  if (!isSource(file) || file.path.endsWith('.test.ts') || isConfig(file)) return [];
  return /^(?:#![^\n]*\n)?\/\*\*\s/.test(file.text) ? [] : ['begins with no header comment that says what it is'];
}

const emptyWords = ['manager', 'handler', 'helper', 'util', 'impl', 'misc'];
/** Empty in the name of a file or a type; a base port or a common name (X.509) is a thing of its own. */
const emptyInTypes = [...emptyWords, 'base', 'core', 'common'];
const wordsOf = (name: string): readonly string[] =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.toLowerCase().replace(/(?<=util|helper|handler|manager)s$/, ''));

function checkNames(file: SourceFile): readonly string[] {
  if (!isSource(file)) return [];
  const complaints: string[] = [];
  for (const part of file.path.split('/')) {
    if (!/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:test|testing|config))?(?:\.ts)?$/.test(part)) {
      complaints.push(`"${part}" is not kebab-case`);
    }
  }
  const code = codeOf(file.text);
  const declared = (keywords: string): readonly string[] =>
    [...code.matchAll(new RegExp(`\\b(?:${keywords})\\s+([A-Za-z_$][\\w$]*)`, 'g'))].map(([, name = '']) => name);
  const find = (names: readonly string[], forbidden: readonly string[]): void => {
    for (const name of names) {
      const word = wordsOf(name).find((candidate) => forbidden.includes(candidate));
      if (word !== undefined) complaints.push(`"${name}" says nothing with "${word}": name the duty`);
    }
  };
  find([...file.path.split('/'), ...declared('class|interface|type')], emptyInTypes);
  find(declared('function|const|let'), emptyWords);
  return complaints;
}

/** Put together from pieces, so that this file does not break its own rule. */
const unfinished = new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);

const parameterProperty = /(?:^|,)\s*(?:public|private|protected|readonly|override)\s/;

/** The parameter list of each constructor, without what stands in brackets inside it. */
function parametersOfConstructors(code: string): readonly string[] {
  return [...code.matchAll(/\bconstructor\s*\(/g)].map((match) => {
    let list = '';
    let depth = 0;
    for (const character of code.slice(match.index + match[0].length)) {
      if ('({['.includes(character)) depth += 1;
      else if (')}]'.includes(character)) depth -= 1;
      else if (depth === 0) list += character;
      if (depth < 0) break;
    }
    return list;
  });
}

function checkSyntax(file: SourceFile): readonly string[] {
  if (!isSource(file)) return [];
  const complaints: string[] = [];
  const code = codeOf(file.text);
  if (/^\s*export\s+default\b/m.test(code) && !isConfig(file)) complaints.push('has a default export');
  if (/^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s/m.test(code)) complaints.push('has an enum: use a union');
  if (/^\s*(?:export\s+)?(?:declare\s+)?(?:namespace|module)\s+[\w.]+\s*\{/m.test(code))
    complaints.push('has a namespace');
  if (parametersOfConstructors(code).some((list) => parameterProperty.test(list))) {
    complaints.push('has a parameter property');
  }
  for (const { target } of importsOf(file.text)) {
    if (target.startsWith('.') && !/\.(?:ts|json)$/.test(target))
      complaints.push(`imports ${target} without its extension`);
  }
  if (unfinished.test(file.text)) complaints.push('leaves something to be done');
  return complaints;
}

function checkTests(file: SourceFile): readonly string[] {
  if (!file.path.endsWith('.test.ts')) return [];
  const found = /\b(?:test|it|describe)(?:\.\w+)*\.(only|skip|todo)\b/.exec(codeOf(file.text));
  return found === null ? [] : [`has a .${found[1]}: every test runs`];
}

/** As above. */
const hosts = [
  'npm' + 'js.org',
  'yarn' + 'pkg.com',
  'art' + 'ifactory',
  'nex' + 'us',
  'code' + 'artifact',
  'ver' + 'daccio',
];
const download = new RegExp(
  `https?:/${'/'}[^\\s"'<>)]*(?:${hosts.map((host) => host.replace('.', '\\.')).join('|')}|\\.(?:tgz|tar\\.gz|zip|whl|deb)\\b|/releases/download/)`,
  'i',
);

function checkAddresses(file: SourceFile): readonly string[] {
  const complaints: string[] = [];
  const found = download.exec(file.text);
  if (found !== null) complaints.push(`names a registry or a download address: ${found[0]}`);
  if (posix.basename(file.path) === 'package-lock.json' && file.text.includes('"resolved"')) {
    complaints.push('records where packages were downloaded; install with omit-lockfile-registry-resolved');
  }
  return complaints;
}

/** Rules about one file at a time. */
export const rules: readonly Rule[] = [
  { name: 'who may import whom', check: checkImports },
  { name: 'pure rooms are pure', check: checkPurity },
  { name: 'files are small', check: checkSize },
  { name: 'files say what they are', check: checkHeader },
  { name: 'names say something', check: checkNames },
  { name: 'plain syntax', check: checkSyntax },
  { name: 'every test runs', check: checkTests },
  { name: 'no addresses', check: checkAddresses },
];

// ── the package ──

interface Manifest {
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

/** Sources of the published entries: `src/execution/service.ts`. */
function entriesOf(manifest: Manifest): readonly string[] {
  const targets = Object.values(manifest.bin ?? {});
  for (const target of Object.values(manifest.exports ?? {})) {
    targets.push(...(typeof target === 'string' ? [target] : Object.values(target)));
  }
  return targets.map((target) => target.replace(/^\.\/(?:dist\/)?/, '').replace(/(?:\.d\.ts|\.js)$/, '.ts'));
}

/** The rules that need the manifest: entries exist, and nothing but an entry passes on what another file exports. */
export function checkPackage(manifest: Manifest, files: readonly SourceFile[]): readonly string[] {
  const paths = new Set(files.map(({ path }) => path));
  const entries = entriesOf(manifest);
  const complaints = entries
    .filter((entry) => !paths.has(entry))
    .map((entry) => `package.json: ${entry} does not exist`);
  for (const file of files) {
    if (!isSource(file) || entries.includes(file.path)) continue;
    const passedOn = importsOf(file.text).find(({ isReExport }) => isReExport);
    if (passedOn !== undefined)
      complaints.push(`${file.path}: passes on ${passedOn.target}; only published entries may`);
  }
  return [...new Set(complaints)];
}

/** Links between documents lead to files that exist. */
export function checkLinks(files: readonly SourceFile[]): readonly string[] {
  const paths = new Set(files.map(({ path }) => path));
  const folders = new Set(
    [...paths].flatMap((path) => path.split('/').map((_, i, parts) => parts.slice(0, i).join('/'))),
  );
  return files
    .filter(({ path }) => path.endsWith('.md'))
    .flatMap(({ path, text }) => {
      const prose = text.replace(/```[\s\S]*?```/g, '').replace(/`[^`\n]*`/g, '');
      const targets = [...prose.matchAll(/\]\(([^)\s#]+)(?:#[^)\s]*)?\)/g)].map(([, target = '']) => target);
      return targets
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => {
          const resolved = posix.normalize(posix.join(posix.dirname(path), target)).replace(/\/$/, '');
          return !paths.has(resolved) && !folders.has(resolved);
        })
        .map((target) => `${path}: links to ${target}, which does not exist`);
    });
}

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>>;
}

/**
 * A lockfile made against a registry that lacks the binary of some platform leaves that platform out; `npm ci` then
 * refuses the whole file, on every machine.
 */
export function checkLockfile(lock: Lockfile): readonly string[] {
  const locked = Object.keys(lock.packages);
  return Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !locked.some((candidate) => candidate.endsWith(`node_modules/${name}`)))
      .map((name) => `package-lock.json: ${name}, which ${path} may need, is not locked; npm ci will refuse`),
  );
}
