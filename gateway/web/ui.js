/** Texts, elements, focus and messages of the page. No text ever becomes markup. */
export const LANGUAGES = ['en', 'de'];
/** An unknown value. It is never shown as 0. */
export const NONE = '–';

const SAID_MS = 5000;
/** A longer wait is said in minutes. */
const LONG_S = 120;

let texts = {};
let numbers = new Intl.NumberFormat('en');
let instants = new Intl.DateTimeFormat('en');
let minutes = instants;
let days = instants;
export let language = 'en';

/** The language: the chosen one, else the browser's, else English. @param {string|null} chosen */
export function preferred(chosen) {
  const wished = [chosen, ...(navigator.languages ?? [])].filter(Boolean).map((tag) => tag.slice(0, 2));
  return wished.find((tag) => LANGUAGES.includes(tag)) ?? 'en';
}

/** Use a language from now on. @param {string} wished */
export async function speak(wished) {
  texts = (await import(`./strings.${wished}.js`)).default;
  language = wished;
  const locale =
    navigator.languages?.find((tag) => tag.startsWith(wished)) ?? (wished === 'en' ? 'en-GB' : wished);
  numbers = new Intl.NumberFormat(locale, {maximumFractionDigits: 1});
  instants = new Intl.DateTimeFormat(locale, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  minutes = new Intl.DateTimeFormat(locale, {hour: '2-digit', minute: '2-digit', hourCycle: 'h23'});
  days = new Intl.DateTimeFormat(locale, {dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23'});
  document.documentElement.lang = wished;
}

/** The last ones begin the letters beyond 16 bits. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\ud802\ud803\ud83a\ud83b]/;
/** A text with letters or marks that are read from right to left, isolated so that it moves nothing beside it; others as they are. */
export const isolated = (text) => (RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text);
/** The known ones of some texts, each isolated, in one line. */
export const dotted = (...parts) => parts.filter(Boolean).map(isolated).join(' · ');

/** The text named so, with its places filled. Names are checked by a test. @param {string} name */
export function t(name, ...values) {
  const text = texts[name];
  if (typeof text === 'function') return text(...values);
  return text === undefined ? name : text.replace(/\{(\d)\}/g, (_, place) => isolated(values[place] ?? NONE));
}

/** Whether there is such a text. */
export const has = (name) => texts[name] !== undefined;

/** The text named so, or another where there is none. */
export const tOr = (name, other) => (has(name) ? t(name) : other);

export const num = (value) => (value === null || value === undefined ? NONE : numbers.format(value));
export const whole = (value) =>
  value === null || value === undefined ? NONE : numbers.format(Math.round(value));
export const pct = (value) => (value === null || value === undefined ? NONE : `${whole(value)} %`);
export const clock = (ms) => (ms === null || ms === undefined ? NONE : instants.format(ms));
export const minute = (ms) => (ms === null || ms === undefined ? NONE : minutes.format(ms));
export const day = (ms) => (ms === null || ms === undefined ? NONE : days.format(ms));
export const isToday = (ms) => new Date(ms).toDateString() === new Date().toDateString();

/** A telephone number in groups, to be read and compared. @param {string|null|undefined} number */
export const phone = (number) =>
  number ? number.replace(/^(\+\d\d|\d{3})?(\d+)$/, (_, head = '', rest) =>
    [head, ...(rest.match(/\d{3}(?!\d$)|\d+/g) ?? [])].filter(Boolean).join(' ')) : NONE;

/** A duration as 1:05 or 2:01:05. @param {number|null|undefined} ms */
export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NONE;
  const all = Math.max(0, Math.floor(ms / 1000));
  const seconds = String(all % 60).padStart(2, '0');
  const minutes = Math.floor(all / 60) % 60;
  const hours = Math.floor(all / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${seconds}` : `${minutes}:${seconds}`;
}

/** The time since an instant; unknown when either time is. */
export const since = (ms, now) => (ms === null || ms === undefined || now === null ? NONE : span(now - ms));

/** A name that a program made, for people: ServiceLevelThreshold → Service level threshold. */
export function spaced(name) {
  const words = name.replace(/_/g, ' ').replace(/([a-z])([A-Z])/g, (_, a, b) => `${a} ${b.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The name of a routing parameter or of one of its values, in this language where it is a published one. */
export const parameterName = (name) => tOr(`parameter.${name}`, spaced(name));

/** A refusal in words, and after how long to try again. @param {import('./oscc-client.js').GatewayError|null} */
export function refusal(error) {
  const text = refused(error);
  const waitS = Math.ceil(error?.retryAfterS ?? 0);
  if (waitS > LONG_S) return `${text} ${t('again.in.minutes', Math.ceil(waitS / 60))}`;
  return waitS ? `${text} ${t('again.in', waitS)}` : text;
}

/** A refusal in words: ours, else the gateway's. @param {import('./oscc-client.js').GatewayError|null} */
export function refused(error) {
  if (!error) return t('error.unknown');
  const more = error.details ?? {};
  if (error.unreachable || more.unreachable) return t('error.unreachable');
  const down = more.function && tOr(`function.${more.function}`, spaced(more.function));
  return has(`error.${error.code}`)
    ? t(`error.${error.code}`, {...more, function: down})
    : error.message || error.code;
}

/** Compare two names as a person of this language would. */
export const byName = (a, b) => (a ?? '').localeCompare(b ?? '', language, {numeric: true});

// ---- the page ----

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
    if (child !== null && child !== undefined && child !== false)
      made.append(typeof child === 'string' ? isolated(child) : child);
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
export const settingsButton = (act) =>
  h(
    'button',
    {type: 'button', class: 'quiet square', 'aria-label': t('settings'), title: t('settings'), onclick: act},
    icon('more'),
  );
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

/** A countdown to an instant, with its words. */
export const left = (until) => [
  `${t('post.left.before')} `,
  h('time', {'data-until': until}),
  ` ${t('post.left.after')}`,
];

/** Set the differing text or attribute, and no other. */
export function put(node, text) {
  const shown = isolated(text);
  if (node.textContent !== shown) node.textContent = shown;
}
export function attribute(node, name, value) {
  if (value === null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? '' : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}
/** Let a control be used, or not. It keeps its place in the order of the keyboard, and the focus. */
export const able = (control, on) => attribute(control, 'aria-disabled', on ? null : 'true');

const guard = (event) => {
  const off = event.target.closest?.('[aria-disabled="true"]');
  // a list that drops down opens before it is clicked
  if (!off || (event.type !== 'click' && !(off.matches('select') && event.key !== 'Tab'))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
};
for (const name of ['click', 'mousedown', 'keydown']) addEventListener(name, guard, true);

const REACHED = 'a[href], button, input, select, summary, [tabindex="0"]';
const visible = (node) => node.isConnected && node.getClientRects().length > 0;
// the picture of a row that leaves is inert: it takes no focus
const takesFocus = (node) => visible(node) && !node.closest('[inert]');
const reached = (root) => [...root.querySelectorAll(REACHED)].filter(takesFocus);
/** The name of a control, by which it is found after it was made again. */
const called = (node) => node.id || node.getAttribute('aria-label') || node.textContent;

/**
 * Remember where the focus is.
 * @returns {() => void} when it has been lost since: gives it back, to the new one of the same control, or to the
 *   one that is nearest to where it was
 */
export function bookmark() {
  const held = document.activeElement;
  const name = called(held);
  const way = [];
  for (let node = held.parentElement; node && !node.matches('body, #app'); node = node.parentElement)
    way.push([node, Math.max(0, reached(node).indexOf(held))]);
  return () => {
    const now = document.activeElement;
    if (now && now !== document.body && now !== held) return;
    if (visible(held)) return void held.focus({preventScroll: true});
    for (const [node, place] of way) {
      const there = visible(node) ? reached(node) : [];
      const same = there.filter((each) => called(each) === name);
      const far = (each) => Math.abs(there.indexOf(each) - place);
      const [to] = [...(same.length ? same : there)].sort((a, b) => far(a) - far(b));
      if (to) return void to.focus({preventScroll: true});
    }
  };
}

/** Change what is in *node*; who has the focus inside stays there, or near. */
export function change(node, act) {
  const back = node.contains(document.activeElement) ? bookmark() : null;
  act();
  back?.();
}

export const shown = (node, on) => {
  if (node.hidden === on) change(node, () => (node.hidden = !on));
};

/** Replace children only when what they are made of has changed. @param {Element} node @param {any} of */
export function fill(node, of, make) {
  const told = JSON.stringify(of) ?? '';
  if (node.madeOf === told) return;
  node.madeOf = told;
  change(node, () => node.replaceChildren(...[make()].flat(3).filter(Boolean)));
}

/** Draw another page: reading and typing begin at its top. @param {Element} page */
export function turnTo(page, app = document.getElementById('app')) {
  app.replaceChildren(page);
  const head = page.querySelector('h1, main') ?? page;
  head.setAttribute('tabindex', '-1');
  head.focus({preventScroll: true});
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

/** Announce a text to a screen reader; while a dialog is open, only what is in it is announced. */
export function say(text) {
  const places = document.querySelectorAll('#say, dialog[open] > .say');
  const line = h('p', {}, text);
  places[places.length - 1].append(line);
  setTimeout(() => line.remove(), SAID_MS);
}

/** Show a message for some seconds. @param {'done'|'bad'|'info'} kind @returns {HTMLElement} what is shown */
export function toast(text, kind = 'info') {
  const name = {done: 'ok', bad: 'attention', info: 'notice'}[kind];
  const made = h('div', {class: `toast ${kind}`}, icon(name), h('span', {}, text));
  const place = document.getElementById('toasts');
  place.append(made);
  // above whatever dialog is open; what was hidden just now is not read aloud
  place.hidePopover?.();
  place.showPopover?.();
  say(text);
  setTimeout(() => made.remove(), kind === 'bad' ? 9000 : SAID_MS);
  return made;
}
