import type { AddPermissionRequest } from '@aws-sdk/client-lambda';
import type { PolicyStatement } from '../../platform/model/function.ts';
import { invalidParameter } from './errors.ts';

/** Lambda quotas: "Function resource-based policy: 20 KB". */
export const MAX_POLICY_BYTES = 20_480;

/**
 * The statement that AddPermission writes, in the shape that the service gives it (API reference of AddPermission, and Lambda guide, "Viewing resource-based IAM policies"). Throws for a principal that
 * is none, and for conditions that the action does not have.
 */
export function statementOf(request: AddPermissionRequest, resourceArn: string): PolicyStatement {
  if (request.FunctionUrlAuthType !== undefined && request.Action !== 'lambda:InvokeFunctionUrl') throw invalidParameter('FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action');
  const conditions: [operator: string, key: string, value: string | undefined][] = [
    ['StringEquals', 'AWS:SourceAccount', request.SourceAccount],
    ['StringEquals', 'aws:PrincipalOrgID', request.PrincipalOrgID],
    ['StringEquals', 'lambda:FunctionUrlAuthType', request.FunctionUrlAuthType],
    ['StringEquals', 'lambda:EventSourceToken', request.EventSourceToken],
    ['Bool', 'lambda:InvokedViaFunctionUrl', request.InvokedViaFunctionUrl === undefined ? undefined : String(request.InvokedViaFunctionUrl)],
    ['ArnLike', 'AWS:SourceArn', request.SourceArn],
  ];
  const condition: Record<string, Record<string, string>> = {};
  for (const [operator, key, value] of conditions) if (value !== undefined) condition[operator] = { ...condition[operator], [key]: value };
  return {
    Sid: request.StatementId ?? '',
    Effect: 'Allow',
    Principal: principalOf(request.Principal ?? ''),
    Action: request.Action ?? '',
    Resource: resourceArn,
    ...(Object.keys(condition).length > 0 && { Condition: condition }),
  };
}

function principalOf(principal: string): PolicyStatement['Principal'] {
  if (principal === '*') return '*';
  if (/^\d{12}$/.test(principal)) return { AWS: `arn:aws:iam::${principal}:root` };
  if (/^arn:[^:]*:(iam|sts)::\d{12}:/.test(principal)) return { AWS: principal };
  if (/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(principal)) return { Service: principal };
  throw invalidParameter('The provided principal was invalid. Please check the principal and try again.');
}

/** The policy document as GetPolicy gives it. */
export function policyDocument(statements: readonly PolicyStatement[]): string {
  return JSON.stringify({ Version: '2012-10-17', Id: 'default', Statement: statements });
}
