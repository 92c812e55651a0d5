/** Post-processing: the time left, its buttons, and wrap-up reasons. */
import {tellOutcome} from './states.js';
import {able, attribute, button, clock, fill, h, put, refusal, shown, t, toast} from './ui.js';

const STEP_MS = 30_000;

const isRunning = (agent) => agent.post_processing != null;

export class PostProcessing {
  constructor(live) {
    this.live = live;
    this.chosen = new Set();
    this.filled = h('i');
    this.bar = h('div', {class: 'bar', 'aria-hidden': 'true'}, this.filled);
    this.then = h('p', {class: 'post-then', hidden: true});
    this.wrapUp = h('div', {class: 'chips', role: 'group', 'aria-label': t('post.wrapup')});
    this.hint = h('p', {class: 'post-hint', hidden: true, role: 'alert'});
    this.done = button(t('post.done'), () => this.finish(), 'primary');
    this.more = button(t('post.more'), () => this.extend());
    this.acts = h('div', {class: 'post-acts'}, this.done, this.more);
    this.element = h(
      'div',
      {class: 'post', hidden: true},
      this.acts,
      h('div', {class: 'post-words'}, this.then, this.hint),
      this.wrapUp,
    );
  }

  draw(key, agent) {
    const {live} = this;
    this.key = key;
    this.now = agent.post_processing ?? null;
    shown(this.element, this.now !== null);
    attribute(this.bar, 'data-runs', this.now !== null);
    if (!this.now) {
      this.chosen.clear();
      shown(this.hint, false);
      return;
    }
    const then = agent.pending_routing_state ? null : this.now.next_state;
    put(this.then, then ? t('post.then', t(`state.${then}`)) : '');
    shown(this.then, Boolean(then));
    const actions = agent.allowed_actions ?? [];
    const may = (command) => live.may(`post_processing.${command}`, 'own_post_processing');
    const can = (action) => !live.frozen && actions.includes(action) && live.asked(key) === null;
    // an Asterisk ends the wrap-up of its queues itself: what nobody may do there is left out
    shown(this.done, may('finish'));
    shown(this.more, may('extend'));
    shown(this.acts, may('finish') || may('extend'));
    able(this.done, can('finish_post_processing'));
    able(this.more, can('extend_post_processing') && this.now.extendable !== false);
    fill(this.wrapUp, [live.reasons('wrapup'), [...this.chosen]], () =>
      live
        .reasons('wrapup')
        .map(({reason_id: id, name}) =>
          h(
            'button',
            {
              type: 'button',
              class: 'chip',
              'aria-pressed': String(this.chosen.has(id)),
              onclick: () => this.toggle(id),
            },
            name,
          ),
        ),
    );
    this.second();
  }

  toggle(id) {
    if (!this.chosen.delete(id)) this.chosen.add(id);
    shown(this.hint, false);
    this.live.touch(this.key);
  }

  /** How much of it is left. */
  second() {
    if (!this.now) return;
    const {since_ms: from, ends_at_ms: until} = this.now;
    const at = this.live.now();
    const left =
      from == null || until == null || at === null
        ? 1
        : Math.max(0, Math.min(1, (until - at) / (until - from)));
    this.filled.style.transform = `scaleX(${left.toFixed(3)})`;
    attribute(this.element, 'data-short', until != null && at !== null && until - at < 10_000);
  }

  start() {
    const needed = (agent) => agent.post_processing == null && agent.contacts?.length > 0;
    return this.ask('post_processing.start', {}, t('post.start'), needed);
  }

  async extend() {
    const outcome = await this.ask(
      'post_processing.extend',
      {until_ms: this.now.ends_at_ms + STEP_MS},
      t('post.more'),
      isRunning,
    );
    const limit = outcome.error?.details?.until_ms;
    if (limit) toast(t('post.limit', clock(limit)));
  }

  async finish() {
    const wrapUp = [...this.chosen];
    const args = wrapUp.length ? {wrap_up_reason_ids: wrapUp} : {};
    const outcome = await this.live.ask('post_processing.finish', args, {
      key: this.key,
      what: t('post.finished'),
      needed: isRunning,
    });
    if (outcome.error?.code === 'wrap_up_reason_required') {
      this.hint.textContent = refusal(outcome.error);
      shown(this.hint, true);
    } else tellOutcome(outcome, t('post.finished'));
  }

  async ask(kind, args, what, needed) {
    const outcome = await this.live.ask(kind, args, {key: this.key, what, needed});
    return outcome.error?.code === 'limit_reached' ? outcome : tellOutcome(outcome, what);
  }
}
