// Which names of the web client stand in an isolate?
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {load} from './world.mjs';

globalThis.addEventListener ??= () => {};
globalThis.document ??= {addEventListener() {}};
const {isolated} = await load(readFileSync(new URL('../../../gateway/web/ui.js', import.meta.url), 'utf8'));

test('a name with letters or marks that are read from right to left is isolated', () => {
  for (const name of ['دعم (VIP)', 'כהן', '\u{1e900}\u{1e901} (12)', '\u{10d00} (12)', 'Sales\u200f'])
    assert.equal(isolated(name), `\u2068${name}\u2069`);
});

test('every other name is shown as it is', () => {
  for (const name of ['Billing (VIP)', 'Zürich – 24/7', '\u{1f600} 販売', '', '–']) assert.equal(isolated(name), name);
});
