import { createHash } from 'node:crypto';
import type { FunctionConfiguration } from '@aws-sdk/client-lambda';
import { shownRevision, type FunctionRecord, type FunctionVersion } from '../../platform/model/function.ts';
import { functionArn, type Home } from '../../platform/model/function-reference.ts';
import { imageConfig } from './container-image.ts';
import { shownVpc } from './vpc.ts';

/** Which ARN a version is shown under: that of the function, or with a version or alias. */
export interface Shown {
  readonly qualifier: string | undefined;
  /** Lists leave out what may still change: states and the runtime's version. */
  readonly inList?: boolean;
}

/** A version as the API shows it. */
export function functionConfiguration(record: FunctionRecord, version: FunctionVersion, home: Home, shown: Shown): FunctionConfiguration {
  const { configuration: settings } = version;
  const { image } = settings;
  const config = image === undefined ? undefined : imageConfig(image);
  return {
    FunctionName: record.name,
    FunctionArn: functionArn(home, record.name, shown.qualifier),
    ...(image === undefined && { Runtime: settings.runtime as NonNullable<FunctionConfiguration['Runtime']> }),
    Role: settings.role,
    ...(image === undefined && { Handler: settings.handler }),
    CodeSize: settings.code.sizeBytes,
    Description: settings.description,
    Timeout: settings.timeoutSec,
    MemorySize: settings.memoryMiB,
    LastModified: lastModified(version.lastModifiedMs),
    CodeSha256: settings.code.sha256,
    Version: version.version,
    ...(settings.vpc !== undefined && { VpcConfig: shownVpc(settings.vpc) }),
    ...(settings.environment !== undefined && { Environment: { Variables: { ...settings.environment } } }),
    TracingConfig: { Mode: settings.tracingMode },
    RevisionId: shownRevision(record, version),
    PackageType: image === undefined ? 'Zip' : 'Image',
    ...(config !== undefined && { ImageConfigResponse: { ImageConfig: config } }),
    Architectures: [settings.architecture],
    EphemeralStorage: { Size: settings.ephemeralStorageMiB },
    SnapStart: { ApplyOn: 'None', OptimizationStatus: 'Off' },
    LoggingConfig: { LogFormat: 'Text', LogGroup: settings.logGroup },
    ...(shown.inList !== true && { ...stateMembers(version), ...(image === undefined && { RuntimeVersionConfig: { RuntimeVersionArn: runtimeVersionArn(home, settings.runtime) } }) }),
  };
}

type StateMembers = Pick<FunctionConfiguration, 'State' | 'StateReason' | 'StateReasonCode' | 'LastUpdateStatus' | 'LastUpdateStatusReason' | 'LastUpdateStatusReasonCode'>;

function stateMembers(version: FunctionVersion): StateMembers {
  const state = {
    State: version.state,
    StateReason: version.stateReason,
    StateReasonCode: version.stateReasonCode as StateMembers['StateReasonCode'],
  };
  // A function that is still being created has no update yet.
  if (version.state === 'Pending') return state;
  return {
    ...state,
    LastUpdateStatus: version.lastUpdateStatus,
    LastUpdateStatusReason: version.lastUpdateStatusReason,
    LastUpdateStatusReasonCode: version.lastUpdateStatusReasonCode as StateMembers['LastUpdateStatusReasonCode'],
  };
}

/** `2024-01-31T12:34:56.789+0000` (FunctionConfiguration, LastModified: ISO-8601 with a numeric offset). */
function lastModified(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '+0000');
}

/** Tools only compare it: the runtime's name, hashed to the form of the service's own. */
function runtimeVersionArn(home: Home, runtime: string): string {
  return `arn:aws:lambda:${home.region}::runtime:${createHash('sha256').update(runtime).digest('hex')}`;
}
