import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings, SETTINGS, SettingsError } from '../../platform/configuration/settings.ts';

test('nothing set gives the defaults', () => {
  const settings = readSettings({});
  assert.equal(settings.port, 9400);
  assert.equal(settings.host, '127.0.0.1');
  assert.equal(settings.account, '000000000000');
});

test('every default is valid by its own rule', () => {
  for (const setting of Object.values(SETTINGS)) assert.doesNotThrow(() => setting.parse(setting.defaultText), setting.variable);
});

test('a wrong value names the variable, the value and what is allowed', () => {
  assert.throws(() => readSettings({ SLUICE_PORT: '70000' }), new SettingsError('SLUICE_PORT=70000 is not valid: give a whole number from 0 to 65535.'));
  assert.throws(() => readSettings({ SLUICE_ACCOUNT: '12' }), /SLUICE_ACCOUNT=12 is not valid: give twelve digits/);
  assert.throws(() => readSettings({ SLUICE_LOG_LEVEL: 'loud' }), /give one of debug, info, warn, error, silent/);
});

test('an unknown SLUICE_ variable stops the start', () => {
  assert.throws(() => readSettings({ SLUICE_PROT: '1' }), /SLUICE_PROT is not a setting of Sluice/);
  assert.doesNotThrow(() => readSettings({ OTHER: '1' }));
});

test('settings that contradict each other are refused', () => {
  assert.throws(() => readSettings({ SLUICE_KEEP_ALIVE_MIN_MS: '2000', SLUICE_KEEP_ALIVE_MAX_MS: '1000' }), /is below/);
});

test('a leading tilde is the home folder', () => {
  assert.ok(!readSettings({ SLUICE_DATA: '~/x' }).dataDir.includes('~'));
});
