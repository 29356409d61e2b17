/**
 * Thorough: whether tests run that take long and whose like others run in short. `npm run test:thorough` runs them all, and so should whoever
 * changes what they show; `.ci/run` leaves them out, because it has a quarter of an hour on two cores.
 */

export const isThorough = process.env.COTERIE_TESTS === 'thorough';
