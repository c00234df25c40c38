/** What is wrong with a deployment package, for those who count or test; the message is for the function's owner. */
export type CodeArchiveFault =
  /** Not a zip file, cut short, or damaged. */
  | 'unreadable'
  /** No file in it. */
  | 'empty'
  /** Unpacks to more than 250 MiB, or claims to. */
  | 'tooLarge'
  | 'tooManyEntries'
  /** An entry or a symbolic link leads out of the folder that the package is unpacked into. */
  | 'escape'
  /** Two entries of one name, or one that is both a file and a folder. */
  | 'duplicate'
  | 'encrypted'
  /** Compressed by a method other than deflate, or of a kind other than file, folder and symbolic link. */
  | 'unsupported';

/** Lambda's words for a package that it cannot unpack (CreateFunction, InvalidParameterValueException). */
const COULD_NOT_UNZIP = 'Could not unzip uploaded file. Please check your file, then try to upload again.';

/** A deployment package cannot be used. The message is fit for the API's answer. */
export class CodeArchiveError extends Error {
  override readonly name = 'CodeArchiveError';
  readonly fault: CodeArchiveFault;

  constructor(fault: CodeArchiveFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }

  /** In Lambda's words, followed by what exactly is wrong. */
  static couldNotUnzip(fault: CodeArchiveFault, detail?: string, cause?: unknown): CodeArchiveError {
    return new CodeArchiveError(fault, detail === undefined ? COULD_NOT_UNZIP : `${COULD_NOT_UNZIP} ${detail}`, { cause });
  }
}
