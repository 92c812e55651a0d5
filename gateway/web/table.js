/** The table of queues on a desk, one line each, sorted by any column. */
import {NAMES} from './levels.js';
import {comes, goes, leaves, mayMove, stepped} from './rows.js';
import {attribute, byName, h, icon, NONE, pct, put, reicon, since, t, tOr, whole} from './ui.js';

/** Name → the content of the cell, and the value to sort by; null is last. */
const COLUMNS = {
  level: {of: () => null},
  name: {of: ({name}) => name},
  waiting: {of: ({contacts_waiting: waiting}) => waiting, text: whole},
  longest: {of: ({oldest_since_ms: at}) => (at == null ? null : -at)},
  share: {of: ({service_level_pct: share}) => share, text: pct},
  available: {of: ({agents_available: free}) => free, text: whole},
  contact: {of: ({agents_handling: busy}) => busy, text: whole},
  abandoned: {of: ({abandoned_rate_pct: rate}) => rate, text: pct},
};
const NAMED = Object.keys(COLUMNS);
const CALM_MS = 2500;
/** The longest table whose lines move visibly: of more lines, most are out of sight. */
const MOVED_AT_MOST = 100;

export class QueueTable {
  /** @param {import('./queues.js').Queues} queues how queues stand, and in which order */
  constructor(live, queues, shell, go) {
    Object.assign(this, {live, queues, shell, go, keys: [], current: null, touched: -Infinity});
    this.lines = new Map();
    const [column, down] = shell.choices.sort ?? [];
    this.by = NAMED.includes(column) ? column : 'level';
    this.down = down !== false;
    this.heads = NAMED.map((name) => this.head(name));
    this.body = h('tbody', {});
    this.element = h(
      'table',
      {class: 'queue-table', 'aria-label': t('tab.queues'), hidden: true},
      h('thead', {}, h('tr', {}, this.heads)),
      this.body,
    );
    for (const name of ['pointerdown', 'pointermove', 'keydown'])
      this.body.addEventListener(name, () => (this.touched = performance.now()), {passive: true});
    this.body.addEventListener('keydown', (event) => this.arrow(event));
    this.body.addEventListener('focusin', ({target}) => {
      this.current = target.dataset.key ?? this.current;
      this.rove();
    });
    this.marks();
  }

  head(name) {
    return h(
      'th',
      {scope: 'col', class: `t-${name}`},
      h('button', {type: 'button', onclick: () => this.sortBy(name)}, tOr(`column.${name}`, t(`kpi.${name}`))),
    );
  }

  /** Sort by a column; once more: the other way round. */
  sortBy(name) {
    this.down = this.by === name ? !this.down : name !== 'name';
    this.by = name;
    this.touched = -Infinity;
    this.shell.choose({sort: [this.by, this.down]});
    this.marks();
    this.queues.sort();
  }

  marks() {
    NAMED.forEach((name, place) => {
      const sorted = name === this.by ? (this.down ? 'descending' : 'ascending') : null;
      attribute(this.heads[place], 'aria-sort', sorted);
    });
  }

  /** @param {string[]} worst the keys, the worst queue first */
  sorted(worst) {
    const {of} = COLUMNS[this.by];
    const turn = this.down ? -1 : 1;
    if (this.by === 'level') return this.down ? worst : [...worst].reverse();
    const compared = ([, a], [, b]) => {
      if (a == null || b == null) return (a == null) - (b == null);
      return turn * (this.by === 'name' ? byName(a, b) : a - b);
    };
    return worst.map((key) => [key, of(this.live.get(key) ?? {})]).sort(compared).map(([key]) => key);
  }

  /** Show these lines; none moves shortly after a touch. */
  order(worst) {
    const keys = this.sorted(worst);
    const calm = performance.now() - this.touched > CALM_MS;
    if (keys.length === this.keys.length && (!calm || keys.every((key, place) => key === this.keys[place]))) return;
    const moves = calm && this.keys.length > 0 && keys.length <= MOVED_AT_MOST && mayMove();
    const stood = moves ? this.tops() : null;
    this.keys = keys;
    const there = new Set(keys);
    for (const [key, {element}] of this.lines) {
      if (there.has(key)) continue;
      if (stood) this.leave(element, stood.get(key));
      element.remove();
      this.lines.delete(key);
    }
    const {activeElement: held} = document;
    let next = this.body.firstChild;
    for (const key of keys) {
      const {element} = this.line(key);
      if (element === next) next = element.nextSibling;
      else this.body.insertBefore(element, next);
    }
    if (this.body.contains(held) && held !== document.activeElement) held.focus({preventScroll: true});
    this.rove();
    if (stood) this.move(stood);
  }

  /** Where the lines stand, by key. */
  tops() {
    return new Map([...this.lines].map(([key, {element}]) => [key, element.offsetTop]));
  }

  /** Lines that stood elsewhere go from there, new ones appear. @param {Map<string, number>} stood */
  move(stood) {
    for (const [key, top] of this.tops()) {
      const {element} = this.lines.get(key);
      if (!stood.has(key)) comes(element);
      else if (stood.get(key) !== top) goes(element, `translateY(${stood.get(key) - top}px)`);
    }
  }

  /** A line fades where it stood, out of the table's way: its cells keep their widths. */
  leave(element, top) {
    const wide = [...element.children].map(({offsetWidth}) => `${offsetWidth}px`);
    const picture = leaves(element, this.body);
    picture.className = 'leaving';
    picture.style.top = `${top}px`;
    [...picture.children].forEach((cell, place) => (cell.style.width = wide[place]));
  }

  line(key) {
    const known = this.lines.get(key);
    if (known) return known;
    const mark = icon('ok', 'mark');
    const word = h('span', {class: 'sr'});
    const act = h(
      'button',
      {type: 'button', 'data-key': key, onclick: () => this.go({kind: 'queue', id: key.slice(6)})},
      NONE,
    );
    const cells = NAMED.slice(2).map((name) => h('td', {class: `t-${name}`}, NONE));
    const element = h('tr', {}, h('td', {class: 't-level'}, mark, word), h('th', {scope: 'row'}, act), cells);
    const line = {element, show: () => this.show(key, {element, mark, word, act, cells}), tick: () => this.late(key, cells)};
    this.lines.set(key, line);
    line.show();
    return line;
  }

  show(key, {element, mark, word, act, cells}) {
    const queue = this.live.get(key) ?? {};
    const name = NAMES[this.queues.judged.get(key)?.level ?? 0];
    attribute(element, 'data-level', name);
    attribute(element, 'data-selected', key === this.queues.selected);
    reicon(mark, name);
    put(word, t(`level.${name}`));
    put(act, queue.name ?? NONE);
    NAMED.slice(2).forEach((column, place) => {
      const {of, text} = COLUMNS[column];
      if (text) put(cells[place], text(of(queue)));
    });
    this.late(key, cells);
  }

  /** Update the waits. */
  late(key, cells) {
    put(cells[NAMED.indexOf('longest') - 2], since(this.live.get(key)?.oldest_since_ms ?? null, this.live.now()));
  }

  tick() {
    if (this.element.hidden) return;
    for (const line of this.lines.values()) line.show();
  }
  refresh(changed) {
    for (const [key, line] of this.lines) if (changed.has(key)) line.show();
  }
  refreshAll() {
    for (const line of this.lines.values()) line.show();
  }

  /** Tab reaches one line; arrow keys reach the others. */
  rove() {
    const at = this.lines.has(this.current) ? this.current : this.keys[0];
    for (const each of this.body.querySelectorAll('button'))
      attribute(each, 'tabindex', each.dataset.key === at ? '0' : '-1');
  }

  arrow(event) {
    const to = stepped(event.key, this.keys.indexOf(event.target.dataset.key), this.keys.length);
    if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.enter(to);
  }

  /** Give the focus to the line at a place; by default to the one that had it last. */
  enter(place = Math.max(0, this.keys.indexOf(this.current))) {
    const target = this.lines.get(this.keys[place])?.element.querySelector('button');
    target?.focus({preventScroll: true});
    target?.scrollIntoView({block: 'nearest'});
  }

  /** Focus the line of a key, if nothing else has the focus. */
  focus(key) {
    if (document.activeElement === document.body && this.keys.includes(key)) this.enter(this.keys.indexOf(key));
  }
}
