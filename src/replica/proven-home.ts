/**
 * Proven home: opens the home of a replica; where an attacker may have written it, or its keys are lost, only in an epoch that the service has signed.
 *
 * In: a directory. Out: the home, with its keys or without. An attacker that had it may have put it into an epoch of its own making, where it would
 * be nobody to the others; and without its keys nothing else says that it is in the right one.
 */
import { join } from 'node:path';
import { systemFiles } from '../platform/files.ts';
import { epochPaths } from '../storage/epoch-files.ts';
import { type Home, type HomeEpoch, homePaths, type KeylessHome, openAnyHome } from '../storage/home.ts';
import { HomeError } from '../storage/home-error.ts';
import { isProven } from './proven-epoch.ts';
import { serviceSignatureCheck } from './service-signature.ts';

/** Rejects with a `HomeError`. `isClean`: who had it before is not trusted. */
export async function openProvenHome(
  path: string,
  { isClean }: { readonly isClean: boolean },
): Promise<Home | KeylessHome> {
  const home = await openAnyHome(path, systemFiles, isClean ? checkIsProven : undefined);
  try {
    if (home.kind === 'without-keys') checkIsProven(home);
    return home;
  } catch (error) {
    await home.close();
    throw error;
  }
}

function checkIsProven({ directory, record, serviceId, serviceKey }: HomeEpoch): void {
  const isSigned = serviceSignatureCheck(() => serviceKey);
  if (isProven(record, { serviceId, isSigned })) return;
  if (serviceKey === undefined) {
    throw new HomeError(
      'service-key-missing',
      `${join(directory, homePaths.serviceKey)} holds no service key, and without it nothing says that the replica is in the right epoch.`,
      'Write the service key of the cluster there, from its directory or from who you trust: 192 hex characters.',
    );
  }
  const path = join(directory, epochPaths.record);
  throw new HomeError(
    'epoch-unproven',
    `${path} names an epoch of which the service has signed nothing.`,
    'A process that was taken over may have written it, or a disk has damaged it. Put that of another replica in its place: with the keys of its epoch, or with an identity key, the replica goes on; else an administrator replaces it.',
  );
}
