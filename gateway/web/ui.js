/** How does something get onto the page, and stay right with few touches? No text ever becomes markup. */
import {t} from './words.js';

const SVG = 'http://www.w3.org/2000/svg';

/** An element: `on…` are listeners, other properties attributes; null is nothing. */
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked') made[name] = value;
    else made.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false) made.append(child);
  return made;
}

/** One of the page's icons; it says nothing to a screen reader, the text beside it does. */
export function icon(name, kind = '') {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', `icon ${kind}`);
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Turn an icon into another one. */
export function reicon(svg, name) {
  const href = `#i-${name}`;
  if (svg.firstChild.getAttribute('href') !== href) svg.firstChild.setAttribute('href', href);
}

export const button = (label, act, kind = '', properties = {}) =>
  h('button', {type: 'button', class: `button ${kind}`, onclick: act, ...properties}, label);

/** A field of a form, its label, and a box to tick. */
export const input = (name, properties) => h('input', {id: `in-${name}`, name, type: 'text', ...properties});
export const field = (name, control) =>
  h('div', {class: 'field'}, h('label', {for: control.id}, t(`field.${name}`)), control);
export const check = (name, on) =>
  h(
    'label',
    {class: 'check'},
    h('input', {type: 'checkbox', name, checked: on}),
    h('span', {}, t(`field.${name}`), h('small', {}, t(`field.${name}.hint`))),
  );

/** Set what differs, and touch nothing else. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
export function attribute(node, name, value) {
  if (value === null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? '' : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}
export const shown = (node, on) => {
  if (node.hidden === on) node.hidden = !on;
};

/** Replace children only when what they are made of has changed. @param {Element} node @param {any} of */
export function fill(node, of, make) {
  const told = JSON.stringify(of) ?? '';
  if (node.madeOf === told) return;
  node.madeOf = told;
  node.replaceChildren(...[make()].flat(3).filter(Boolean));
}

/** Call once with the next frame of the screen, however often it is asked for; at most every *apart* ms. */
export function framed(call, apart = 0) {
  let waits = false;
  let last = -Infinity;
  const run = () => {
    waits = false;
    last = performance.now();
    call();
  };
  return () => {
    if (waits) return;
    waits = true;
    const wait = last + apart - performance.now();
    if (wait > 0) setTimeout(() => requestAnimationFrame(run), wait);
    else requestAnimationFrame(run);
  };
}

/** Tell a screen reader. */
export function say(text) {
  const place = document.getElementById('say');
  place.textContent = '';
  requestAnimationFrame(() => {
    place.textContent = text;
  });
}

/** Tell everybody for a while. @param {'done'|'bad'|'info'} kind */
export function toast(text, kind = 'info') {
  const name = {done: 'ok', bad: 'attention', info: 'notice'}[kind];
  const made = h('div', {class: `toast ${kind}`}, icon(name), h('span', {}, text));
  document.getElementById('toasts').append(made);
  say(text);
  setTimeout(() => made.remove(), kind === 'bad' ? 9000 : 5000);
}

/**
 * Open a dialog; on a phone it is a sheet at the lower edge. Focus stays inside and returns afterwards.
 * @param {{title: string, body: any, onclose?: () => void,
 *   actions?: {label: string, kind?: string, run?: () => any}[]}} what
 *   an action that returns false (or a promise of it) keeps the dialog open
 * @returns {{element: HTMLDialogElement, close: () => void}}
 */
export function dialog({title, body, actions = [], onclose}) {
  const id = `d${Math.random().toString(36).slice(2)}`;
  const close = () => element.close();
  const foot = actions.map(({label, kind, run}) =>
    button(
      label,
      async (event) => {
        const pressed = event.currentTarget;
        pressed.disabled = true;
        const kept = (await run?.()) === false;
        pressed.disabled = false;
        if (!kept) close();
      },
      kind,
    ),
  );
  const element = h(
    'dialog',
    {class: 'sheet', 'aria-labelledby': id},
    h(
      'header',
      {},
      h('h2', {id, tabindex: '-1'}, title),
      h(
        'button',
        {type: 'button', class: 'quiet square', onclick: close, 'aria-label': t('close')},
        icon('unavailable'),
      ),
    ),
    h('div', {class: 'body'}, body),
    foot.length ? h('footer', {}, foot) : null,
  );
  element.addEventListener('close', () => {
    element.remove();
    onclose?.();
  });
  element.addEventListener('click', (event) => {
    if (event.target === element) close();
  });
  document.body.append(element);
  element.showModal();
  element.querySelector('[autofocus]')?.focus();
  return {element, close};
}

/** Let a person pick one of some. @returns {Promise<any>} its value; undefined when none was picked */
export function pick(title, options, hint = '') {
  return new Promise((resolve) => {
    let picked;
    const {close} = dialog({
      title,
      body: [
        hint && h('p', {class: 'muted'}, hint),
        h(
          'div',
          {class: 'picks'},
          options.map(({value, label, name}) =>
            h(
              'button',
              {
                type: 'button',
                class: 'pick',
                onclick: () => {
                  picked = value;
                  close();
                },
              },
              name ? icon(name) : null,
              label,
            ),
          ),
        ),
      ],
      onclose: () => resolve(picked),
    });
  });
}

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
      {passive: true},
    );
    new ResizeObserver(this.draw).observe(scroller);
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
