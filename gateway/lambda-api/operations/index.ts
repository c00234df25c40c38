import type { Handler } from '../context.ts';
import { createAlias, deleteAlias, getAlias, listAliases, updateAlias } from './aliases.ts';
import { deleteFunctionConcurrency, getAccountSettings, getFunctionConcurrency, putFunctionConcurrency } from './concurrency.ts';
import { createFunction } from './create-function.ts';
import { deleteFunction } from './delete-function.ts';
import { deleteFunctionEventInvokeConfig, getFunctionEventInvokeConfig, listFunctionEventInvokeConfigs, putFunctionEventInvokeConfig, updateFunctionEventInvokeConfig } from './event-invoke-config.ts';
import { getFunction, getFunctionConfiguration, listFunctions, listVersionsByFunction } from './read-function.ts';
import { listTags, tagResource, untagResource } from './tags.ts';
import { addPermission, getPolicy, removePermission } from './permissions.ts';
import { publishVersion, updateFunctionCode, updateFunctionConfiguration } from './update-function.ts';

const HANDLERS = {
  AddPermission: addPermission,
  CreateAlias: createAlias,
  CreateFunction: createFunction,
  DeleteAlias: deleteAlias,
  DeleteFunction: deleteFunction,
  DeleteFunctionConcurrency: deleteFunctionConcurrency,
  DeleteFunctionEventInvokeConfig: deleteFunctionEventInvokeConfig,
  GetAccountSettings: getAccountSettings,
  GetAlias: getAlias,
  GetFunction: getFunction,
  GetFunctionConcurrency: getFunctionConcurrency,
  GetFunctionConfiguration: getFunctionConfiguration,
  GetFunctionEventInvokeConfig: getFunctionEventInvokeConfig,
  GetPolicy: getPolicy,
  ListAliases: listAliases,
  ListFunctionEventInvokeConfigs: listFunctionEventInvokeConfigs,
  ListFunctions: listFunctions,
  ListTags: listTags,
  ListVersionsByFunction: listVersionsByFunction,
  PublishVersion: publishVersion,
  PutFunctionConcurrency: putFunctionConcurrency,
  PutFunctionEventInvokeConfig: putFunctionEventInvokeConfig,
  RemovePermission: removePermission,
  TagResource: tagResource,
  UntagResource: untagResource,
  UpdateAlias: updateAlias,
  UpdateFunctionCode: updateFunctionCode,
  UpdateFunctionConfiguration: updateFunctionConfiguration,
  UpdateFunctionEventInvokeConfig: updateFunctionEventInvokeConfig,
};

/**
 * Every operation that is answered here; invocations are served by gateway/invoke, all others answer 501. The input of each has been parsed and
 * validated against the model of the operation of its name, which is what makes the type of its input true.
 */
export const OPERATION_HANDLERS: ReadonlyMap<string, Handler<unknown, object>> = new Map(Object.entries(HANDLERS as unknown as Record<string, Handler<unknown, object>>));
