/** An agent's skills, and their editor. */
import {edit, numberControl} from './edit.js';
import {able, button, byName, fill, h, num, shown, t} from './ui.js';

export class Skills {
  constructor(live) {
    Object.assign(this, {live, id: null});
    this.list = h('ul', {class: 'skills'});
    this.edit = button(t('skills.edit'), () => this.change(), 'small');
    this.element = h('section', {class: 'part'}, h('h3', {}, t('skills'), this.edit), this.list);
  }

  get key() {
    return `agent:${this.id}`;
  }

  draw(id, agent) {
    const {live} = this;
    this.id = id;
    const known = (agent.skills ?? [])
      .map((skill) => [live.skill(skill.skill_id), skill, entryOf(live, skill.skill_id).level_max ?? 100])
      .sort((a, b) => byName(a[0], b[0]));
    fill(this.list, known, () => {
      return known.length
        ? known.map(([name, skill, most]) =>
            h(
              'li',
              {'data-active': String(skill.active !== false)},
              h('span', {}, name),
              meter(skill.level, most),
              h('b', {}, num(skill.level)),
              h('small', {class: 'muted'}, skill.active === false ? t('skill.inactive') : preferenceText(skill)),
            ),
          )
        : h('li', {class: 'muted'}, t('skills.none'));
    });
    shown(this.edit, live.may('agent.skills.set', 'skills_write'));
    able(this.edit, !live.frozen);
  }

  change() {
    const {live, key, id} = this;
    const held = () =>
      new Map(
        (live.get(key)?.skills ?? []).map(
          ({skill_id: skill, level = null, preference = null, active = true}) => [
            skill,
            {level, preference, active},
          ],
        ),
      );
    const what = t('skills.of', live.get(key)?.display_name ?? id);
    const item = (skill, value, before) => ({
      id: skill,
      label: live.skill(skill),
      before,
      control: this.control(skill, value),
    });
    const there = new Set(held().keys());
    edit(live, {
      key,
      title: what,
      what,
      kind: 'agent.skills.set',
      items: () =>
        [...held()]
          .sort(([a], [b]) => byName(live.skill(a), live.skill(b)))
          .map(([skill, value]) => item(skill, value, value)),
      extra: (add) => {
        const others = () =>
          live
            .catalogue('skills')
            .filter(({skill_id: skill}) => !there.has(skill))
            .sort((a, b) => byName(a.name, b.name));
        const select = h('select', {
          'aria-label': t('skill.add'),
          onchange: () => {
            const chosen = others().find(({skill_id: skill}) => skill === select.value);
            there.add(chosen.skill_id);
            add(
              item(
                chosen.skill_id,
                {level: chosen.level_max ?? 100, preference: chosen.preference_min ?? null, active: true},
                undefined,
              ),
            );
            draw();
          },
        });
        const draw = () =>
          select.replaceChildren(
            h('option', {value: ''}, `+ ${t('skill.add')}`),
            ...others().map(({skill_id: value, name}) => h('option', {value}, name)),
          );
        draw();
        return select;
      },
      text: (value) =>
        value === null
          ? t('skill.removed')
          : [num(value.level), preferenceText(value), value.active === false && t('skill.inactive')]
              .filter(Boolean)
              .join(', '),
      now: (skill) => held().get(skill),
      of: ({skill_id: skill}) => skill,
      args: (changes) => ({
        agent_id: id,
        mode: 'patch',
        changes: [...changes].map(([skill, value]) =>
          value === null ? {skill_id: skill, level: null} : {skill_id: skill, ...value},
        ),
      }),
    });
  }

  /** The controls of one skill: level, preference where the server has any, active, remove. */
  control(skill, value) {
    const {
      level_min: min,
      level_max: max,
      preference_min: low = null,
      preference_max: high = null,
      name = skill,
    } = entryOf(this.live, skill);
    const level = numberControl(`${name}: ${t('skill.level')}`, value.level, {min, max, step: 1});
    const preference = numberControl(`${name}: ${t('skill.preference.word')}`, value.preference, {
      min: low,
      max: high,
      step: 1,
    });
    const active = h('input', {
      type: 'checkbox',
      'aria-label': `${name}: ${t('skill.active')}`,
      checked: value.active !== false,
    });
    const removed = h('input', {
      type: 'checkbox',
      'aria-label': `${name}: ${t('skill.remove')}`,
      onchange: () => {
        for (const input of [level.input, preference.input, active]) input.disabled = removed.checked;
      },
    });
    const part = (text, element) => h('label', {class: 'part-field'}, h('small', {}, text), element);
    return {
      element: h(
        'span',
        {class: 'skill-edit'},
        part(t('skill.level'), level.input),
        low === null && high === null && value.preference === null
          ? null
          : part(t('skill.preference.word'), preference.input),
        h('label', {class: 'check small'}, active, h('span', {}, t('skill.active'))),
        h('label', {class: 'check small'}, removed, h('span', {}, t('skill.remove'))),
      ),
      read: () =>
        removed.checked
          ? null
          : {level: level.read(), preference: preference.read() ?? null, active: active.checked},
      valid: () =>
        removed.checked || (level.valid() && (preference.input.value === '' || preference.valid())),
    };
  }
}

/** The catalogue's entry of a skill; empty: it is not known. */
const entryOf = (live, skill) => live.catalogue('skills').find((each) => each.skill_id === skill) ?? {};

/** Not every server has preferences. */
const preferenceText = ({preference}) => (preference == null ? '' : t('skill.preference', num(preference)));

/** A bar for a level; *most*: the highest level of its skill. */
function meter(level, most) {
  const bar = h('i');
  if (level == null) return h('span', {});
  bar.style.transform = `scaleX(${Math.max(0, Math.min(1, level / most))})`;
  return h('span', {class: 'meter', 'aria-hidden': 'true'}, bar);
}
