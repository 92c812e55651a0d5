// Which queue of the Dashboard stands first?
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {load} from './world.mjs';

const {Levels, worstFirst} = await load(
  readFileSync(new URL('../../../gateway/web/levels.js', import.meta.url), 'utf8'),
);
const NOW = 1_000_000;
const waits = (name, seconds, threshold) => ({
  name, contacts_waiting: 1, oldest_since_ms: NOW - seconds * 1000, service_level_threshold_s: threshold,
});

/** The order of queues, and how many times its threshold each has waited. */
function ordered(queues, {pins = [], limits = {}, now = NOW} = {}) {
  const levels = new Levels();
  const judged = new Map(
    Object.entries(queues).map(([key, queue]) => [key, levels.judge(key, queue, now, 80, limits[key])]),
  );
  const order = worstFirst(Object.entries(queues), judged, pins, (a, b) => a.localeCompare(b));
  return [order, order.map((key) => judged.get(key).rank)];
}

test('of equal level the one stands first that has waited longest for its threshold', () => {
  const queues = {patient: waits('A', 320, 100), urgent: waits('B', 100, 20)};
  assert.deepEqual(ordered(queues), [['urgent', 'patient'], [1, 0.5]]);
  assert.deepEqual(ordered(queues, {now: NOW + 3000}), [['urgent', 'patient'], [1, 0.5]], 'and calmly');
});

test("a person's own limit is the threshold, the level comes before it, and what is pinned before all", () => {
  const queues = {patient: waits('A', 320, 100), urgent: waits('B', 100, 20), calm: waits('C', 1, 20)};
  const limits = {patient: 160};
  assert.deepEqual(ordered(queues, {limits}), [['patient', 'urgent', 'calm'], [2, 1, 0]]);
  assert.deepEqual(ordered(queues, {limits, pins: ['calm']})[0], ['calm', 'patient', 'urgent']);
});

test('of equals the one with more waiting stands first, then they go by name', () => {
  const queues = {b: {name: 'B'}, a: {name: 'A'}, some: {name: 'Z', contacts_waiting: 0}};
  assert.deepEqual(ordered(queues)[0], ['some', 'a', 'b']);
});
