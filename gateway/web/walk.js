/** Three hints on the first start, and the legend of the signs. */
import {dialog} from './dialog.js';
import {ICONS, stateIcon} from './states.js';
import {button, h, icon, put, say, shown, t} from './ui.js';

const HINTS = 3;
const LEVELS = ['attention', 'action'];
const LINKS = {live: 'live', stale: 'stale', lost: 'down'};

/** Show three hints on the first start, one at a time, above the page and without covering anything. */
export function walk(shell) {
  const {application} = shell.session;
  let place = 1;
  const text = h('p', {});
  const next = button('', () => (place < HINTS ? draw(place + 1) : end()), 'small');
  const end = () => {
    shell.choose({walked: true});
    element.remove();
    shell.place.focus({preventScroll: true});
  };
  const skip = h(
    'button',
    {type: 'button', class: 'quiet square', 'aria-label': t('walk.skip'), title: t('walk.skip'), onclick: end},
    icon('close'),
  );
  const element = h('div', {class: 'banner info walk'}, icon('notice'), text, next, skip);
  const draw = (wanted) => {
    place = wanted;
    put(text, `${place}/${HINTS} · ${t(`walk.${application}.${place}`)}`);
    put(next, t(place < HINTS ? 'walk.next' : 'walk.end'));
    if (place > 1) say(text.textContent);
  };
  draw(1);
  return element;
}

const line = (mark, text) => h('li', {}, mark, h('span', {}, text));
const part = (title, lines) => h('section', {}, h('h3', {}, title), h('ul', {class: 'legend'}, lines));

/** The legend of the signs. */
export function legend() {
  dialog({
    title: t('legend'),
    body: h(
      'div',
      {class: 'stack'},
      part(
        t('agents.states'),
        Object.keys(ICONS).map((name) => line(stateIcon(name), t(`state.${name}`))),
      ),
      part(
        t('tab.queues'),
        [...LEVELS.map((name) => line(icon(name), t(`level.${name}`))), line(icon('pin'), t('legend.pin'))],
      ),
      part(
        t('legend.more'),
        [
          ...Object.entries(LINKS).map(([mode, mark]) => line(icon(mark), t(`mode.${mode}`))),
          line(icon('next'), t('legend.next')),
          line(icon('wait'), t('legend.wait')),
        ],
      ),
    ),
  });
}
