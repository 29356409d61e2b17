/**
 * Determinism: refuses, while an operation of a service runs, what is not the same on all replicas.
 *
 * In: nothing. Out: a guard with two calls that cost as much as setting a variable. Installing it replaces, once for
 * the whole process, the functions listed below by ones that first look whether an operation is running; outside of
 * operations they do what they always did. Promises cannot be replaced, so the engine itself tells when one is made.
 * Safety: it finds mistakes of honest authors and says what to do instead. It is no wall around hostile code, and it
 * misses: functions that were taken aside before it was installed (install it before the service is loaded), the
 * operator `**`, regular expressions with Unicode properties, the text of engine errors, and loops that never end.
 */
const reasons = {
  clock: 'which reads a clock: take context.timeMs',
  random: 'which differs on every replica: let the client send what is random as input',
  timer: 'which runs code later: an operation ends when it returns',
  promise: 'asynchronous code: an operation ends when it returns',
  outside: 'which reaches outside: an operation reads the state and its input only',
  place: 'which tells where it runs, and differs between replicas',
  float: 'whose last digits differ between engines: use + - * / Math.sqrt, or whole numbers',
  locale: 'which depends on language data that differ between engines: compare with <, format at the client',
  zone: 'which depends on the time zone or on the engine: use numbers, ISO texts that end in Z, and the UTC methods',
  memory: 'which depends on when the engine collects garbage',
} as const;

type Reason = keyof typeof reasons;
type Callable = (...args: unknown[]) => unknown;
type Owner = Record<PropertyKey, unknown>;

export interface DeterminismGuard {
  /** An operation begins. */
  enter(): void;
  /** It has ended: what it used first of all that is forbidden, in words, or undefined. */
  leave(): string | undefined;
  /** Does work that is not the operation's, such as reading a file for it. */
  outside<Out>(work: () => Out): Out;
}

/** What a refused call throws. Catching it does not help the operation: `leave` tells all the same. */
class ForbiddenUse extends Error {
  override readonly name = 'ForbiddenUse';
}

let isRunning = false;
let firstUse: string | undefined;
let installed: DeterminismGuard | undefined;

/** Installs the guard, the first time it is called, and returns it. */
export function installGuard(): DeterminismGuard {
  if (installed !== undefined) return installed;
  installed = {
    enter: () => {
      isRunning = true;
      firstUse = undefined;
    },
    leave: () => {
      isRunning = false;
      return firstUse;
    },
    outside,
  };
  guardBuiltinModules();
  guardGlobals();
  guardDate();
  guardConsole();
  process.getBuiltinModule('node:module').syncBuiltinESMExports();
  process.getBuiltinModule('node:v8').promiseHooks.onInit(() => {
    if (isRunning) firstUse ??= `a promise, ${reasons.promise}`;
  });
  return installed;
}

function outside<Out>(work: () => Out): Out {
  const wasRunning = isRunning;
  isRunning = false;
  try {
    return work();
  } finally {
    isRunning = wasRunning;
  }
}

function refuse(name: string, reason: Reason): never {
  firstUse ??= `${name}, ${reasons[reason]}`;
  throw new ForbiddenUse(`${name} was used in an operation, ${reasons[reason]}`);
}

/** The same function or class, that refuses to be called or constructed while an operation runs. */
function guarded(target: Callable, name: string, reason: Reason): Callable {
  const proxy: Callable = new Proxy(target, {
    apply(called, self, args) {
      if (isRunning) refuse(name, reason);
      return Reflect.apply(called, self, args);
    },
    construct(called, args, newTarget) {
      if (isRunning) refuse(name, reason);
      return Reflect.construct(called, args, newTarget === proxy ? called : newTarget);
    },
  });
  return proxy;
}

/** Replaces functions of an owner, and properties that are read through a getter; what is not there is left out. */
function guard(owner: object, keys: readonly PropertyKey[], prefix: string, reason: Reason): void {
  for (const key of keys) {
    const property = Object.getOwnPropertyDescriptor(owner, key);
    if (property === undefined || !property.configurable) continue;
    const name = `${prefix}${String(key)}`;
    const { get, value } = property;
    if (typeof value === 'function') {
      Object.defineProperty(owner, key, { ...property, value: guarded(value, name, reason) });
    } else if (get !== undefined) {
      Object.defineProperty(owner, key, { ...property, get: guarded(get, name, reason) });
    }
  }
}

/** Replaces a plain property by one that refuses to be read while an operation runs. */
function guardReading(owner: object, keys: readonly string[], prefix: string, reason: Reason): void {
  for (const key of keys) {
    const property = Object.getOwnPropertyDescriptor(owner, key);
    if (property === undefined || !property.configurable || !('value' in property)) continue;
    let { value } = property;
    Object.defineProperty(owner, key, {
      configurable: true,
      enumerable: property.enumerable ?? false,
      get: () => {
        if (isRunning) refuse(`${prefix}${key}`, reason);
        return value;
      },
      set: (changed) => {
        value = changed;
      },
    });
  }
}

/** Node's modules that reach outside, whole. */
const outsideModules = [
  'fs',
  'fs/promises',
  'net',
  'tls',
  'http',
  'https',
  'http2',
  'dgram',
  'dns',
  'dns/promises',
  'child_process',
  'worker_threads',
  'cluster',
  'readline',
] as const;

const cryptoRandom = [
  'randomBytes',
  'pseudoRandomBytes',
  'randomFill',
  'randomFillSync',
  'randomInt',
  'randomUUID',
  'getRandomValues',
  'generateKey',
  'generateKeySync',
  'generateKeyPair',
  'generateKeyPairSync',
  'generatePrime',
  'generatePrimeSync',
  'createECDH',
  'createDiffieHellman',
];

function guardBuiltinModules(): void {
  for (const name of outsideModules) {
    const exported = process.getBuiltinModule(name) as unknown as Owner;
    for (const nested of Object.values(exported)) {
      if (typeof nested === 'function') guard(nested, ['native'], `${name}.${nested.name}.`, 'outside');
    }
    guard(exported, Object.keys(exported), `${name}.`, 'outside');
  }
  const os = process.getBuiltinModule('node:os');
  guard(os, Object.keys(os), 'os.', 'place');
  for (const name of ['timers', 'timers/promises'] as const) {
    const timers = process.getBuiltinModule(name);
    guard(timers, Object.keys(timers), `${name}.`, 'timer');
  }
  guard(process.getBuiltinModule('node:crypto'), cryptoRandom, 'crypto.', 'random');
}

function guardGlobals(): void {
  guard(process.hrtime, ['bigint'], 'process.hrtime.', 'clock');
  guard(process, ['hrtime', 'uptime', 'cpuUsage', 'resourceUsage', 'memoryUsage'], 'process.', 'clock');
  guard(process, ['nextTick'], 'process.', 'timer');
  guard(process, ['exit', 'abort', 'kill', 'chdir', 'emitWarning', 'dlopen'], 'process.', 'outside');
  guard(process, ['cwd', 'umask'], 'process.', 'place');
  guardReading(
    process,
    ['env', 'argv', 'execArgv', 'pid', 'platform', 'arch', 'version', 'versions'],
    'process.',
    'place',
  );
  guard(
    Object.getPrototypeOf(globalThis.performance),
    ['now', 'mark', 'measure', 'timeOrigin', 'toJSON'],
    'performance.',
    'clock',
  );
  guard(Math, ['random'], 'Math.', 'random');
  guard(Math, inexact, 'Math.', 'float');
  guard(Object.getPrototypeOf(globalThis.crypto), ['getRandomValues', 'randomUUID', 'subtle'], 'crypto.', 'random');
  guard(globalThis, ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'], '', 'timer');
  guard(globalThis, ['fetch', 'WebSocket', 'EventSource', 'BroadcastChannel', 'MessageChannel'], '', 'outside');
  guard(globalThis, ['WeakRef', 'FinalizationRegistry'], '', 'memory');
  guard(Atomics, ['wait', 'waitAsync'], 'Atomics.', 'timer');
  guard(Intl, Object.getOwnPropertyNames(Intl), 'Intl.', 'locale');
  guard(String.prototype, ['localeCompare', 'toLocaleLowerCase', 'toLocaleUpperCase'], 'String.', 'locale');
  for (const type of [Object, Array, Number, BigInt]) {
    guard(type.prototype, ['toLocaleString'], `${type.name}.`, 'locale');
  }
}

/** Results of these may differ in the last digit (ECMAScript leaves them to the implementation). */
const inexact = [
  ...['sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'atan2', 'sinh', 'cosh', 'tanh', 'asinh', 'acosh', 'atanh'],
  ...['exp', 'expm1', 'log', 'log1p', 'log2', 'log10', 'pow', 'cbrt', 'hypot'],
];

/** A date of a number or of an ISO text in UTC is the same everywhere; now, and whatever asks the time zone, is not. */
function guardDate(): void {
  const { prototype } = Date;
  guard(Date, ['now'], 'Date.', 'clock');
  guard(Date, ['parse'], 'Date.', 'zone');
  const isZoned = (name: string): boolean =>
    /^(get|set)(?!.*UTC)(?!Time$)/.test(name) || /^to(String|DateString|TimeString|Locale.*)$/.test(name);
  guard(prototype, Object.getOwnPropertyNames(prototype).filter(isZoned), 'Date.', 'zone');

  const original = Date;
  const isAlikeEverywhere = (args: readonly unknown[]): boolean => {
    const [first] = args;
    if (args.length !== 1) return false;
    return typeof first === 'number' || first instanceof original || (typeof first === 'string' && isoUtc.test(first));
  };
  const replacement: DateConstructor = new Proxy(original, {
    apply(called, self, args) {
      if (isRunning) refuse('Date()', 'clock');
      return Reflect.apply(called, self, args);
    },
    construct(called, args, newTarget) {
      if (isRunning && args.length === 0) refuse('new Date()', 'clock');
      if (isRunning && !isAlikeEverywhere(args)) refuse('new Date(…)', 'zone');
      return Reflect.construct(called, args, newTarget === replacement ? called : newTarget);
    },
  });
  Object.defineProperty(globalThis, 'Date', { value: replacement, writable: true, configurable: true });
  Object.defineProperty(prototype, 'constructor', { value: replacement, writable: true, configurable: true });
}

const isoUtc = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?Z)?$/;

/** An operation may print while its author looks for a mistake; the console itself uses clocks and timers for that. */
function guardConsole(): void {
  for (const key of ['log', 'info', 'warn', 'error', 'debug', 'dir', 'trace', 'table'] as const) {
    const original = console[key] as Callable;
    console[key] = (...args: unknown[]) => void outside(() => original.apply(console, args));
  }
}
