/**
 * State writer: what the test of killed processes kills: it writes all entries again and again, and says how far it is.
 *
 * In: the home in the first parameter, the number of the first write in the second. Out: the number of each finished write.
 */
import { writeSync } from 'node:fs';
import { systemFiles } from '../../platform/files.ts';
import { openStateDirectory } from '../state-directory.ts';

const [home = '', first = ''] = process.argv.slice(2);
const { engine, wiped } = await openStateDirectory(systemFiles, home, 'state');
if (wiped !== undefined) throw new Error(wiped);
for (let number = Number(first); ; number++) {
  const value = Buffer.from(String(number));
  await engine.write(
    Array.from({ length: 1_000 }, (_, i) => ({
      key: Buffer.from(`key ${i}`),
      // Some come and go, so that pages are freed and used again.
      value: i % 10 === number % 10 ? undefined : Buffer.concat([value, Buffer.alloc(i % 100 === 0 ? 9_000 : 20)]),
    })),
  );
  writeSync(1, `${number}\n`);
}
