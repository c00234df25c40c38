import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import sharp from 'sharp';
import { judge, measure } from './pixels.mjs';

const s3 = new S3Client({ forcePathStyle: true });
/** Shares of pixels do not change with scale, and a small picture is measured in milliseconds. */
const WIDTH = 256;

/** A first verdict on a photograph, computed from its pixels; see pixels.mjs for what it can and cannot tell. */
export const handler = async (event) => {
  const [{ s3: { bucket, object } }] = event.Records;
  const key = decodeURIComponent(object.key.replaceAll('+', ' '));
  const photo = await s3.send(new GetObjectCommand({ Bucket: bucket.name, Key: key }));
  const { data } = await sharp(await photo.Body.transformToByteArray()).resize({ width: WIDTH }).toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const measured = measure(data);
  return { ...judge(measured), measured };
};
