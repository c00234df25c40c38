import type { ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest } from '@aws-sdk/client-lambda';
import { functionArn } from '../../../platform/model/function-reference.ts';
import type { ApiContext, Handler } from '../context.ts';
import { functionNotFound, invalidParameter, LambdaApiError } from '../errors.ts';
import { targetOf } from '../target.ts';
import { withoutTags, withTags, type Tags } from './tag-rules.ts';

export const tagResource: Handler<TagResourceRequest, object> = async (request, context) => {
  const name = taggedFunction(request.Resource, 'TagResource', context);
  const added = request.Tags ?? {};
  // The service's words for a request without tags.
  if (Object.keys(added).length === 0) throw invalidParameter('An error occurred and the request cannot be processed.');
  await changeTags(name, context, (tags) => withTags(tags, added));
  return {};
};

export const untagResource: Handler<UntagResourceRequest, object> = async (request, context) => {
  const name = taggedFunction(request.Resource, 'UntagResource', context);
  await changeTags(name, context, (tags) => withoutTags(tags, request.TagKeys ?? []));
  return {};
};

export const listTags: Handler<ListTagsRequest, ListTagsResponse> = async (request, context) => {
  const name = taggedFunction(request.Resource, 'ListTags', context);
  const record = await context.catalogue.get(context.settings.account, name);
  if (record === undefined) throw functionNotFound(functionArn(context.settings, name));
  return { Tags: { ...record.tags } };
};

function taggedFunction(resource: string | undefined, operation: string, { settings }: ApiContext): string {
  // The model's pattern allows functions and three kinds of resource that do not exist here.
  if (resource?.split(':')[5] !== 'function') throw new LambdaApiError('ResourceNotFoundException', `Resource not found: ${resource ?? ''}`);
  const { name, qualifier } = targetOf(resource, undefined, operation, settings);
  if (qualifier !== undefined) throw invalidParameter('Tags on function aliases and versions are not supported. Please specify a function ARN.');
  return name;
}

/** Tags are no part of a version: its revision stays, and its environments stay warm. */
async function changeTags(name: string, { catalogue, settings }: ApiContext, change: (tags: Tags) => Tags): Promise<void> {
  const stored = await catalogue.update(settings.account, name, (record) => ({ ...record, tags: change(record.tags) }));
  if (stored === undefined) throw functionNotFound(functionArn(settings, name));
}
