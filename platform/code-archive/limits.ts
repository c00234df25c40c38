/** Lambda quotas, "Deployment package (.zip file archive) size": 250 MB unzipped, in bytes as its error message states them. */
export const MAX_UNPACKED_BYTES = 262_144_000;

/** A deployment package of Node modules has some ten thousand files; beyond this, making them takes longer than any cold start may. */
export const MAX_ENTRIES = 100_000;

/** Below the kernel's PATH_MAX of 4,096 by enough room for the folder that the package is unpacked into. */
export const MAX_NAME_BYTES = 1_024;

/** Linux: NAME_MAX. */
export const MAX_NAME_PART_BYTES = 255;
