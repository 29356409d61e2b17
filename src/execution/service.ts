/**
 * `coterie/service`: everything a service author needs (docs/operations/writing-a-service.md).
 */
export type { Outcome } from '../wire/outcome.ts';
export type { Value } from '../wire/value.ts';
export type {
  AnyService,
  Entry,
  InputOf,
  OperationNameOf,
  OperationTable,
  Output,
  OutputOf,
  QueryContext,
  QueryOperation,
  Range,
  ReadonlyState,
  ServiceDefinition,
  ServiceOperation,
  State,
  UpdateContext,
  UpdateOperation,
} from './service-definition.ts';
export { defineService, query, update } from './service-definition.ts';
export type { ServiceTest, TestCircumstances, TestOutcome } from './test-harness.ts';
export { TestCallError, testService } from './test-harness.ts';
