/** CloudWatch Logs API reference, "Common error types" and the errors of each action: all of status 400 but what is Sluice's own to answer. */
const STATUS = {
  InvalidParameterException: 400,
  ResourceNotFoundException: 400,
  SerializationException: 400,
  UnknownOperationException: 400,
  NotImplementedException: 501,
  InternalFailure: 500,
} as const;

export class LogsApiError extends Error {
  override readonly name = 'LogsApiError';
  readonly type: keyof typeof STATUS;
  readonly status: number;

  constructor(type: keyof typeof STATUS, message: string) {
    super(message);
    this.type = type;
    this.status = STATUS[type];
  }
}

export function invalidParameter(message: string): LogsApiError {
  return new LogsApiError('InvalidParameterException', message);
}
