import { delimiter } from 'node:path';
import { functionVariables, type FunctionVariablesSource } from '../../platform/model/function-variables.ts';
import type { RuntimeInstallation } from '../runtimes/runtime.ts';

export interface ProcessVariablesSource extends FunctionVariablesSource {
  readonly installation: RuntimeInstallation;
  readonly taskRoot: string;
}

/** Only what a process needs before it knows its function: nothing of the platform's own environment. */
export function bareVariables(installation: RuntimeInstallation): Record<string, string> {
  return {
    PATH: [installation.interpreterDir, '/usr/local/bin', '/usr/bin', '/bin', '/opt/bin'].join(delimiter),
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
  };
}

/** Everything that a function finds in its environment where the platform brings its runtime (Lambda guide, "Defined runtime environment variables"). */
export function processVariables(source: ProcessVariablesSource): Record<string, string> {
  const { installation, taskRoot, spec: { configuration } } = source;
  return {
    ...bareVariables(installation),
    LD_LIBRARY_PATH: `${taskRoot}:${taskRoot}/lib:/opt/lib`,
    ...functionVariables(source),
    AWS_EXECUTION_ENV: `AWS_Lambda_${configuration.runtime}`,
    _HANDLER: configuration.handler,
    LAMBDA_TASK_ROOT: taskRoot,
    LAMBDA_RUNTIME_DIR: installation.runtimeDir,
  };
}
