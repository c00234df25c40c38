import type { IncomingHttpHeaders } from 'node:http';

/** How a request names an operation: by method, by what its path points at, and by query parameters that must be there. */
interface OperationRow {
  readonly name: string;
  readonly level: 'bucket' | 'object';
  readonly method: string;
  readonly query: readonly string[];
  readonly header?: string;
}

/** S3 API reference, "Actions", by the request syntax of each. */
export const OPERATIONS: readonly OperationRow[] = [
  { name: 'UploadPartCopy', level: 'object', method: 'PUT', query: ['partNumber', 'uploadId'], header: 'x-amz-copy-source' },
  { name: 'CopyObject', level: 'object', method: 'PUT', query: [], header: 'x-amz-copy-source' },
  { name: 'GetBucketAnalyticsConfiguration', level: 'bucket', method: 'GET', query: ['analytics', 'id'] },
  { name: 'GetBucketIntelligentTieringConfiguration', level: 'bucket', method: 'GET', query: ['intelligent-tiering', 'id'] },
  { name: 'GetBucketInventoryConfiguration', level: 'bucket', method: 'GET', query: ['inventory', 'id'] },
  { name: 'GetBucketMetricsConfiguration', level: 'bucket', method: 'GET', query: ['metrics', 'id'] },
  { name: 'CreateBucketMetadataConfiguration', level: 'bucket', method: 'POST', query: ['metadataConfiguration'] },
  { name: 'CreateBucketMetadataTableConfiguration', level: 'bucket', method: 'POST', query: ['metadataTable'] },
  { name: 'CreateSession', level: 'bucket', method: 'GET', query: ['session'] },
  { name: 'DeleteBucketAnalyticsConfiguration', level: 'bucket', method: 'DELETE', query: ['analytics'] },
  { name: 'DeleteBucketCors', level: 'bucket', method: 'DELETE', query: ['cors'] },
  { name: 'DeleteBucketEncryption', level: 'bucket', method: 'DELETE', query: ['encryption'] },
  { name: 'DeleteBucketIntelligentTieringConfiguration', level: 'bucket', method: 'DELETE', query: ['intelligent-tiering'] },
  { name: 'DeleteBucketInventoryConfiguration', level: 'bucket', method: 'DELETE', query: ['inventory'] },
  { name: 'DeleteBucketLifecycle', level: 'bucket', method: 'DELETE', query: ['lifecycle'] },
  { name: 'DeleteBucketMetadataConfiguration', level: 'bucket', method: 'DELETE', query: ['metadataConfiguration'] },
  { name: 'DeleteBucketMetadataTableConfiguration', level: 'bucket', method: 'DELETE', query: ['metadataTable'] },
  { name: 'DeleteBucketMetricsConfiguration', level: 'bucket', method: 'DELETE', query: ['metrics'] },
  { name: 'DeleteBucketOwnershipControls', level: 'bucket', method: 'DELETE', query: ['ownershipControls'] },
  { name: 'DeleteBucketPolicy', level: 'bucket', method: 'DELETE', query: ['policy'] },
  { name: 'DeleteBucketReplication', level: 'bucket', method: 'DELETE', query: ['replication'] },
  { name: 'DeleteBucketTagging', level: 'bucket', method: 'DELETE', query: ['tagging'] },
  { name: 'DeleteBucketWebsite', level: 'bucket', method: 'DELETE', query: ['website'] },
  { name: 'DeleteObjects', level: 'bucket', method: 'POST', query: ['delete'] },
  { name: 'DeletePublicAccessBlock', level: 'bucket', method: 'DELETE', query: ['publicAccessBlock'] },
  { name: 'GetBucketAbac', level: 'bucket', method: 'GET', query: ['abac'] },
  { name: 'GetBucketAccelerateConfiguration', level: 'bucket', method: 'GET', query: ['accelerate'] },
  { name: 'GetBucketAcl', level: 'bucket', method: 'GET', query: ['acl'] },
  { name: 'GetBucketCors', level: 'bucket', method: 'GET', query: ['cors'] },
  { name: 'GetBucketEncryption', level: 'bucket', method: 'GET', query: ['encryption'] },
  { name: 'GetBucketLifecycleConfiguration', level: 'bucket', method: 'GET', query: ['lifecycle'] },
  { name: 'GetBucketLocation', level: 'bucket', method: 'GET', query: ['location'] },
  { name: 'GetBucketLogging', level: 'bucket', method: 'GET', query: ['logging'] },
  { name: 'GetBucketMetadataConfiguration', level: 'bucket', method: 'GET', query: ['metadataConfiguration'] },
  { name: 'GetBucketMetadataTableConfiguration', level: 'bucket', method: 'GET', query: ['metadataTable'] },
  { name: 'GetBucketNotificationConfiguration', level: 'bucket', method: 'GET', query: ['notification'] },
  { name: 'GetBucketOwnershipControls', level: 'bucket', method: 'GET', query: ['ownershipControls'] },
  { name: 'GetBucketPolicy', level: 'bucket', method: 'GET', query: ['policy'] },
  { name: 'GetBucketPolicyStatus', level: 'bucket', method: 'GET', query: ['policyStatus'] },
  { name: 'GetBucketReplication', level: 'bucket', method: 'GET', query: ['replication'] },
  { name: 'GetBucketRequestPayment', level: 'bucket', method: 'GET', query: ['requestPayment'] },
  { name: 'GetBucketTagging', level: 'bucket', method: 'GET', query: ['tagging'] },
  { name: 'GetBucketVersioning', level: 'bucket', method: 'GET', query: ['versioning'] },
  { name: 'GetBucketWebsite', level: 'bucket', method: 'GET', query: ['website'] },
  { name: 'GetObjectLockConfiguration', level: 'bucket', method: 'GET', query: ['object-lock'] },
  { name: 'GetPublicAccessBlock', level: 'bucket', method: 'GET', query: ['publicAccessBlock'] },
  { name: 'ListBucketAnalyticsConfigurations', level: 'bucket', method: 'GET', query: ['analytics'] },
  { name: 'ListBucketIntelligentTieringConfigurations', level: 'bucket', method: 'GET', query: ['intelligent-tiering'] },
  { name: 'ListBucketInventoryConfigurations', level: 'bucket', method: 'GET', query: ['inventory'] },
  { name: 'ListBucketMetricsConfigurations', level: 'bucket', method: 'GET', query: ['metrics'] },
  { name: 'ListMultipartUploads', level: 'bucket', method: 'GET', query: ['uploads'] },
  { name: 'ListObjectVersions', level: 'bucket', method: 'GET', query: ['versions'] },
  { name: 'ListObjectsV2', level: 'bucket', method: 'GET', query: ['list-type'] },
  { name: 'PutBucketAbac', level: 'bucket', method: 'PUT', query: ['abac'] },
  { name: 'PutBucketAccelerateConfiguration', level: 'bucket', method: 'PUT', query: ['accelerate'] },
  { name: 'PutBucketAcl', level: 'bucket', method: 'PUT', query: ['acl'] },
  { name: 'PutBucketAnalyticsConfiguration', level: 'bucket', method: 'PUT', query: ['analytics'] },
  { name: 'PutBucketCors', level: 'bucket', method: 'PUT', query: ['cors'] },
  { name: 'PutBucketEncryption', level: 'bucket', method: 'PUT', query: ['encryption'] },
  { name: 'PutBucketIntelligentTieringConfiguration', level: 'bucket', method: 'PUT', query: ['intelligent-tiering'] },
  { name: 'PutBucketInventoryConfiguration', level: 'bucket', method: 'PUT', query: ['inventory'] },
  { name: 'PutBucketLifecycleConfiguration', level: 'bucket', method: 'PUT', query: ['lifecycle'] },
  { name: 'PutBucketLogging', level: 'bucket', method: 'PUT', query: ['logging'] },
  { name: 'PutBucketMetricsConfiguration', level: 'bucket', method: 'PUT', query: ['metrics'] },
  { name: 'PutBucketNotificationConfiguration', level: 'bucket', method: 'PUT', query: ['notification'] },
  { name: 'PutBucketOwnershipControls', level: 'bucket', method: 'PUT', query: ['ownershipControls'] },
  { name: 'PutBucketPolicy', level: 'bucket', method: 'PUT', query: ['policy'] },
  { name: 'PutBucketReplication', level: 'bucket', method: 'PUT', query: ['replication'] },
  { name: 'PutBucketRequestPayment', level: 'bucket', method: 'PUT', query: ['requestPayment'] },
  { name: 'PutBucketTagging', level: 'bucket', method: 'PUT', query: ['tagging'] },
  { name: 'PutBucketVersioning', level: 'bucket', method: 'PUT', query: ['versioning'] },
  { name: 'PutBucketWebsite', level: 'bucket', method: 'PUT', query: ['website'] },
  { name: 'PutObjectLockConfiguration', level: 'bucket', method: 'PUT', query: ['object-lock'] },
  { name: 'PutPublicAccessBlock', level: 'bucket', method: 'PUT', query: ['publicAccessBlock'] },
  { name: 'UpdateBucketMetadataInventoryTableConfiguration', level: 'bucket', method: 'PUT', query: ['metadataInventoryTable'] },
  { name: 'UpdateBucketMetadataJournalTableConfiguration', level: 'bucket', method: 'PUT', query: ['metadataJournalTable'] },
  { name: 'CreateBucket', level: 'bucket', method: 'PUT', query: [] },
  { name: 'DeleteBucket', level: 'bucket', method: 'DELETE', query: [] },
  { name: 'HeadBucket', level: 'bucket', method: 'HEAD', query: [] },
  { name: 'ListObjects', level: 'bucket', method: 'GET', query: [] },
  { name: 'PostObject', level: 'bucket', method: 'POST', query: [] },
  { name: 'SelectObjectContent', level: 'object', method: 'POST', query: ['select', 'select-type'] },
  { name: 'UploadPart', level: 'object', method: 'PUT', query: ['partNumber', 'uploadId'] },
  { name: 'AbortMultipartUpload', level: 'object', method: 'DELETE', query: ['uploadId'] },
  { name: 'CompleteMultipartUpload', level: 'object', method: 'POST', query: ['uploadId'] },
  { name: 'CreateMultipartUpload', level: 'object', method: 'POST', query: ['uploads'] },
  { name: 'DeleteObjectTagging', level: 'object', method: 'DELETE', query: ['tagging'] },
  { name: 'GetObjectAcl', level: 'object', method: 'GET', query: ['acl'] },
  { name: 'GetObjectAttributes', level: 'object', method: 'GET', query: ['attributes'] },
  { name: 'GetObjectLegalHold', level: 'object', method: 'GET', query: ['legal-hold'] },
  { name: 'GetObjectRetention', level: 'object', method: 'GET', query: ['retention'] },
  { name: 'GetObjectTagging', level: 'object', method: 'GET', query: ['tagging'] },
  { name: 'GetObjectTorrent', level: 'object', method: 'GET', query: ['torrent'] },
  { name: 'ListParts', level: 'object', method: 'GET', query: ['uploadId'] },
  { name: 'PutObjectAcl', level: 'object', method: 'PUT', query: ['acl'] },
  { name: 'PutObjectLegalHold', level: 'object', method: 'PUT', query: ['legal-hold'] },
  { name: 'PutObjectRetention', level: 'object', method: 'PUT', query: ['retention'] },
  { name: 'PutObjectTagging', level: 'object', method: 'PUT', query: ['tagging'] },
  { name: 'RenameObject', level: 'object', method: 'PUT', query: ['renameObject'] },
  { name: 'RestoreObject', level: 'object', method: 'POST', query: ['restore'] },
  { name: 'UpdateObjectEncryption', level: 'object', method: 'PUT', query: ['encryption'] },
  { name: 'DeleteObject', level: 'object', method: 'DELETE', query: [] },
  { name: 'GetObject', level: 'object', method: 'GET', query: [] },
  { name: 'HeadObject', level: 'object', method: 'HEAD', query: [] },
  { name: 'PutObject', level: 'object', method: 'PUT', query: [] },];

/** The most telling rows first: a header, then the most parameters. */
const BY_SPECIFICITY = [...OPERATIONS].sort((left, right) => specificity(right) - specificity(left));

function specificity(row: OperationRow): number {
  return row.query.length * 2 + (row.header === undefined ? 0 : 1);
}

/** The operation's name, or undefined where S3 has none for this method. */
export function operationName(method: string, level: OperationRow['level'], query: URLSearchParams, headers: IncomingHttpHeaders): string | undefined {
  return BY_SPECIFICITY.find(
    (row) => row.method === method && row.level === level && row.query.every((name) => query.has(name)) && (row.header === undefined || headers[row.header] !== undefined),
  )?.name;
}
