import type { VpcConfig, VpcConfigResponse } from '@aws-sdk/client-lambda';
import type { VpcSettings } from '../../platform/model/function.ts';
import { invalidParameter } from './errors.ts';

/** The one network that there is, in the form of a VPC's id. */
export const VPC_ID = 'vpc-00000000000000001';

/** A function's settings with those of a request laid over them: the lists go together, and the flag stays where it is not given. Throws `LambdaApiError`, in the service's words. */
export function vpcSettings(base: VpcSettings | undefined, { SubnetIds, SecurityGroupIds, Ipv6AllowedForDualStack }: VpcConfig): VpcSettings {
  const stays = SubnetIds === undefined && SecurityGroupIds === undefined;
  const subnetIds = stays ? (base?.subnetIds ?? []) : (SubnetIds ?? []);
  const securityGroupIds = stays ? (base?.securityGroupIds ?? []) : (SecurityGroupIds ?? []);
  const ipv6AllowedForDualStack = Ipv6AllowedForDualStack ?? base?.ipv6AllowedForDualStack ?? false;
  if ((subnetIds.length === 0) !== (securityGroupIds.length === 0)) throw invalidParameter('SubnetIds and SecurityIds must coexist or be both empty list.');
  if (ipv6AllowedForDualStack && subnetIds.length === 0) {
    throw invalidParameter('Ipv6AllowedForDualStack cannot be true without subnet or security groups. Please remove Ipv6AllowedForDualStack value from your request and try again.');
  }
  return { subnetIds, securityGroupIds, ipv6AllowedForDualStack };
}

/** A function that was taken out of its VPC shows empty members, as the service's does. */
export function shownVpc({ subnetIds, securityGroupIds, ipv6AllowedForDualStack }: VpcSettings): VpcConfigResponse {
  return { SubnetIds: [...subnetIds], SecurityGroupIds: [...securityGroupIds], VpcId: subnetIds.length === 0 ? '' : VPC_ID, Ipv6AllowedForDualStack: ipv6AllowedForDualStack };
}
