/** The log-on page, with encryption, privacy, notices and takeover of another session. */
import {GatewayError, about, logOn, notices} from './oscc-client.js';
import {
  able, attribute, byName, check, day, field, h, icon, input, language, refusal, say, settingsButton, shown, t, turnTo,
} from './ui.js';

/**
 * Log on: the whole page.
 * @param {object} doors what main.js offers
 * @param {{title: string, text: string, kind?: string}|null} told what to show first
 * @param {boolean} quietly leave what is shown until the gateway has answered
 */
export async function logOnPage(doors, told = null, quietly = false) {
  document.title = `${t('log.on')} · OSCC`;
  if (!quietly)
    doors.app.replaceChildren(
      h(
        'main',
        {class: 'logon'},
        h('header', {class: 'brand'}, icon('brand', 'brand-mark'), h('div', {}, h('h1', {}, t('log.on')))),
        h('p', {class: 'muted', role: 'status'}, t('connecting')),
      ),
    );
  const answers = await Promise.allSettled([about({locale: language}), notices({locale: language})]);
  if (answers[0].status === 'rejected') return doors.unreachable(told);
  new LogOnForm(doors, answers[0].value, answers[1].value ?? [], told).show();
}

/** Whether nobody is let in without having accepted it: one that comes into force later may be read later. */
const isDue = ({must_acknowledge: must, effective_at_ms: from}) => must && !(from > Date.now());

class LogOnForm {
  constructor(doors, gateway, noticeList, told) {
    Object.assign(this, {doors, kept: doors.kept, gateway, noticeList, told});
    this.accepted = new Map();
    this.known = doors.kept.login;
    this.site = gateway.sites.find(({id}) => id === this.known.site) ?? gateway.sites[0];
    this.application = doors.kept.choices.application;
    this.numbers = doors.kept.read('numbers') ?? {whose: null, list: []};
  }

  show() {
    const {site, known} = this;
    this.applications = h('fieldset', {class: 'segments'});
    this.userName = input('user', {
      dir: 'auto',
      autocomplete: 'username',
      autocapitalize: 'none',
      spellcheck: 'false',
      maxlength: 256,
      value: known.user ?? '',
      required: true,
      oninput: () => this.renamed(),
    });
    this.password = input('password', {
      type: 'password',
      autocomplete: 'current-password',
      maxlength: 1024,
      required: true,
    });
    this.number = input('number', {
      type: 'tel',
      autocomplete: 'tel',
      inputmode: 'tel',
      maxlength: 64,
      value: this.offered()[0] ?? '',
      'aria-describedby': 'own-number',
    });
    this.remember = check('remember', Boolean(known.user));
    this.remember.addEventListener('change', () => (this.chosen = true));
    this.stay = check('stay', false);
    this.problem = h('div', {class: 'problem', role: 'alert', tabindex: '-1', hidden: true});
    this.recent = this.recentNumbers();
    this.numberPart = h(
      'div',
      {class: 'stack'},
      field('number', this.number),
      this.recent,
      h('p', {class: 'hint', id: 'own-number'}, icon('phone'), h('span', {}, t('number.own'))),
    );
    this.submit = h('button', {class: 'button primary wide', type: 'submit'}, t('log.on'));
    const form = h(
      'form',
      {
        class: 'card stack',
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          this.send(false);
        },
      },
      this.applications,
      this.sites(),
      field('user', this.userName),
      field('password', this.password),
      this.numberPart,
      this.notices(),
      this.remember,
      this.stay,
      this.problem,
      this.submit,
    );
    turnTo(
      h(
        'main',
        {class: 'logon'},
        this.doors.offer(),
        h(
          'header',
          {class: 'brand'},
          icon('brand', 'brand-mark'),
          h(
            'div',
            {},
            h('h1', {}, t('log.on')),
            h('p', {class: 'muted'}, site?.display_name ?? this.gateway.name),
          ),
          settingsButton(() => this.settings()),
        ),
        this.said(),
        form,
        this.doors.foot(this.gateway, () => this.more('inventory')),
      ),
    );
    scrollTo(0, 0);
    this.offerApplications();
    if (matchMedia('(hover: hover)').matches) (known.user ? this.password : this.userName).focus();
  }

  said() {
    const {told} = this;
    if (!told) return null;
    say(`${told.title} ${told.text ?? ''}`);
    return h(
      'section',
      {class: `told ${told.kind ?? ''}`},
      icon(told.kind === 'done' ? 'ok' : 'notice'),
      h('div', {}, h('h2', {}, told.title), told.text && h('p', {}, told.text)),
    );
  }

  sites() {
    const {sites} = this.gateway;
    if (sites.length < 2) return null;
    const select = h(
      'select',
      {
        id: 'in-site',
        name: 'site',
        onchange: () => {
          this.site = sites.find(({id}) => id === select.value);
          this.offerApplications();
          this.renamed();
        },
      },
      [...sites]
        .sort((a, b) => byName(a.display_name, b.display_name))
        .map(({id, display_name: name}) => h('option', {value: id}, name)),
    );
    select.value = this.site.id;
    return field('site', select);
  }

  /** Offer the site's applications, with the one that is chosen or else the first. */
  offerApplications() {
    const {applications} = this.site;
    this.applications.replaceChildren(
      h('legend', {class: 'sr'}, t('application')),
      ...applications.map((each) =>
        h(
          'label',
          {},
          h('input', {
            type: 'radio',
            name: 'application',
            value: each,
            onchange: () => this.choose(each),
          }),
          h('span', {}, h('strong', {}, t(`app.${each}`)), h('small', {}, t(`app.${each}.for`))),
        ),
      ),
    );
    this.choose(applications.includes(this.application) ? this.application : applications[0]);
  }

  /** Show the fields of an application. */
  choose(application) {
    this.application = application;
    this.applications.querySelector(`[value=${application}]`).checked = true;
    shown(this.numberPart, application === 'remote_assistant');
  }

  /** Record another user name: stored numbers, and the choice to remember, belong to one name. */
  renamed() {
    if (!this.chosen) this.box(this.remember).checked = this.userName.value.trim() === this.known.user;
    const mine = this.offered().length > 0;
    shown(this.recent, mine);
    if (!mine && this.numbers.list.includes(this.number.value)) this.number.value = '';
  }

  /** The numbers of the person whose name is in the form, if they are kept here. */
  offered() {
    const {whose, list} = this.numbers;
    return whose === this.person(this.userName?.value ?? this.known.user) ? list : [];
  }

  box = (part) => part.querySelector('input');

  person(user = '') {
    return `${this.site?.id} ${user.trim()}`;
  }

  recentNumbers() {
    const use = (number) =>
      h('button', {type: 'button', class: 'chip', onclick: () => (this.number.value = number)}, number);
    const forget = () => {
      this.kept.forget();
      this.numbers.list = [];
      this.number.value = '';
      shown(this.recent, false);
      this.number.focus();
    };
    return h(
      'div',
      {class: 'chips', role: 'group', 'aria-label': t('number.recent'), hidden: !this.offered().length},
      this.numbers.list.map(use),
      h('button', {type: 'button', class: 'chip quiet', onclick: forget}, t('number.forget')),
    );
  }

  notices() {
    if (!this.noticeList.length) return null;
    return h(
      'section',
      {class: 'notices', 'aria-label': t('notices')},
      this.noticeList.map((notice) =>
        this.doors.noticeCard(
          notice,
          h(
            'label',
            {class: 'check'},
            h('input', {
              type: 'checkbox',
              onchange: ({currentTarget}) => {
                if (currentTarget.checked)
                  this.accepted.set(notice.id, {id: notice.id, version: notice.version});
                else this.accepted.delete(notice.id);
              },
            }),
            h('span', {}, t(isDue(notice) ? 'notice.accept.must' : 'notice.accept')),
          ),
        ),
      ),
    );
  }

  settings() {
    return this.more('choices', {...this.doors, again: () => logOnPage(this.doors, this.told)});
  }
  async more(what, ...rest) {
    (await import('./more.js'))[what](...rest);
  }

  wrong(text, field = null) {
    this.problem.replaceChildren(icon('attention'), h('span', {}, text));
    shown(this.problem, true);
    for (const input of [this.userName, this.password, this.number])
      attribute(input, 'aria-invalid', input === field && 'true');
    (field ?? this.problem).focus();
  }

  async send(takeover) {
    const number = this.application === 'remote_assistant' ? this.number.value.trim() : null;
    const missing = [this.userName, this.password, number === null ? null : this.number].find(
      (input) => input && !input.value.trim(),
    );
    if (missing) return this.wrong(t('missing', t(`field.${missing.name}`)), missing);
    shown(this.problem, false);
    able(this.submit, false);
    this.submit.replaceChildren(t('logging.on'));
    try {
      await this.enter(
        await logOn({
          site: this.site.id,
          application: this.application,
          user: this.userName.value.trim(),
          password: this.password.value,
          remoteNumber: number,
          takeover,
          notices: [...this.accepted.values()],
          locale: language,
          ...this.kept.device(),
        }),
      );
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.refused(error);
    } finally {
      able(this.submit, true);
      this.submit.replaceChildren(t('log.on'));
    }
  }

  refused(error) {
    if (error.code === 'already_logged_on') return this.offerTakeover(error.details);
    if (error.code === 'notice_must_be_acknowledged') this.insist(error.details.notices ?? []);
    else
      this.wrong(
        refusal(error),
        error.code.startsWith('remote_number')
          ? this.number
          : error.code === 'invalid_credentials'
            ? this.password
            : null,
      );
  }

  /** Notices that came since the page was shown. */
  insist(missing) {
    const old = document.querySelector('.notices');
    this.noticeList = [
      ...this.noticeList.filter(({id}) => !missing.some((each) => each.id === id)),
      ...missing,
    ];
    this.accepted.clear();
    const made = this.notices();
    if (old) old.replaceWith(made);
    else this.remember.before(made);
    this.wrong(t('error.notice_must_be_acknowledged'));
  }

  async offerTakeover({where, since_ms: since}) {
    (await import('./dialog.js')).dialog({
      title: t('takeover.title'),
      body: [
        h('p', {}, t('takeover.text', where ?? t('takeover.elsewhere'), day(since))),
        h('p', {class: 'muted'}, t(`takeover.${this.application}`)),
      ],
      actions: [
        {label: t('cancel')},
        {
          label: t('takeover.do'),
          kind: 'primary',
          run: () => {
            this.send(true);
          },
        },
      ],
    });
  }

  async enter(session) {
    const {kept} = this;
    const user = this.userName.value.trim();
    const [remembered, stays] = [this.remember, this.stay].map((each) => this.box(each).checked);
    // a remembered user is forgotten only when they clear the box
    if (remembered) kept.remember({site: this.site.id, user});
    else if (this.chosen || this.offered().length) kept.remember(null);
    const person = remembered ? this.person(user) : null;
    Object.assign(kept, {person, typed: []});
    if (this.application === 'remote_assistant') kept.used(this.number.value.trim());
    kept.choose({application: this.application});
    if (!stays) await kept.forsake(this.application);
    kept.keep({...session.kept(), user: session.user, person}, stays);
    this.password.value = '';
    await this.doors.work(session, this.gateway);
  }
}
