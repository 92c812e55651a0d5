/** How does a list of hundreds stay light? Only what is visible exists. */
import {attribute, framed, h} from './ui.js';

/**
 * A list of which only the visible part exists. Rows have one height, stand in as many columns as fit, and
 * are used again. Whoever touches the list is not surprised: it is put in order anew only when nobody has
 * touched it for a while.
 */
export class Rows {
  /**
   * @param {HTMLElement} scroller
   * @param {{height: number, width?: number, gap?: number, label: string,
   *   make: () => {element: HTMLElement, show: (key: string) => void, tick?: () => void}}} options
   */
  constructor(scroller, {height, width = Infinity, gap = 0, label, make}) {
    Object.assign(this, {scroller, height, width, gap, make});
    this.element = h('div', {class: 'rows', role: 'list', 'aria-label': label});
    this.keys = [];
    this.used = new Map();
    this.spare = [];
    this.touched = -Infinity;
    this.stop = new AbortController();
    this.draw = framed(() => this.layout());
    const touch = () => {
      this.touched = performance.now();
    };
    for (const name of ['pointerdown', 'pointermove', 'keydown', 'wheel'])
      this.element.addEventListener(name, touch, {passive: true});
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
  }

  /** Nobody looks any more: the scroller, which lives on, holds nothing of this list. */
  end() {
    this.stop.abort();
    this.observer.disconnect();
    this.element.remove();
  }

  /** Whether somebody is about to press something here. */
  get busy() {
    return performance.now() - this.touched < 2500;
  }

  /** Show these, in this order. @param {string[]} keys */
  order(keys) {
    const same = keys.length === this.keys.length;
    if (same && (this.busy || keys.every((key, place) => key === this.keys[place]))) return;
    this.keys = keys;
    this.draw();
  }

  /** What some show has changed. @param {Set<string>} changed */
  refresh(changed) {
    for (const [key, row] of this.used) if (changed.has(key)) row.show(key);
  }

  refreshAll() {
    for (const [key, row] of this.used) row.show(key);
  }

  /** A second has passed. */
  tick() {
    for (const row of this.used.values()) row.tick?.();
  }

  layout() {
    const {element, scroller, height, gap, keys} = this;
    const wide = element.clientWidth;
    const columns = Math.max(1, Math.floor((wide + gap) / (this.width + gap)) || 1);
    const lines = Math.ceil(keys.length / columns);
    element.style.height = `${Math.max(0, lines * (height + gap) - gap)}px`;
    const above = scroller.getBoundingClientRect().top - element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((above - 200) / (height + gap))) * columns;
    const last = Math.ceil((above + scroller.clientHeight + 200) / (height + gap)) * columns;
    this.bind(wide ? keys.slice(first, Math.max(first, last)) : [], first, columns, (wide + gap) / columns);
  }

  bind(visible, first, columns, step) {
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    const wanted = new Set(visible);
    for (const [key, row] of this.used) {
      if (!wanted.has(key)) {
        this.used.delete(key);
        this.spare.push(row);
      }
    }
    let next = this.element.firstChild;
    visible.forEach((key, place) => {
      let row = this.used.get(key);
      if (!row) {
        row = this.spare.pop() ?? this.make();
        this.used.set(key, row);
        row.show(key);
      }
      this.place(row.element, first + place, columns, step);
      if (row.element === next) next = next.nextSibling;
      else this.element.insertBefore(row.element, next);
    });
    for (const row of this.spare) row.element.remove();
    this.spare.length = Math.min(this.spare.length, 40);
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({preventScroll: true});
  }

  place(element, index, columns, step) {
    attribute(element, 'aria-posinset', index + 1);
    attribute(element, 'aria-setsize', this.keys.length);
    const left = (index % columns) * step;
    const top = Math.floor(index / columns) * (this.height + this.gap);
    const at = `translate(${left}px, ${top}px)`;
    if (element.at !== at) {
      element.at = at;
      element.style.transform = at;
    }
    const wide = `${step - this.gap}px`;
    if (element.wide !== wide) {
      element.wide = wide;
      element.style.width = wide;
      element.style.height = `${this.height}px`;
    }
  }
}
