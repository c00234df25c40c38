/**
 * Makes the virtual environment of the Python runtime ahead of its first use, where it would otherwise be downloaded: when an image is built. Run it with the
 * settings that the worker will have (SLUICE_CACHE_DIR, SLUICE_PYTHON).
 */
import { readSettings } from '../../../platform/configuration/settings.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { pythonFamily } from './family.ts';

const { python, cacheDir } = readSettings(process.env);
const family = pythonFamily({ python, cacheDir, logger: createLogger('warn'), onProgress: (message) => process.stdout.write(`${message}\n`) });
const { version, interpreterDir } = await family.prepare();
process.stdout.write(`${version} in ${interpreterDir}\n`);
