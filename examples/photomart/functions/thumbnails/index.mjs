import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import sharp from 'sharp';

const s3 = new S3Client({ forcePathStyle: true });
const WIDTHS = [160, 480, 1024];

/** Makes three thumbnails of every photograph that an S3 event names. */
export const handler = async (event) => {
  const made = [];
  for (const { s3: { bucket, object } } of event.Records) {
    // Keys in S3 events are URL-encoded, with a plus for a space.
    const key = decodeURIComponent(object.key.replaceAll('+', ' '));
    const photo = await s3.send(new GetObjectCommand({ Bucket: bucket.name, Key: key }));
    const bytes = await photo.Body.transformToByteArray();
    made.push(...(await Promise.all(WIDTHS.map((width) => makeThumbnail(bytes, key, width)))));
  }
  console.log(`made ${made.length} thumbnails`);
  return { thumbnails: made };
};

async function makeThumbnail(bytes, key, width) {
  const { data, info } = await sharp(bytes).rotate().resize({ width, withoutEnlargement: true }).jpeg({ quality: 80, mozjpeg: true }).toBuffer({ resolveWithObject: true });
  const target = { Bucket: process.env.THUMBNAIL_BUCKET, Key: `${width}/${key}` };
  await s3.send(new PutObjectCommand({ ...target, Body: data, ContentType: 'image/jpeg' }));
  return { bucket: target.Bucket, key: target.Key, width: info.width, height: info.height, bytes: info.size };
}
