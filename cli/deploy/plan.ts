/** One function as it shall be, whatever it was read from: a folder with flags, or a SAM template. */
export type FunctionPlan = FunctionSettings & (ZipPackage | ContainerImage);

export interface FunctionSettings {
  readonly name: string;
  /** Undefined: the account's default role for a new function, no change for one that exists; likewise for all that follow. */
  readonly role: string | undefined;
  readonly description: string | undefined;
  readonly memoryMiB: number | undefined;
  readonly timeoutSec: number | undefined;
  readonly ephemeralStorageMiB: number | undefined;
  readonly environment: Readonly<Record<string, string>> | undefined;
  readonly tracingMode: 'Active' | 'PassThrough' | undefined;
  readonly architecture: 'x86_64' | 'arm64' | undefined;
  readonly vpc: VpcPlan | undefined;
  /** Added to the function's tags; others stay. */
  readonly tags: Readonly<Record<string, string>>;
}

export interface ZipPackage {
  readonly packageType: 'Zip';
  readonly runtime: string;
  readonly handler: string;
  readonly code: CodeSource;
}

export interface ContainerImage {
  readonly packageType: 'Image';
  readonly imageUri: string;
  readonly imageConfig: ImageConfigPlan;
}

/** What takes the place of the image's own; undefined: the image's own, also where the function has something else so far. */
export interface ImageConfigPlan {
  readonly entryPoint: readonly string[] | undefined;
  readonly command: readonly string[] | undefined;
  readonly workingDirectory: string | undefined;
}

/** Both lists are empty where the function is to be in no VPC. */
export interface VpcPlan {
  readonly subnetIds: readonly string[];
  readonly securityGroupIds: readonly string[];
  readonly ipv6AllowedForDualStack: boolean;
}

export type CodeSource =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'zip'; readonly path: string }
  | { readonly kind: 'inline'; readonly fileName: string; readonly text: string }
  | { readonly kind: 'object'; readonly bucket: string; readonly key: string };

/** What came of one plan. */
export interface Deployed {
  readonly name: string;
  readonly arn: string;
  readonly change: 'created' | 'updated' | 'unchanged';
  readonly packageType: FunctionPlan['packageType'];
  /** Of a container image alone. */
  readonly imageUri: string | undefined;
  /** Empty for a container image, likewise the handler. */
  readonly runtime: string;
  readonly handler: string;
  readonly memoryMiB: number;
  readonly timeoutSec: number;
  readonly codeSha256: string;
  readonly codeSizeBytes: number;
  readonly state: string;
}
