import type { Readable } from 'node:stream';
import type { ObjectLocation, ObjectStore, PutOptions } from '../../platform/object-store/object-store.ts';

type Operation = 'put' | 'get' | 'head' | 'delete' | 'list';

/** One call on its way to the store. */
export interface Call {
  readonly operation: Operation;
  /** Of a list: the prefix. */
  readonly key: string;
  /** Of a put. */
  readonly body?: Buffer | Readable;
  readonly options?: PutOptions;
}

/** An object store that a test can get between: calls are counted and go through {@link InterceptedStore.intercept}. */
export interface InterceptedStore extends ObjectStore {
  /** What happens in the place of a call; `proceed` makes it. */
  intercept: (call: Call, proceed: () => Promise<unknown>) => Promise<unknown>;
  readonly calls: Call[];
}

export function interceptedStore(store: ObjectStore): InterceptedStore {
  const calls: Call[] = [];
  const through = async <Result>(call: Call, proceed: () => Promise<Result>): Promise<Result> => {
    calls.push(call);
    return (await intercepted.intercept(call, proceed)) as Result;
  };
  const of = ({ key }: ObjectLocation, operation: Operation): Call => ({ operation, key });
  const intercepted: InterceptedStore = {
    calls,
    intercept: (_, proceed) => proceed(),
    put: (location, body, options) => through({ ...of(location, 'put'), body, ...(options === undefined ? {} : { options }) }, () => store.put(location, body, options)),
    get: (location, range) => through(of(location, 'get'), () => store.get(location, range)),
    head: (location) => through(of(location, 'head'), () => store.head(location)),
    delete: (location, options) => through(of(location, 'delete'), () => store.delete(location, options)),
    list: (query) => through({ operation: 'list', key: query.prefix ?? '' }, () => store.list(query)),
    createBucket: (bucket) => store.createBucket(bucket),
    listBuckets: () => store.listBuckets(),
    presignGet: (location, expiresInSec, reader) => store.presignGet(location, expiresInSec, reader),
  };
  return intercepted;
}
