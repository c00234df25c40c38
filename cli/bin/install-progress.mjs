import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const INTERVAL_MS = 120;
/** Where nobody watches, a line is written each time another quarter is done. */
const PLAIN_STEP_PERCENT = 25;

/**
 * Shows how far `npm ci` is, by counting the packages of the lockfile that lie in node_modules: npm reports nothing that a program
 * could read. A moving line on a terminal, a few plain lines elsewhere.
 */
export function installProgress(folder, label, output) {
  const packages = expectedPackages(folder);
  const startedAt = Date.now();
  const onTerminal = output.isTTY === true;
  let frame = 0;
  let told = 0;
  const arrived = () => packages.filter((location) => existsSync(join(folder, location, 'package.json'))).length;
  const percent = () => (packages.length === 0 ? 100 : Math.floor((100 * arrived()) / packages.length));
  const show = () => {
    const now = percent();
    if (onTerminal) {
      output.write(`\r\u001b[2K${SPINNER[frame++ % SPINNER.length]} ${label} ${String(now).padStart(3)} % of ${packages.length} packages`);
    } else if (now >= told + PLAIN_STEP_PERCENT && now < 100) {
      told = now - (now % PLAIN_STEP_PERCENT);
      output.write(`${label}: ${told} %\n`);
    }
  };
  if (!onTerminal) output.write(`${label} (${packages.length} packages, once) …\n`);
  const timer = setInterval(show, INTERVAL_MS);
  const finish = (line) => {
    clearInterval(timer);
    output.write(onTerminal ? `\r\u001b[2K${line}` : line);
  };
  return {
    done: () => finish(`${label}: done in ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`),
    fail: () => finish(''),
  };
}

/** Packages that every machine gets; optional ones depend on its kind. */
function expectedPackages(folder) {
  const lockfile = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'));
  return Object.entries(lockfile.packages)
    .filter(([location, entry]) => location !== '' && entry.optional !== true)
    .map(([location]) => location);
}
