import { randomBytes } from 'node:crypto';

/** `2024/05/03/[$LATEST]8f0c…`: one stream per environment (Lambda guide, "Sending Lambda function logs to CloudWatch Logs"). */
export function newLogStream(version: string, nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 10).replaceAll('-', '/')}/[${version}]${randomBytes(16).toString('hex')}`;
}
