import assert from 'node:assert/strict';

interface SdkError {
  readonly name: string;
  readonly message: string;
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** For `assert.rejects`: an AWS SDK error of this name, status and message, and of the caller's fault. */
export function isError(name: string, status: number, message?: string | RegExp) {
  return (error: unknown): true => {
    const { name: actualName, message: actualMessage, $metadata, $fault } = error as SdkError;
    const expected = { name, status, fault: 'client' };
    assert.deepEqual({ name: actualName, status: $metadata?.httpStatusCode, fault: $fault }, expected, `${actualName}: ${actualMessage}`);
    if (typeof message === 'string') assert.equal(actualMessage, message);
    else if (message !== undefined) assert.match(actualMessage, message);
    return true;
  };
}
