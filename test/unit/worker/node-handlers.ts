/** What Node.js handlers of the fixtures do, whoever runs them: Sluice's runtime client, or AWS's as the reference. */
export interface HandlerCase {
  readonly handler: string;
  readonly event?: unknown;
  readonly result?: unknown;
  /** Members that the error object must have. */
  readonly error?: { readonly errorType: string; readonly errorMessage: string | RegExp };
  /** Why AWS's current client, which serves nodejs22.x and later, differs. */
  readonly notInReference?: string;
}

const CALLBACKS = 'aws-lambda-ric 4 has no callbacks and no context methods; nodejs20.x and nodejs22.x do';

export const HANDLER_CASES: readonly HandlerCase[] = [
  { handler: 'index.echo', event: { a: [1, 'ü', null] }, result: { a: [1, 'ü', null] } },
  { handler: 'index.echo', event: 'text', result: 'text' },
  { handler: 'index.echo', event: null, result: null },
  { handler: 'index.undefinedResult', result: null },
  { handler: 'index.callback', event: 1, result: { from: 'callback', event: 1 }, notInReference: CALLBACKS },
  { handler: 'index.callbackAtOnce', result: 'at once', notInReference: CALLBACKS },
  { handler: 'index.callbackError', error: { errorType: 'TypeError', errorMessage: 'bad argument' }, notInReference: CALLBACKS },
  { handler: 'index.callbackText', error: { errorType: 'string', errorMessage: 'just words' }, notInReference: CALLBACKS },
  { handler: 'index.done', result: 'done', notInReference: CALLBACKS },
  { handler: 'index.succeed', result: 'succeeded', notInReference: CALLBACKS },
  { handler: 'index.fail', error: { errorType: 'RangeError', errorMessage: 'failed' }, notInReference: CALLBACKS },
  { handler: 'index.nothing', result: null },
  { handler: 'index.never', result: null, notInReference: 'aws-lambda-ric 4 ends its process when the event loop is empty' },
  { handler: 'index.throws', error: { errorType: 'TypeError', errorMessage: 'boom' } },
  { handler: 'index.throwsSync', error: { errorType: 'TypeError', errorMessage: 'boom at once' } },
  { handler: 'index.throwsText', error: { errorType: 'string', errorMessage: 'text' } },
  { handler: 'index.throwsCustom', error: { errorType: 'CustomError', errorMessage: 'custom' } },
  { handler: 'index.circular', error: { errorType: 'Runtime.JSONStringifyError', errorMessage: 'Unable to stringify response body' } },
  { handler: 'index.bigint', error: { errorType: 'Runtime.JSONStringifyError', errorMessage: 'Unable to stringify response body' } },
  { handler: 'index.rejection', error: { errorType: 'Runtime.UnhandledPromiseRejection', errorMessage: 'Error: nobody listens' }, notInReference: 'aws-lambda-ric 4 leaves it to Node, which ends the process' },
  { handler: 'index.uncaught', error: { errorType: 'Error', errorMessage: 'out of band' }, notInReference: 'aws-lambda-ric 4 leaves it to Node, which ends the process' },
  { handler: 'index.nested.deep.handler', result: 'nested' },
  { handler: 'module.handler', result: 'esm' },
  { handler: 'module.viaDefault', result: 'default' },
  { handler: 'common.handler', result: 'cjs' },
  { handler: 'dir/inner.handler', result: 'in a folder' },
  { handler: 'esm/typed.handler', result: 'typed module' },
];

export interface InitCase {
  readonly handler: string;
  readonly errorType: string;
  readonly errorMessage: RegExp;
}

export const INIT_CASES: readonly InitCase[] = [
  { handler: 'nosuchfile.handler', errorType: 'Runtime.ImportModuleError', errorMessage: /^Error: Cannot find module 'nosuchfile'\n/ },
  { handler: 'index.nosuchexport', errorType: 'Runtime.HandlerNotFound', errorMessage: /^index\.nosuchexport is undefined or not exported$/ },
  { handler: 'index.notAFunction', errorType: 'Runtime.HandlerNotFound', errorMessage: /^index\.notAFunction is not a function$/ },
  { handler: 'nodots', errorType: 'Runtime.MalformedHandlerName', errorMessage: /^Bad handler$/ },
  { handler: '../index.handler', errorType: 'Runtime.MalformedHandlerName', errorMessage: /is not a valid handler name/ },
  { handler: 'syntax.handler', errorType: 'Runtime.UserCodeSyntaxError', errorMessage: /^SyntaxError: Unexpected token/ },
  { handler: 'missing.handler', errorType: 'Runtime.ImportModuleError', errorMessage: /^Error: Cannot find module 'no-such-package'\n/ },
  { handler: 'missing-esm.handler', errorType: 'Error', errorMessage: /^Cannot find package 'no-such-package'/ },
  { handler: 'broken.handler', errorType: 'Error', errorMessage: /^cannot initialise$/ },
];
