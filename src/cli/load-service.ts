/**
 * Load service: finds the service that a cluster runs by the name in its genesis: "kv" is built in, everything else is
 * a JavaScript module that exports a service definition as its default or as `service`.
 *
 * A path is looked for in the cluster directory first, then in the directory the program was started in.
 * The guard is there before the module is: what a module takes aside while it is loaded is guarded as well.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AnyService } from '../execution/service-definition.ts';
import { installGuard } from '../platform/determinism.ts';
import { CliError, exitCodes } from './cli-error.ts';

export interface ServicePlace {
  /** "kv", a path that begins with "." or "/", or the name of an installed package. */
  readonly specifier: string;
  readonly clusterDirectory: string;
  readonly workingDirectory: string;
}

/** Is this a path, as against the name of a built-in service or of a package? */
export function isServicePath(specifier: string): boolean {
  return specifier.startsWith('./') || specifier.startsWith('../') || isAbsolute(specifier);
}

/** The service. Throws a `CliError` that says why there is none. */
export async function loadService(place: ServicePlace): Promise<AnyService> {
  const { specifier } = place;
  installGuard();
  if (specifier === 'kv') return (await import('../../services/kv/kv.ts')).kv;
  const address = locate(place);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(address)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw loadingError(specifier, error);
  }
  const service = module.service ?? module.default;
  if (isService(service)) return service;
  const exported = Object.keys(module).join(', ') || 'nothing';
  throw new CliError(`${specifier} exports no service, but ${exported}`, {
    code: 'service-invalid',
    hint: 'Write: export const service = defineService({ … }), with defineService from "coterie/service".',
    exitCode: exitCodes.environment,
  });
}

/** What to import: a file URL where there is one, else the bare name, found beside this package. */
function locate({ specifier, clusterDirectory, workingDirectory }: ServicePlace): string {
  const roots = [resolve(clusterDirectory), resolve(workingDirectory)];
  if (isServicePath(specifier)) {
    const candidates = isAbsolute(specifier) ? [specifier] : roots.map((root) => resolve(root, specifier));
    const found = candidates.find((candidate) => existsSync(candidate));
    if (found !== undefined) return pathToFileURL(found).href;
    throw new CliError(`the service ${specifier} is not there: no ${candidates.join(' and no ')}`, {
      code: 'service-missing',
      hint: 'The path is that of a JavaScript module, relative to the cluster directory.',
      exitCode: exitCodes.environment,
    });
  }
  for (const root of roots) {
    try {
      return pathToFileURL(createRequire(join(root, 'index.js')).resolve(specifier)).href;
    } catch {
      // Not installed there, or for `import` alone, which only the plain import below can find.
    }
  }
  return specifier;
}

function loadingError(specifier: string, error: unknown): CliError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${specifier}'`)) {
    return new CliError(`there is no service "${specifier}"`, {
      code: 'service-missing',
      hint: 'It is "kv", a path that begins with ./ or /, or a package installed beside the cluster directory.',
      exitCode: exitCodes.environment,
      cause: error,
    });
  }
  const hint =
    code === 'ERR_UNKNOWN_FILE_EXTENSION' || (specifier.endsWith('.ts') && error instanceof SyntaxError)
      ? 'This version of Node.js cannot run TypeScript; compile it and name the .js file.'
      : 'The module failed while it was loaded; COTERIE_DEBUG=1 shows where.';
  return new CliError(`the service ${specifier} could not be loaded: ${message}`, {
    code: 'service-failed',
    hint,
    exitCode: exitCodes.environment,
    cause: error,
  });
}

function isService(value: unknown): value is AnyService {
  if (typeof value !== 'object' || value === null) return false;
  const { name, version, operations } = value as Readonly<Record<string, unknown>>;
  return (
    typeof name === 'string' && typeof version === 'string' && typeof operations === 'object' && operations !== null
  );
}
