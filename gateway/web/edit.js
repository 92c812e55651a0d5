/** The editor of a configuration: edit, review the differences, confirm. */
import {dialog, settle} from './dialog.js';
import {able, attribute, button, h, icon, NONE, num, refusal, t, toast} from './ui.js';

/**
 * @typedef {{id: string, label: string, help?: string, before: any,
 *   control: {element: HTMLElement, read: () => any, valid?: () => boolean, hint?: string}}} Item
 *   a value is plain data; undefined: not there
 * @typedef {{key: string, title: string, what: string, kind: string, items: () => Item[],
 *   extra?: (add: (item: Item) => void) => HTMLElement, text: (value: any, id: string) => string,
 *   now: (id: string) => any, of?: (details: object) => string|undefined, args: (changes: Map<string, any>) => object}} Spec
 */

/** Open the editor. @param {import('./live.js').Live} live @param {Spec} spec */
export function edit(live, spec) {
  new Editor(live, spec).form();
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

class Editor {
  constructor(live, spec) {
    this.live = live;
    this.spec = spec;
    this.version = live.get(spec.key)?.version;
    this.items = spec.items().map((item) => ({...item, shown: item.control.read()}));
    this.list = h(
      'div',
      {class: 'fields'},
      this.items.map((item) => this.row(item)),
    );
    this.body = h('div', {class: 'stack'});
    this.dialog = dialog({title: spec.title, body: this.body});
  }

  row({id, label, help, control}) {
    const hint = [help, control.hint].filter(Boolean).join(' ');
    return h(
      'div',
      {class: 'edit-row', 'data-id': id},
      h('span', {class: 'edit-label'}, label, hint && h('small', {class: 'muted'}, hint)),
      control.element,
    );
  }

  /** Show a step. The focus goes to its first field or text, else to the title. */
  step(nodes, ...buttons) {
    this.body.replaceChildren(...[nodes].flat().filter(Boolean), h('div', {class: 'step-foot'}, buttons));
    const {element} = this.dialog;
    settle(this.body);
    element.querySelector('.body').scrollTop = 0;
    (this.body.querySelector(':scope > [tabindex]') ?? element.querySelector('h2')).focus();
  }

  /** @param {string} [problem] @param {string|null} [of] the id of the value that was refused */
  form(problem = '', of = null) {
    for (const row of this.list.children) {
      const refused = problem !== '' && row.dataset.id === of;
      row.classList.toggle('refused', refused);
      for (const input of row.querySelectorAll('input, select'))
        attribute(input, 'aria-invalid', refused && 'true');
    }
    const add = (item) => {
      this.items.push(item);
      this.list.append(this.row(item));
    };
    this.step(
      [
        problem && this.problem(problem),
        this.list,
        this.spec.extra?.(add),
      ],
      button(t('cancel'), this.dialog.close),
      button(t('edit.review'), () => this.review(), 'primary'),
    );
    if (of !== null) this.list.querySelector('.refused')?.scrollIntoView({block: 'center'});
  }

  problem = (text) =>
    h('p', {class: 'problem', role: 'alert', tabindex: '-1'}, icon('attention'), h('span', {}, text));

  /**
   * The items that the person has changed. A value that its control cannot show, or that is beyond the bounds of the
   * catalogue, is no change of theirs; nor is one that was added and removed again.
   */
  changed() {
    return this.items.filter(({before, shown, control}) => {
      const value = control.read();
      return !same(value, before) && !same(value, shown) && !(before === undefined && value === null);
    });
  }

  /** The changed values, as id → value. */
  changes() {
    return new Map(this.changed().map(({id, control}) => [id, control.read()]));
  }

  review() {
    const wrong = this.changed().find(({control}) => control.valid && !control.valid());
    if (wrong) return;
    const changes = this.changes();
    if (!changes.size) {
      toast(t('edit.nothing'));
      return;
    }
    const lines = [...changes].map(([id, value]) => this.line(id, [this.item(id).before, value]));
    this.step(
      [
        h('p', {class: 'muted', tabindex: '-1'}, t('edit.review.text')),
        h('table', {class: 'diff'}, this.heads('edit.before', 'edit.after'), h('tbody', {}, lines)),
      ],
      button(t('edit.back'), () => this.form()),
      button(t('edit.apply', changes.size), (event) => this.send(changes, event.currentTarget), 'primary'),
    );
  }

  item(id) {
    return this.items.find((each) => each.id === id);
  }
  heads(...names) {
    return h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', {scope: 'col'}, t('edit.what')),
        names.map((name) => h('th', {scope: 'col'}, t(name))),
      ),
    );
  }
  line(id, values) {
    return h(
      'tr',
      {},
      h('th', {scope: 'row'}, this.item(id).label),
      values.map((value, place) =>
        h('td', {class: place === 1 ? 'new' : ''}, value === undefined ? NONE : this.spec.text(value, id)),
      ),
    );
  }

  async send(changes, pressed) {
    const {spec, live, version} = this;
    if (live.frozen) {
      toast(t('edit.frozen'), 'bad');
      return;
    }
    able(pressed, false);
    const texts = [...changes].map(([id, value]) => [
      this.item(id).label,
      ...[this.item(id).before, value].map((each) => (each === undefined ? NONE : spec.text(each, id))),
    ]);
    const before = new Map([...changes.keys()].map((id) => [id, this.item(id).before ?? null]));
    const {status, error} = await live.ask(
      spec.kind,
      {...spec.args(changes), if_version: version},
      {key: spec.key, what: spec.what, changes: texts, back: {args: spec.args(before), what: spec.what}},
    );
    able(pressed, true);
    if (status === 'applied' || status === 'unchanged') {
      this.dialog.close();
      toast(`${spec.what}: ${t(`outcome.${status}`)}`, 'done');
    } else if (error?.code === 'version_conflict') this.conflict(changes);
    else if (status === 'rejected') this.form(refusal(error), spec.of?.(error.details ?? {}) ?? null);
    else {
      this.dialog.close();
      toast(`${spec.what}: ${t('outcome.unknown.long')}`, 'bad');
    }
  }

  /** Resolve a conflict: show the old value, the other person's and one's own, and let the person decide. */
  conflict(changes) {
    const {spec, live} = this;
    this.version = live.get(spec.key)?.version;
    const lines = [...changes].map(([id, value]) =>
      this.line(id, [this.item(id).before, value, spec.now(id)]),
    );
    this.step(
      [
        this.problem(t('edit.conflict')),
        h(
          'table',
          {class: 'diff three'},
          this.heads('edit.before', 'edit.mine', 'edit.now'),
          h('tbody', {}, lines),
        ),
      ],
      button(t('edit.discard'), this.dialog.close),
      button(
        t('edit.anyway'),
        (event) => {
          for (const item of this.items) item.before = spec.now(item.id);
          this.send(changes, event.currentTarget);
        },
        'primary',
      ),
    );
  }
}

/** Whether a number is within its bounds; if not, say so in the language of the page: the browser may have another. */
export function fits(input, {min, max, step, unit}) {
  input.setCustomValidity('');
  const {valid, stepMismatch, rangeUnderflow, rangeOverflow} = input.validity;
  const onlyStep = stepMismatch && !rangeUnderflow && !rangeOverflow;
  if (!valid)
    input.setCustomValidity(onlyStep ? t('edit.step', num(step)) : t('error.value_out_of_range', {min, max, unit}));
  return input.reportValidity();
}

/** A number with its bounds. */
export function numberControl(label, value, {min, max, step, unit}) {
  const input = h('input', {
    type: 'number',
    'aria-label': label,
    value: value ?? '',
    min,
    max,
    step: step ?? 'any',
    required: true,
    inputmode: 'decimal',
  });
  return {
    element: input,
    hint: [
      [min == null && max == null ? '' : `${num(min)}\u00a0– ${num(max)}`, unit].filter(Boolean).join('\u00a0'),
      step > 1 && t('edit.step', num(step)),
    ]
      .filter(Boolean)
      .join(', '),
    read: () => (input.value === '' ? undefined : Number(input.value)),
    valid: () => fits(input, {min, max, step, unit}),
    input,
  };
}

export function choiceControl(label, value, options) {
  const select = h(
    'select',
    {'aria-label': label},
    options.map(([id, name], place) => h('option', {value: String(place), 'data-id': id}, name)),
  );
  select.value = String(
    Math.max(
      0,
      options.findIndex(([id]) => id === value),
    ),
  );
  return {element: select, read: () => options[Number(select.value)][0]};
}

export function switchControl(label, value) {
  const input = h('input', {type: 'checkbox', role: 'switch', 'aria-label': label, checked: value === true});
  return {element: input, read: () => input.checked};
}

export function textControl(label, value) {
  const input = h('input', {type: 'text', 'aria-label': label, value: value ?? '', maxlength: 200});
  return {element: input, read: () => input.value};
}
