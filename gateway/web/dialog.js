/** Dialogs, and sheets on a phone. */
import {able, bookmark, button, h, icon, t} from './ui.js';

const SETTLE_MS = 400;
let tapped = -Infinity;
addEventListener('pointerdown', () => (tapped = performance.now()), {capture: true, passive: true});
/** @type {Set<() => void>} */
const held = new Set();
const typed = () => {
  tapped = -Infinity;
  for (const free of [...held]) free();
};
addEventListener('keydown', typed, {capture: true, passive: true});

/**
 * Make new content inactive for a moment, so that the second tap of a double tap presses nothing in it. A key
 * ends this.
 * @param {Element} root
 */
export function settle(root) {
  if (performance.now() - tapped > SETTLE_MS) return;
  const there = [...root.querySelectorAll('.pick, footer button, .step-foot button')];
  const waiting = there.filter((each) => !each.hasAttribute('aria-disabled'));
  const hold = (on) => {
    for (const each of waiting) {
      able(each, !on);
      each.toggleAttribute('data-settling', on);
    }
  };
  const free = () => {
    if (held.delete(free)) hold(false);
  };
  held.add(free);
  hold(true);
  setTimeout(free, SETTLE_MS);
}

/**
 * Open a dialog; on a phone it is a sheet at the lower edge. Focus stays inside and returns afterwards. A
 * tap beside it closes it, unless it has something that the person has typed or chosen.
 * @param {{title: string, body: any, onclose?: () => void,
 *   actions?: {label: string, kind?: string, run?: () => any}[]}} what
 *   an action that returns false (or a promise of it) keeps the dialog open
 * @returns {{element: HTMLDialogElement, close: () => void}}
 */
export function dialog({title, body, actions = [], onclose}) {
  const id = `d${Math.random().toString(36).slice(2)}`;
  const back = bookmark();
  const close = () => element.close();
  const foot = actions.map(({label, kind, run}) =>
    button(
      label,
      async (event) => {
        const pressed = event.currentTarget;
        able(pressed, false);
        const kept = (await run?.()) === false;
        able(pressed, true);
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
        icon('close'),
      ),
    ),
    h('div', {class: 'body'}, body),
    foot.length ? h('footer', {}, foot) : null,
    h('div', {class: 'sr say', role: 'log', 'aria-live': 'polite'}),
  );
  element.addEventListener('close', () => {
    element.remove();
    back();
    onclose?.();
  });
  const opened = performance.now();
  let beside = false;
  element.addEventListener('pointerdown', ({target}) => {
    beside = target === element && performance.now() - opened > SETTLE_MS;
  });
  element.addEventListener('click', ({target}) => {
    if (beside && target === element && !element.querySelector('input, select, .diff')) close();
  });
  document.body.append(element);
  element.showModal();
  settle(element);
  (element.querySelector('[autofocus]') ?? element.querySelector('h2')).focus();
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
          options.map(({value, label, name}, place) =>
            h(
              'button',
              {
                type: 'button',
                class: 'pick',
                autofocus: place === 0,
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
