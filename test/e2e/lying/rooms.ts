/**
 * Rooms: hooks of Node's module loader that put a lying room in the place of an honest one, wherever the replica imports it.
 *
 * Nothing in production knows of that. The lying rooms themselves import the honest ones, which they lie on top of.
 */
import type { ResolveHook } from 'node:module';

const honest = /\/src\/replica\/(lives|client-port|http\/http-interface)\.js$/;

export const resolve: ResolveHook = async (specifier, context, next) => {
  const found = await next(specifier, context);
  const name = honest.exec(found.url)?.[1]?.split('/').at(-1);
  if (name === undefined || context.parentURL?.startsWith(new URL('.', import.meta.url).href) === true) return found;
  return { ...found, url: new URL(`${name}.js`, import.meta.url).href };
};
