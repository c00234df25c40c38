/** What npm says, what it means and what to do about it. The first row that fits is told. */
const EXPLANATIONS = [
  { sign: /spawn npm|ENOENT npm|npm: not found/, text: () => 'npm was not found. Install Node.js 20 or newer with npm, and make sure that npm is on the PATH.' },
  { sign: /\b(ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH|ERR_SOCKET_TIMEOUT)\b/, text: () => 'the package registry cannot be reached. Check the network, and "npm config get registry" and "npm config get https-proxy", then run the same command again.' },
  { sign: /\b(E401|E403)\b/, text: () => 'the package registry refused access. Check "npm config get registry" and "npm whoami".' },
  { sign: /\b(EACCES|EPERM|EROFS)\b/, text: (folder) => `${folder} cannot be written to. Make it yours ("chown -R") or clone the repository to a folder of your own.` },
  { sign: /\bENOSPC\b/, text: () => 'the disk is full. Sluice with its dependencies needs about 400 MB.' },
  { sign: /\bEINTEGRITY\b/, text: () => 'a downloaded package is damaged. Run "npm cache clean --force" and try again.' },
  { sign: /can only install packages when your package\.json and package-lock\.json/, text: () => 'package.json and package-lock.json disagree. Run "npm install" and commit both.' },
  { sign: /\bEUNSUPPORTEDPROTOCOL\b|lockfileVersion/, text: () => 'this npm is too old for the lockfile. Update npm ("npm install --global npm").' },
];

/** One sentence for a person: why `npm ci` failed in `folder`, with the remedy; with npm's own last lines where the cause is not known. */
export function installFailure(said, folder) {
  const known = EXPLANATIONS.find((row) => row.sign.test(said));
  if (known !== undefined) return `Installing the dependencies failed: ${known.text(folder)}`;
  const lines = said.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  return `Installing the dependencies failed. Run "npm ci" in ${folder} to see all of it. npm said last:\n  ${lines.slice(-5).join('\n  ')}`;
}
