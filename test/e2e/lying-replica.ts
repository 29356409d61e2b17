/**
 * Lying replica: a replica that speaks the protocol and lies, as a process, on the home and with the keys of a real one.
 *
 * In: the options of `coterie replica`; `LIE_SEED` in the environment, which its lies are drawn from. It is that command in everything, epochs,
 * keys and recoveries too, but for the three rooms in which a replica speaks to the world: those have others in their place
 * (`lying/rooms.ts`), so that it is deep in the protocol and true to the code of now when it lies. To other replicas: `lying/lives.ts`; to
 * clients: `lying/client-port.ts`; to whoever comes by HTTP, as those do who follow: `lying/http-interface.ts`.
 */
import { register } from 'node:module';

register(new URL('lying/rooms.js', import.meta.url));
process.argv.splice(2, 0, 'replica');
await import('../../src/cli/main.ts');
