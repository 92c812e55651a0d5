/** Levels of queues, which rise at once and fall with a delay, and samples of the last half hour. */

export const OK = 0,
  ATTENTION = 1,
  ACTION = 2;
export const NAMES = ['ok', 'attention', 'action'];
const WAIT_ATTENTION = 3,
  WAIT_ACTION = 6;
const WAIT_MARGIN_S = 15,
  LEVEL_MARGIN_PCT = 3,
  ACTION_BELOW_PCT = 20;
const HOLD_MS = 10_000;
const SAMPLE_MS = 10_000,
  SAMPLES = 180;
/** The least width of a line: that of the first minutes. */
const NARROWEST = 30;
const DASH = 2;

/**
 * The level of a value of which more is worse. It is left only *margin* below where it was entered.
 * @param {number} held the level until now @param {number|null} value
 * @param {[number, number]} bounds of attention and action @param {number} margin
 */
export function step(held, value, [attention, action], margin) {
  if (value === null || value === undefined) return OK;
  const at = (ease) => (value >= action - ease ? ACTION : value >= attention - ease ? ATTENTION : OK);
  return at(0) >= held ? at(0) : Math.min(held, at(margin));
}

/** The level of a share in time against a target in percent. */
export const share = (held, value, target) =>
  value === null || value === undefined
    ? OK
    : step(held, -value, [-target + 1e-9, -target + ACTION_BELOW_PCT], LEVEL_MARGIN_PCT);

/** The level of each queue. */
export class Levels {
  constructor() {
    this.held = new Map();
  }

  /**
   * Judge a queue now: it has one level, and one figure that caused it.
   * @param {number|null} [limit] the person's own longest wait, in seconds; null: of the service level
   * @returns {{level: number, wait: number, cause: 'wait'|'waiting'|'share'|null, bound: number|null,
   *   rank: number}} `rank`: how many times its threshold the longest wait is, in halves, which keeps it calm
   */
  judge(key, queue, now, target, limit = null) {
    const before = this.held.get(key) ?? {level: OK, share: OK, wait: OK, cause: null, since: -Infinity};
    const waits =
      queue.oldest_since_ms == null || now === null || !queue.contacts_waiting
        ? null
        : (now - queue.oldest_since_ms) / 1000;
    const due = queue.service_level_threshold_s;
    const bounds = limit ? [limit / 2, limit] : due ? [due * WAIT_ATTENTION, due * WAIT_ACTION] : null;
    const wait = bounds ? step(before.wait, waits, bounds, WAIT_MARGIN_S) : OK;
    const told = Math.max(NAMES.indexOf(queue.level), OK);
    const inTime = share(before.share, queue.service_level_pct, target);
    // nobody can act at once on a share of the past
    const worst = Math.max(wait, told, Math.min(inTime, ATTENTION));
    const cause = worst === OK ? null : wait === worst ? 'wait' : told === worst ? 'waiting' : 'share';
    const held = worst < before.level && now !== null && now - before.since < HOLD_MS;
    const level = held ? before.level : worst;
    const since = worst >= before.level && now !== null ? now : before.since;
    const why = held ? before.cause : cause;
    const bound = {
      wait: bounds?.[level === ACTION ? 1 : 0] ?? null,
      waiting: queue.routing_parameters?.[level === ACTION ? 'ActionContacts' : 'AttentionContacts'] ?? null,
      share: target,
    }[why];
    const rank = bounds && waits !== null ? Math.round((waits / bounds[1]) * 2) / 2 : 0;
    const judged = {level, wait, share: inTime, cause: why, bound: bound ?? null, rank, since};
    this.held.set(key, judged);
    return judged;
  }

  forget(key) {
    this.held.delete(key);
  }
}

/**
 * The worst queue first: what is pinned, then by level, then by wait against its threshold, then by who waits.
 * @param {[string, any][]} entries key and queue @param {Map<string, {level: number, rank: number}>} judged
 * @param {string[]} pins keys @param {(a: string, b: string) => number} byName of what is equal otherwise
 * @returns {string[]} keys
 */
export function worstFirst(entries, judged, pins, byName) {
  const ranked = entries.map(([key, queue]) => {
    const {level = OK, rank = 0} = judged.get(key) ?? {};
    return [key, pins.includes(key), level, rank, queue.contacts_waiting ?? -1, queue.name ?? ''];
  });
  ranked.sort((a, b) => b[1] - a[1] || b[2] - a[2] || b[3] - a[3] || b[4] - a[4] || byName(a[5], b[5]));
  return ranked.map(([key]) => key);
}

/** The waiting contacts of each queue in the last 30 minutes, one sample each 10 s. */
export class History {
  constructor() {
    this.samples = new Map();
    this.next = -Infinity;
  }

  /** Take a sample of all queues if one is due. @returns {boolean} whether one was taken */
  take(entries, now) {
    if (now === null || now < this.next) return false;
    const missed = Math.min(SAMPLES, Math.max(0, Math.floor((now - this.next) / SAMPLE_MS)) || 0);
    this.next = now + SAMPLE_MS;
    const there = new Set();
    for (const [key, queue] of entries) {
      there.add(key);
      const line = this.samples.get(key) ?? [];
      if (line.length) for (let gone = 0; gone < missed; gone += 1) line.push(null);
      line.push(queue.contacts_waiting ?? null);
      line.splice(0, line.length - SAMPLES);
      this.samples.set(key, line);
    }
    for (const key of this.samples.keys()) if (!there.has(key)) this.samples.delete(key);
    return true;
  }

  /** The minutes for which the queue has samples, at least 1. */
  minutes(key) {
    return Math.max(1, Math.round(((this.samples.get(key)?.length ?? 0) * SAMPLE_MS) / 60_000));
  }

  /**
   * The line as the `d` of an SVG path in a box of 60 × 20; the right edge is now, a gap is a gap. What is
   * shorter than a dash, as it is at first, is drawn as one: a point would not be seen.
   */
  path(key, latest) {
    const line = [...(this.samples.get(key) ?? []), latest ?? null];
    const top = Math.max(4, ...line.map((value) => value ?? 0));
    const width = Math.max(NARROWEST, line.length - 1);
    const runs = [[]];
    line.forEach((value, place) => {
      const x = (60 * (width - line.length + 1 + place)) / width;
      if (value === null) runs.push([]);
      else runs.at(-1).push([x, (19 - (18 * value) / top).toFixed(1)]);
    });
    return runs.map(drawn).join('');
  }
}

function drawn(run) {
  if (!run.length) return '';
  const [[x, y]] = run;
  const from = Math.max(0, Math.min(x, run.at(-1)[0] - DASH));
  const lines = run.map(([at, height]) => `L${at.toFixed(1)} ${height}`);
  return `M${from.toFixed(1)} ${y}${lines.join('')}`;
}
