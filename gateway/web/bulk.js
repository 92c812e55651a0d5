/** Set the state of several agents at once: choose, review, and show the refused ones. */
import {dialog, settle} from './dialog.js';
import {allowed, pickReason, stateOf, withReason} from './states.js';
import {able, button, byName, h, icon, isolated, NONE, put, refusal, t, toast} from './ui.js';

const COMMAND = 'agent.routing_state.set';
const STATES = ['available', 'unavailable', 'work'];
const MOST = 50;
/** The number of commands in progress at a time. */
const AT_ONCE = 4;

/** Whether an agent's state may be set to another one now, without waiting for a contact. */
const fits = (live, agent, state) =>
  Boolean(agent) &&
  agent.routing_state !== state &&
  !agent.handling?.length &&
  allowed(live, agent, COMMAND, state);

/** Choose among these agents. @param {string[]} keys as they are listed */
export function several(live, keys) {
  new Bulk(live, keys).choose();
}

/** Review at once. @param {string[]} keys */
export function setAll(live, keys, state) {
  const made = new Bulk(live, keys);
  made.state = state;
  made.chosen = new Set(keys);
  made.review();
}

class Bulk {
  constructor(live, keys) {
    Object.assign(this, {live, keys, state: 'available', reason: null, chosen: new Set(), closed: false});
    this.body = h('div', {class: 'stack'});
    this.dialog = dialog({title: t('bulk'), body: this.body, onclose: () => (this.closed = true)});
  }

  name = (key) => this.live.get(key)?.display_name ?? NONE;
  now(key) {
    const agent = this.live.get(key) ?? {};
    return withReason(stateOf(agent).text, this.live.reason(agent.reason_id));
  }

  step(nodes, ...buttons) {
    this.body.replaceChildren(...[nodes].flat().filter(Boolean), h('div', {class: 'step-foot'}, buttons));
    const {element} = this.dialog;
    settle(this.body);
    element.querySelector('.body').scrollTop = 0;
    (this.body.querySelector(':scope > [tabindex]') ?? element.querySelector('h2')).focus();
  }

  choose() {
    const {live} = this;
    const fitting = this.keys.filter((key) => fits(live, live.get(key), this.state)).slice(0, MOST);
    this.chosen = new Set([...this.chosen].filter((key) => fitting.includes(key)));
    const state = h(
      'select',
      {
        id: 'bulk-state',
        onchange: () => {
          this.state = state.value;
          this.choose();
        },
      },
      STATES.map((each) => h('option', {value: each}, t(`state.${each}`))),
    );
    state.value = this.state;
    const go = button(t('edit.review'), () => this.chosen.size && this.reasoned(), 'primary');
    const counted = () => {
      put(total, t('bulk.chosen', this.chosen.size, fitting.length));
      able(go, this.chosen.size > 0);
    };
    const total = h('p', {class: 'muted', tabindex: '-1'});
    const boxes = fitting.map((key) => {
      const box = h('input', {
        type: 'checkbox',
        checked: this.chosen.has(key),
        onchange: () => {
          if (box.checked) this.chosen.add(key);
          else this.chosen.delete(key);
          counted();
        },
      });
      return h('label', {class: 'check'}, box, h('span', {}, this.name(key), h('small', {}, this.now(key))));
    });
    this.step(
      [
        total,
        h('div', {class: 'field'}, h('label', {for: 'bulk-state'}, t('bulk.state')), state),
        h('div', {class: 'bulk-list'}, boxes.length ? boxes : h('p', {class: 'muted'}, t('bulk.none'))),
      ],
      button(t('cancel'), this.dialog.close),
      go,
    );
    counted();
  }

  /** Ask for a reason where the state needs one: it is the same for all. */
  async reasoned() {
    if (this.live.needsReason(this.state)) {
      this.reason = (await pickReason(this.live, this.state)) ?? null;
      if (this.reason === null) return;
    } else this.reason = null;
    this.review();
  }

  get wish() {
    return withReason(t(`state.${this.state}`), this.reason && this.live.reason(this.reason));
  }

  review() {
    const keys = [...this.chosen].sort((a, b) => byName(this.name(a), this.name(b)));
    const heads = ['edit.what', 'edit.before', 'edit.after'].map((name) => h('th', {scope: 'col'}, t(name)));
    const lines = keys.map((key) =>
      h(
        'tr',
        {},
        h('th', {scope: 'row'}, this.name(key)),
        h('td', {}, this.now(key)),
        h('td', {class: 'new'}, this.wish),
      ),
    );
    this.step(
      [
        h('p', {class: 'muted', tabindex: '-1'}, t('edit.review.text')),
        h('table', {class: 'diff'}, h('thead', {}, h('tr', {}, heads)), h('tbody', {}, lines)),
      ],
      button(t('edit.back'), () => this.choose()),
      button(t('bulk.apply', keys.length, this.wish), (event) => this.send(keys, event.currentTarget), 'primary'),
    );
  }

  /** Send one command with its own key for each agent, so that a refusal of one does not affect others. */
  async send(keys, pressed) {
    if (this.live.frozen) {
      toast(t('edit.frozen'), 'bad');
      return;
    }
    able(pressed, false);
    const wish = this.wish;
    const left = [...keys];
    const failed = [];
    const work = async () => {
      for (let key = left.shift(); key !== undefined; key = left.shift()) {
        const {status, error} = await this.set(key, wish);
        if (status === 'rejected') failed.push([key, refusal(error)]);
        else if (status === 'unknown') failed.push([key, t('outcome.unknown.long')]);
      }
    };
    await Promise.all(Array.from({length: AT_ONCE}, work));
    const done = t('bulk.done', keys.length - failed.length, wish);
    if (!failed.length) {
      this.dialog.close();
      toast(done, 'done');
    } else if (this.closed) toast(t('bulk.failed', failed.length), 'bad');
    else this.result(done, failed);
  }

  set(key, wish) {
    const {state, reason} = this;
    return this.live.ask(
      COMMAND,
      {agent_id: key.slice(6), state, when: 'now', ...(reason ? {reason_id: reason} : {})},
      {key, what: `${isolated(this.name(key))} → ${wish}`, wants: state},
    );
  }

  /** The agents whose state was not set, with the reasons. */
  result(done, failed) {
    this.chosen = new Set(failed.map(([key]) => key));
    this.step(
      [
        h('p', {tabindex: '-1'}, `${done} ${t('bulk.failed', failed.length)}`),
        h(
          'ul',
          {class: 'bulk-failed'},
          failed.map(([key, why]) =>
            h('li', {}, icon('attention'), h('span', {}, h('strong', {}, this.name(key)), ` · ${why}`)),
          ),
        ),
      ],
      button(t('close'), this.dialog.close),
      button(t('edit.back'), () => this.choose()),
    );
  }
}
