/** The list of the person's commands and their outcomes, for as long as the page is open. Nothing is stored. */
import {button, clock, fill, h, icon, refusal, t, toast} from './ui.js';

const MARKS = {
  sent: 'wait',
  pending: 'wait',
  applied: 'ok',
  came: 'ok',
  unchanged: 'ok',
  rejected: 'close',
  dropped: 'close',
  undone: 'close',
  replaced: 'close',
  unknown: 'unknown',
};

/** The outcome of a command, as one word of MARKS. */
const standing = ({outcome, after}) => after ?? outcome?.status ?? 'sent';

/** The outcome of a command, as text. */
export function outcomeText(act) {
  const text = t(`outcome.${standing(act)}`);
  return act.outcome?.error && act.outcome.status === 'rejected'
    ? `${text}: ${refusal(act.outcome.error)}`
    : text;
}

export class Acts {
  constructor(live, go) {
    Object.assign(this, {live, go});
    this.list = h('ol', {class: 'act-list'});
    this.element = h(
      'section',
      {class: 'pane activity', 'aria-label': t('tab.activity')},
      h('header', {class: 'pane-head'}, h('h2', {tabindex: '-1'}, t('tab.activity'))),
      h('div', {class: 'scroll', tabindex: '0'}, this.list),
    );
  }

  draw() {
    const {acts} = this.live;
    fill(
      this.list,
      acts.map((act) => [act.at, act.what, standing(act), this.live.canUndo(act)]),
      () =>
        acts.length ? acts.map((act) => this.line(act)) : h('li', {class: 'muted empty'}, t('acts.empty')),
    );
  }

  /** Focus the last command for a resource, if this list is visible. @returns {boolean} whether it is */
  returnTo(key) {
    this.list.querySelector(`[data-key="${key}"]`)?.focus();
    return this.list.contains(document.activeElement);
  }

  line(act) {
    const [kind, id] = act.key.split(':');
    const there = ['agent', 'queue', 'group'].includes(kind) && this.live.get(act.key);
    const text = h(
      'span',
      {class: 'a-main'},
      h('span', {class: 'a-name'}, act.what),
      (act.changes ?? []).map((each) => h('span', {class: 'a-line'}, t('change.line', ...each))),
      h('span', {class: 'a-line'}, outcomeText(act)),
    );
    const parts = [
      icon(MARKS[standing(act)] ?? 'unknown', `o-${standing(act)}`),
      text,
      h('time', {class: 'a-time'}, clock(act.at)),
    ];
    return h(
      'li',
      {},
      there
        ? h(
            'button',
            {type: 'button', class: 'agent', 'data-key': act.key, onclick: () => this.go({kind, id})},
            parts,
          )
        : h('div', {class: 'agent'}, parts),
      this.live.canUndo(act)
        ? button(t('undo'), () => this.undo(act), 'small', {'aria-label': t('undo.what', act.what)})
        : null,
    );
  }

  async undo(act) {
    const {status, error} = await this.live.undo(act);
    if (status === 'applied') toast(t('undo.done', act.what), 'done');
    else toast(`${t('undo.what', act.what)}: ${error ? refusal(error) : t(`outcome.${status}`)}`, 'bad');
  }
}
