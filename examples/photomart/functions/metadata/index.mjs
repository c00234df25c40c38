import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import exifr from 'exifr';
import { readFrame } from './frame.mjs';

const s3 = new S3Client({ forcePathStyle: true });

/** What the file itself says of the photograph: its frame, and its EXIF where it has any. */
export const handler = async (event) => {
  const [{ s3: { bucket, object } }] = event.Records;
  const key = decodeURIComponent(object.key.replaceAll('+', ' '));
  const photo = await s3.send(new GetObjectCommand({ Bucket: bucket.name, Key: key }));
  const bytes = Buffer.from(await photo.Body.transformToByteArray());
  const exif = (await exifr.parse(bytes, { tiff: true, exif: true, gps: true, iptc: true, translateValues: true })) ?? {};
  return {
    bytes: bytes.length,
    contentType: photo.ContentType,
    ...readFrame(bytes),
    title: exif.ImageDescription,
    author: exif.Artist,
    licence: exif.Copyright,
    camera: [exif.Make, exif.Model].filter(Boolean).join(' ') || undefined,
    takenAt: exif.DateTimeOriginal,
    orientation: exif.Orientation,
    density: exif.XResolution === undefined ? undefined : { x: exif.XResolution, y: exif.YResolution, unit: exif.ResolutionUnit },
    exifTags: Object.keys(exif).length,
  };
};
