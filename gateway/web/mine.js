/** The agent's own queues, number, automatic post-processing, figures of the day, and log-off. */
import {NAMES} from './levels.js';
import {outcomeText} from './acts.js';
import {tellOutcome, tick, timer} from './states.js';
import {dialog} from './dialog.js';
import {
  able,
  attribute,
  button,
  byName,
  clock,
  dotted,
  fill,
  h,
  icon,
  NONE,
  num,
  phone,
  put,
  refusal,
  shown,
  span,
  t,
  toast,
  tOr,
  whole,
} from './ui.js';

const DURATIONS_S = [15, 30, 45, 60, 90, 120, 180, 300];
const ACTS_SHOWN = 5;

export class Mine {
  constructor(live, shell) {
    Object.assign(this, {live, shell});
    this.queues = h('ul', {class: 'my-queues data'});
    this.number = h('strong', {class: 'number'}, NONE);
    this.change = button(t('change'), () => this.changeNumber(), 'small', {'aria-label': t('number.change')});
    this.auto = h('input', {
      type: 'checkbox',
      role: 'switch',
      id: 'auto-post',
      onchange: () => this.setAuto(),
    });
    this.duration = h('select', {'aria-label': t('auto.duration'), onchange: () => this.setAuto()});
    this.autoPart = h(
      'section',
      {class: 'card row'},
      h('label', {for: 'auto-post', class: 'grow'}, h('h2', {}, t('auto.title'))),
      this.duration,
      this.auto,
    );
    this.facts = h('dl', {class: 'figures data'});
    this.media = h('dl', {class: 'facts one data'});
    this.acts = h('ol', {class: 'act-list'});
    this.element = h(
      'div',
      {class: 'mine'},
      this.autoPart,
      h('section', {class: 'card'}, h('h2', {}, t('my.queues')), this.queues),
      h(
        'section',
        {class: 'card row'},
        icon('phone'),
        h('div', {class: 'grow'}, h('h2', {}, t('number.title')), this.number),
        this.change,
      ),
      h('section', {class: 'card'}, h('h2', {}, t('agent.today')), this.facts, this.media),
      button(t('log.off'), () => shell.logOff(), 'wide'),
      h('section', {class: 'card'}, h('h2', {}, t('tab.activity')), this.acts),
    );
  }

  get key() {
    return `agent:${this.live.me.agent}`;
  }

  draw() {
    const {live} = this;
    const agent = live.get(this.key) ?? {};
    this.drawQueues(agent);
    put(this.number, phone(live.me.remote_number));
    shown(this.change, live.may('remote_number.change'));
    able(this.change, !live.frozen && (agent.allowed_actions ?? []).includes('change_remote_number'));
    this.drawAuto(agent);
    fill(this.facts, [agent.handled_today, agent.talk_s_today], () => [
      figure(t('agent.handled'), num(agent.handled_today)),
      figure(t('agent.talk'), agent.talk_s_today == null ? NONE : span(agent.talk_s_today * 1000)),
    ]);
    const media = Object.entries(agent.media ?? {}).filter(([, state]) => state !== 'off');
    fill(
      this.media,
      media,
      () =>
        media.length > 0 &&
        h(
          'div',
          {},
          h('dt', {}, t('media.mine')),
          h(
            'dd',
            {},
            media
              .map(
                ([name, state]) =>
                  tOr(`media.${name}`, name) + (state === 'on' ? '' : ` (${t(`media.is.${state}`)})`),
              )
              .join(', '),
          ),
        ),
    );
    const acts = live.acts.slice(0, ACTS_SHOWN);
    fill(
      this.acts,
      acts.map((act) => [act.at, outcomeText(act)]),
      () =>
        acts.length
          ? acts.map((act) =>
              h(
                'li',
                {},
                h('time', {class: 'muted'}, clock(act.at)),
                h('span', {}, dotted(act.what, outcomeText(act))),
              ),
            )
          : h('li', {class: 'muted'}, t('acts.empty')),
    );
    tick(this.element, live.now());
  }

  drawQueues(agent) {
    const mine = (agent.queue_ids ?? [])
      .map((id) => this.live.get(`queue:${id}`))
      .filter(Boolean)
      .sort(
        (a, b) =>
          (b.contacts_waiting ?? -1) - (a.contacts_waiting ?? -1) || byName(a.name ?? '', b.name ?? ''),
      );
    fill(
      this.queues,
      [this.live.whole, mine.map((queue) => [queue.name, queue.contacts_waiting, queue.oldest_since_ms, queue.level])],
      () =>
        mine.length
          ? mine.map((queue) => {
              const level = NAMES.includes(queue.level) ? queue.level : 'ok';
              return h(
                'li',
                {'data-level': level},
                icon(level, 'mark'),
                h(
                  'span',
                  {class: 'grow'},
                  queue.name ?? NONE,
                  h('span', {class: 'sr'}, ` ${t(`level.${level}`)}`),
                ),
                h(
                  'span',
                  {class: 'my-wait'},
                  h('b', {}, whole(queue.contacts_waiting)),
                  h('small', {class: 'muted'}, t('q.waiting')),
                ),
                h(
                  'span',
                  {class: 'my-wait'},
                  timer(queue.oldest_since_ms),
                  h('small', {class: 'muted'}, t('q.longest')),
                ),
              );
            })
          : h('li', {class: 'muted'}, this.live.whole ? t('queues.none') : NONE),
    );
  }

  second() {
    tick(this.queues, this.live.now());
  }

  // ---- automatic post-processing ----

  drawAuto(agent) {
    const {live} = this;
    const {on = false, duration_s: seconds = null} = agent.auto_post_processing ?? {};
    shown(
      this.autoPart,
      live.may('post_processing.set_auto', 'own_post_processing') && Boolean(agent.auto_post_processing),
    );
    const offered = [...new Set([...DURATIONS_S, seconds])]
      .filter((each) => each !== null)
      .sort((a, b) => a - b);
    fill(this.duration, offered, () =>
      offered.map((each) => h('option', {value: String(each)}, t('seconds', whole(each)))),
    );
    if (document.activeElement !== this.duration) this.duration.value = String(seconds);
    this.auto.checked = on === true;
    attribute(this.auto, 'aria-checked', String(on === true));
    for (const each of [this.auto, this.duration]) able(each, !live.frozen && live.asked(this.key) === null);
  }

  async setAuto() {
    const what = t('auto.title');
    const on = this.auto.checked;
    const duration = this.duration.value ? {duration_s: Number(this.duration.value)} : {};
    const wanted = Object.entries({on, ...duration});
    const needed = ({auto_post_processing: is}) => wanted.some(([name, value]) => is?.[name] !== value);
    tellOutcome(
      await this.live.ask(
        'post_processing.set_auto',
        {on, ...duration},
        {key: this.key, what, needed},
      ),
      what,
    );
    this.live.touch(this.key);
  }

  // ---- the number ----

  changeNumber() {
    const {live, shell} = this;
    const {kept} = shell.doors;
    const input = h('input', {
      id: 'new-number',
      type: 'tel',
      inputmode: 'tel',
      autocomplete: 'tel',
      autofocus: true,
      'aria-describedby': 'own-number',
      value: '',
      onkeydown: ({key}) => {
        if (key === 'Enter') input.closest('dialog').querySelector('.primary').click();
      },
    });
    const problem = h('p', {class: 'problem', role: 'alert', hidden: true});
    const hint = h('p', {class: 'hint', id: 'own-number'}, icon('phone'), h('span', {}, t('number.own')));
    const recent = kept.numbers.map((number) =>
      h(
        'button',
        {
          type: 'button',
          class: 'chip',
          onclick: () => {
            input.value = number;
          },
        },
        number,
      ),
    );
    dialog({
      title: t('number.change'),
      body: [
        h('p', {}, t('number.now'), ' ', h('strong', {}, phone(live.me.remote_number))),
        h('div', {class: 'field'}, h('label', {for: 'new-number'}, t('field.number')), input),
        h('div', {class: 'chips'}, recent),
        // the one replaces the other, so that the sheet does not grow
        h('div', {class: 'by-turns'}, problem, hint),
      ],
      actions: [
        {label: t('cancel')},
        {
          label: t('number.change'),
          kind: 'primary',
          run: async () => {
            const number = input.value.trim();
            if (!number) {
              input.focus();
              return false;
            }
            const outcome = await live.ask(
              'remote_number.change',
              {number},
              {key: this.key, what: t('number.change')},
            );
            if (outcome.status === 'rejected' || outcome.status === 'unknown') {
              problem.replaceChildren(
                icon('attention'),
                h(
                  'span',
                  {},
                  outcome.status === 'unknown' ? t('outcome.unknown.long') : refusal(outcome.error),
                ),
              );
              shown(hint, false);
              shown(problem, true);
              const ofNumber = outcome.error?.code?.startsWith('remote_number');
              attribute(input, 'aria-invalid', ofNumber ? 'true' : null);
              input.focus();
              return false;
            }
            toast(`${t('number.change')}: ${t(`outcome.${outcome.status}`)}`, 'done');
            kept.used(number);
            return true;
          },
        },
      ],
    });
  }
}

const figure = (label, value) => h('div', {class: 'big'}, h('dt', {}, label), h('dd', {}, value));
