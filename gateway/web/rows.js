/** A list with many rows, of which only the visible ones exist as elements. */
import {attribute, bookmark, framed, h} from './ui.js';

/**
 * Where an arrow key leads in a list of *columns*; null: it is no such key, or leads nowhere.
 * @param {string} key @param {number} place @param {number} length @param {number} [columns]
 */
export function stepped(key, place, length, columns = 1) {
  const to = {
    ArrowDown: place + columns,
    ArrowUp: place - columns,
    ArrowRight: columns > 1 ? place + 1 : null,
    ArrowLeft: columns > 1 ? place - 1 : null,
    Home: 0,
    End: length - 1,
  }[key];
  return to === undefined || to === null || to < 0 || to >= length || to === place ? null : to;
}

const COME_MS = 160,
  MOVE_MS = 180;
const calm = matchMedia('(prefers-reduced-motion: reduce)');
let pressed = false;
for (const name of ['pointerdown', 'pointerup', 'pointercancel'])
  addEventListener(name, () => (pressed = name === 'pointerdown'), {capture: true, passive: true});

/** Whether rows may move visibly: not under a finger, and not with reduced motion. */
export const mayMove = () => !pressed && !calm.matches && !document.hidden;

/** A row appears. Opacity and transform only: nothing else on the page moves for it. @param {HTMLElement} element */
export const comes = (element) =>
  (element.motion = element.animate({opacity: [0, 1]}, {duration: COME_MS, easing: 'ease-out'}));

/** A row goes from where it stood to where it stands. @param {HTMLElement} element @param {string} from a transform */
export function goes(element, from) {
  const way = [from, element.style.transform || 'none'];
  element.motion = element.animate({transform: way}, {duration: MOVE_MS, easing: 'ease-in-out'});
}

/**
 * A row leaves: a picture of it fades where it stood, below all others. Nothing reads, finds or presses it.
 * @param {HTMLElement} element @param {HTMLElement} list what it stood in @returns {HTMLElement}
 */
export function leaves(element, list) {
  const picture = element.cloneNode(true);
  picture.inert = true;
  picture.setAttribute('aria-hidden', 'true');
  picture.style.zIndex = '-1';
  list.append(picture);
  const gone = () => picture.remove();
  picture.animate({opacity: [1, 0]}, {duration: COME_MS, easing: 'ease-out'}).finished.then(gone, gone);
  return picture;
}

/** Whether an element is visible in its scrolling parent. */
const within = (element, scroller) => {
  const [inner, outer] = [element, scroller].map((each) => each.getBoundingClientRect());
  return inner.bottom > outer.top && inner.top < outer.bottom;
};

/**
 * A list of which only the visible part exists. Rows have one height, stand in as many columns as fit, and
 * are used again. The list does not move under a finger: it is sorted again only some time after the last
 * touch. The row with the focus exists as long as its key does.
 */
export class Rows {
  /**
   * @param {HTMLElement} scroller
   * @param {{height: number|(() => number), width?: number, gap?: number, label: string,
   *   make: () => {element: HTMLElement, show: (key: string) => void, tick?: () => void}}} options
   */
  constructor(scroller, {height, width = Infinity, gap = 0, label, make}) {
    // their height follows the size of text
    const scale = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    const high = typeof height === 'function' ? height : () => height;
    const wide = typeof width === 'function' ? width : () => width;
    Object.assign(this, {scroller, high: () => high() * scale(), wide: () => wide() * scale(), gap, make});
    this.columns = 1;
    /** The key of the row that Tab reaches; arrow keys reach the others. */
    this.current = null;
    this.height = this.high();
    this.element = h('div', {class: 'rows', role: 'list', 'aria-label': label});
    this.keys = [];
    this.used = new Map();
    this.spare = [];
    this.touched = -Infinity;
    this.wish = null;
    /** Whether the next layout shows another order, whether that is seen as movement, and which rows go from where. */
    this.reordered = this.moves = false;
    this.going = [];
    this.stop = new AbortController();
    this.draw = framed(() => this.layout());
    const touch = () => {
      this.touched = performance.now();
    };
    for (const name of ['pointerdown', 'pointermove', 'keydown', 'wheel'])
      this.element.addEventListener(name, touch, {passive: true});
    this.element.addEventListener('keydown', (event) => this.arrow(event));
    this.element.addEventListener('focusin', ({target}) => {
      this.current = this.keyOf(target) ?? this.current;
      this.rove();
    });
    scroller.addEventListener(
      'scroll',
      () => {
        touch();
        this.draw();
      },
      {passive: true, signal: this.stop.signal},
    );
    this.observer = new ResizeObserver(this.draw);
    this.observer.observe(scroller);
    addEventListener('resize', this.draw, {signal: this.stop.signal}); // also when text gets another size
  }

  /** The list is no longer shown: the scroller, which stays, keeps nothing of it. */
  end() {
    this.stop.abort();
    this.observer.disconnect();
    this.element.remove();
  }

  /** Whether the list was touched a moment ago. */
  get busy() {
    return performance.now() - this.touched < 2500;
  }

  /** Show these rows in this order. @param {string[]} keys */
  order(keys) {
    const same = keys.length === this.keys.length;
    if (same && (this.busy || keys.every((key, place) => key === this.keys[place]))) return;
    this.reordered = this.used.size > 0;
    this.keys = keys;
    this.draw();
  }

  /** Draw the rows whose data has changed. @param {Set<string>} changed */
  refresh(changed) {
    for (const [key, row] of this.used) if (changed.has(key)) row.show(key);
  }

  refreshAll() {
    for (const [key, row] of this.used) row.show(key);
  }

  /** Update the times of the visible rows. */
  tick() {
    for (const row of this.used.values()) row.tick?.();
  }

  layout() {
    const height = (this.height = this.high());
    const {element, scroller, gap, keys} = this;
    const wide = element.clientWidth;
    const columns = Math.max(1, Math.floor((wide + gap) / (this.wide() + gap)) || 1);
    this.columns = columns;
    const lines = Math.ceil(keys.length / columns);
    element.style.height = `${Math.max(0, lines * (height + gap) - gap)}px`;
    const above = scroller.getBoundingClientRect().top - element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((above - 200) / (height + gap))) * columns;
    const last = Math.ceil((above + scroller.clientHeight + 200) / (height + gap)) * columns;
    this.moves = this.reordered && !this.busy && mayMove();
    this.reordered = false;
    this.bind(first, wide ? Math.max(first, last) : first, columns, (wide + gap) / columns);
    this.rove();
    if (wide) this.grant();
    // last: until it moves, each row is measured where it will stand
    for (const [row, from] of this.going.splice(0)) goes(row, from);
  }

  keyOf = (target) => [...this.used.keys()].find((key) => this.used.get(key).element.contains(target));

  /** Tab reaches one row: the one that had the focus last, or else the first. */
  rove() {
    const {used, keys} = this;
    const at = used.has(this.current) ? this.current : (keys.find((key) => used.has(key)) ?? null);
    for (const [key, row] of used)
      attribute(row.element.querySelector('button'), 'tabindex', key === at ? '0' : '-1');
  }

  arrow(event) {
    const place = this.keys.indexOf(this.keyOf(event.target));
    const to = place < 0 ? null : stepped(event.key, place, this.keys.length, this.columns);
    if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.enter(to);
  }

  /** Give the focus to the row at a place; by default to the one that had it last. */
  enter(place = Math.max(0, this.keys.indexOf(this.current))) {
    const key = this.keys[place];
    if (key === undefined) return;
    this.current = key;
    this.wish = key;
    this.layout();
    const target = this.used.get(key)?.element.querySelector('button');
    target?.focus({preventScroll: true});
    target?.scrollIntoView({block: 'nearest'});
  }

  /** Give the focus to the row of a key, if it is there and nothing else has it. @param {string} key */
  focus(key) {
    this.wish = key;
    this.draw();
  }

  grant() {
    const wished = this.used.get(this.wish)?.element.querySelector('button');
    this.wish = null;
    if (!wished || document.activeElement !== document.body) return;
    wished.focus({preventScroll: true});
    wished.scrollIntoView({block: 'nearest'});
  }

  /** Make rows for the keys from one place to another, and for those that must stay. */
  bind(first, last, columns, step) {
    const {keys, element, scroller} = this;
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    const held = focused && [...this.used.keys()].find((key) => this.used.get(key).element.contains(focused));
    const back = focused && !keys.includes(held) && bookmark();
    const inView = focused && within(focused, scroller);
    const places = keys.slice(first, last).map((_, place) => first + place);
    for (const key of new Set([held, this.wish])) {
      const place = key ? keys.indexOf(key) : -1;
      if (place >= 0 && place < first) places.unshift(place);
      else if (place >= last) places.push(place);
    }
    places.sort((a, b) => a - b);
    this.release(new Set(places.map((place) => keys[place])), held);
    let next = element.firstChild;
    for (const place of places) {
      const row = this.used.get(keys[place]) ?? this.take(keys[place]);
      this.place(row.element, place, columns, step);
      // all others move round the one with the focus: a move would drop that, or scroll back to it
      if (row.element === next || keys[place] === held) next = row.element.nextSibling;
      else element.insertBefore(row.element, next);
    }
    for (const row of this.spare) row.element.remove();
    this.spare.length = Math.min(this.spare.length, 40);
    if (back) back();
    const gone = inView && focused.isConnected && !within(focused, scroller);
    if (gone) focused.scrollIntoView({block: 'nearest'});
  }

  /** Free the rows of all other keys. The one that is *held* shows nothing else under one's fingers. */
  release(wanted, held) {
    const kept = new Set(this.moves ? this.keys : this.used.keys());
    for (const [key, row] of this.used) {
      if (wanted.has(key)) continue;
      this.used.delete(key);
      if (!kept.has(key)) leaves(row.element, this.element);
      if (key === held) row.element.remove();
      else this.spare.push(row);
    }
  }

  take(key) {
    const row = this.spare.pop() ?? this.make();
    row.element.at = null; // it comes, wherever it was before
    row.element.motion?.cancel();
    this.used.set(key, row);
    row.show(key);
    if (this.moves) comes(row.element);
    return row;
  }

  place(element, index, columns, step) {
    attribute(element, 'aria-posinset', index + 1);
    attribute(element, 'aria-setsize', this.keys.length);
    const left = (index % columns) * step;
    const top = Math.floor(index / columns) * (this.height + this.gap);
    const at = `translate(${left}px, ${top}px)`;
    if (element.at !== at) {
      const from = element.at;
      element.at = at;
      element.style.transform = at;
      if (from) element.motion?.cancel();
      if (this.moves && from) this.going.push([element, from]);
    }
    const size = `${step - this.gap}px ${this.height}px`;
    if (element.size !== size) {
      element.size = size;
      [element.style.width, element.style.height] = size.split(' ');
    }
  }
}
