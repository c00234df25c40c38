import { isUtf8 } from 'node:buffer';
import { functionArn, type Home, type Resolution } from '../../platform/model/function-reference.ts';
import type { FunctionVersion } from '../../platform/model/function.ts';
import type { Rejection } from '../../platform/protocol/reply.ts';
import {
  functionNotFound as notFound,
  internalError,
  LambdaApiError,
  notJson,
  otherAccount,
  otherRegion,
  qualifierMismatch,
  throttled,
  validationErrors,
} from '../lambda-api/errors.ts';
import { enumViolation, stringViolations } from '../lambda-api/rest-json/violations.ts';
import type { RateThrottle } from '../admission/invocation-limiter.ts';
import type { ParameterFault } from './parameters.ts';

/** Everything that can be wrong with an Invoke, as rows of the error catalogue. */

export function parameterFault(fault: ParameterFault): LambdaApiError {
  switch (fault.kind) {
    case 'enum':
      return validationErrors([enumViolation(fault.member, fault.value, fault.allowed)]);
    case 'clientContext':
      return new LambdaApiError('InvalidRequestContentException', fault.message);
  }
}

/** An error if the payload is not JSON. Lambda checks synchronous and asynchronous payloads alike before it accepts them. */
export function jsonFault(payload: Buffer): LambdaApiError | undefined {
  if (!isUtf8(payload)) return notJson('Invalid UTF-8');
  try {
    JSON.parse(payload.toString('utf8'));
    return undefined;
  } catch (error) {
    return notJson((error as Error).message);
  }
}

export function referenceFault(resolution: Exclude<Resolution, { kind: 'here' }>, reference: string, home: Home): LambdaApiError {
  switch (resolution.kind) {
    case 'malformed':
      return validationErrors(stringViolations('NamespacedFunctionName', 'functionName', reference));
    case 'qualifierMismatch':
      return qualifierMismatch();
    case 'otherAccount':
      return otherAccount(home.account, 'Invoke', functionArn({ ...home, account: resolution.account }, resolution.name));
    case 'otherRegion':
      return otherRegion(resolution.region, home.region);
  }
}

export function qualifierFault(qualifier: string): LambdaApiError | undefined {
  const violations = stringViolations('NumericLatestPublishedOrAliasQualifier', 'qualifier', qualifier);
  return violations.length === 0 ? undefined : validationErrors(violations);
}

export function functionNotFound(home: Home, name: string, qualifier: string | undefined): LambdaApiError {
  return notFound(functionArn(home, name, qualifier));
}

/** Lambda guide, "Lambda function states": only an Active function runs. */
export function notActive(version: FunctionVersion): LambdaApiError {
  return new LambdaApiError(
    'ResourceConflictException',
    `The operation cannot be performed at this time. The function is currently in the following state: ${version.state}${version.stateReason === undefined ? '' : ` (${version.stateReason})`}`,
  );
}

export function tooSlow(): LambdaApiError {
  return new LambdaApiError('RequestTimeoutException', 'The body of the request did not arrive in time. Send it faster or make it smaller.');
}

export function logUnavailable(): LambdaApiError {
  return new LambdaApiError('ServiceUnavailableException', 'The invocation could not be accepted because the invocation log cannot take it now. Try again later.');
}

export function rateExceeded({ reason, retryAfterSec }: RateThrottle): LambdaApiError {
  return throttled(reason, retryAfterSec);
}

export function tooManyWaiting(): LambdaApiError {
  return throttled('CallerRateLimitExceeded');
}

export function rejected(rejection: Rejection, home: Home, functionName: string): LambdaApiError {
  switch (rejection.code) {
    case 'throttled':
      return throttled(rejection.reason);
    case 'functionGone':
      return notFound(functionArn(home, functionName));
    case 'expired':
      return new LambdaApiError('ServiceException', 'The invocation could not be started in time because no execution environment became free. Try again later.');
    case 'workerLost':
      return new LambdaApiError('ServiceException', `${rejection.message ?? 'The execution environment was lost while it ran the invocation.'} It may have run; try again if it can run twice.`);
    case 'cannotStart':
      return new LambdaApiError('ServiceException', `No execution environment could be started: ${rejection.message}`);
    case 'shuttingDown':
      return new LambdaApiError('ServiceUnavailableException', 'The gateway is stopping. Try again.');
  }
}

export { internalError };
