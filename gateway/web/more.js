/** The settings: look, language, alerts, sessions, data and its use. */
import {GatewayError, privacyInventory} from './oscc-client.js';
import {alertRows} from './alerts.js';
import {legend} from './walk.js';
import {dialog} from './dialog.js';
import {isNarrow} from './shell.js';
import {
  button,
  day,
  dotted,
  fill,
  h,
  language,
  LANGUAGES,
  minute,
  num,
  refusal,
  spaced,
  speak,
  t,
  toast,
  tOr,
} from './ui.js';

const THEMES = ['auto', 'light', 'dark'];
const OWN_NAME = {en: 'English', de: 'Deutsch'};

const row = (label, control) => h('label', {class: 'setting'}, h('span', {}, label), control);

function select(options, value, choose) {
  const made = h(
    'select',
    {onchange: () => choose(made.value)},
    options.map(([id, name]) => h('option', {value: id}, name)),
  );
  made.value = value;
  return made;
}

/** Theme and language; *again* draws the page in another language. */
function choiceRows({kept, dress, again}, close) {
  const {theme} = kept.choices;
  return [
    row(
      t('theme'),
      select(
        THEMES.map((each) => [each, t(`theme.${each}`)]),
        theme,
        (chosen) => {
          kept.choose({theme: chosen});
          dress();
        },
      ),
    ),
    row(
      t('language'),
      select(
        LANGUAGES.map((each) => [each, OWN_NAME[each]]),
        language,
        async (chosen) => {
          kept.choose({language: chosen});
          await speak(chosen);
          close();
          again();
        },
      ),
    ),
  ];
}

/** Whether single keys are shortcuts; they disturb people who use speech input. */
function keysRow(kept) {
  const input = h('input', {
    type: 'checkbox',
    name: 'keys',
    checked: kept.choices.keys !== false,
    onchange: () => kept.choose({keys: input.checked}),
  });
  const text = h('span', {}, t('keys'), h('small', {}, t('keys.hint')));
  return h('label', {class: 'check'}, input, text);
}

/** The settings before the log-on. */
export function choices(doors) {
  const opened = dialog({
    title: t('settings'),
    body: h(
      'div',
      {class: 'stack'},
      choiceRows(doors, () => opened.close()),
    ),
  });
}

/** The settings in a session. @param {import('./shell.js').Shell} shell */
export function settings(shell) {
  const {doors, session, connection, gateway} = shell;
  const {kept} = doors;
  const target = h('input', {
    type: 'number',
    min: 50,
    max: 100,
    step: 1,
    value: kept.choices.target,
    onchange: () => {
      if (target.validity.valid && target.value) kept.choose({target: Number(target.value)});
    },
  });
  const user = session.user ?? connection.welcome?.user;
  const again = () => location.reload();
  const opened = dialog({
    title: t('settings'),
    body: h(
      'div',
      {class: 'stack'},
      h(
        'p',
        {},
        h('strong', {}, user?.display_name ?? ''),
        h(
          'span',
          {class: 'muted'},
          ` · ${t(`app.${session.application}`)} · ${t('until', minute(session.expiresAtMs))}`,
        ),
      ),
      choiceRows({kept, dress: doors.dress, again}, () => opened.close()),
      alertRows(shell, session.application === 'dashboard' && !isNarrow()),
      session.application === 'dashboard' && !isNarrow() ? keysRow(kept) : null,
      session.application === 'dashboard'
        ? row(t('target'), h('span', {class: 'with-unit'}, target, '%'))
        : null,
      h(
        'div',
        {class: 'list-buttons'},
        button(t('legend'), () => legend()),
        button(t('sessions'), () => sessions(session)),
        button(t('export'), () => exported(session)),
        button(t('privacy.inventory'), () => inventory()),
      ),
      privacy(gateway.privacy),
      h('p', {class: 'muted'}, `${gateway.name ?? 'OSCC'} ${gateway.version ?? ''}`),
    ),
    actions: [
      {
        label: t('log.off'),
        run: () => {
          shell.logOff();
        },
      },
    ],
  });
}

function privacy({contact, statement_url: url} = {}) {
  const link = /^https?:\/\//i.test(url ?? '')
    ? h('a', {href: url, target: '_blank', rel: 'noopener noreferrer'}, t('privacy.statement'))
    : null;
  return link || contact ? h('p', {}, link, ' ', contact && t('privacy.contact', contact)) : null;
}

async function fetched(ask) {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    toast(refusal(error), 'bad');
    return null;
  }
}

/** The user's sessions. */
async function sessions(session) {
  const list = h('div', {class: 'stack'});
  const found = await fetched(() => session.sessions());
  if (!found) return;
  const draw = (all) =>
    fill(list, all.map(({id}) => id), () =>
      all.map((each) =>
        h(
          'div',
          {class: 'setting'},
          h(
            'span',
            {},
            h('strong', {}, tOr(`app.${each.application}`, each.application)),
            h('br'),
            h(
              'small',
              {class: 'muted'},
              dotted(each.device?.name, t('since', day(each.since_ms)), each.attached && t('attached')),
            ),
          ),
          each.current
            ? h('small', {}, t('this.one'))
            : button(
                t('session.end'),
                async () => {
                  const ended = await fetched(async () => ({until: await session.endSession(each.id)}));
                  if (!ended) return;
                  if (ended.until?.routedUntilMs)
                    toast(t('session.until', day(ended.until.routedUntilMs)));
                  draw(all.filter((other) => other !== each));
                },
                'small',
              ),
        ),
      ),
    );
  draw(found);
  dialog({title: t('sessions'), body: list});
}

/** The export of the user's data. It is shown and not stored. */
async function exported(session) {
  const held = await fetched(() => session.export());
  if (held)
    dialog({
      title: t('export'),
      body: [
        h('p', {class: 'muted'}, t('export.text')),
        h('pre', {tabindex: '0', class: 'export'}, JSON.stringify(held, null, 2)),
      ],
    });
}

/** The data inventory. */
export async function inventory() {
  const held = await fetched(() => privacyInventory({locale: language}));
  if (!held) return;
  const words = language === 'de' ? (await import('./inventory.de.js')).default : {};
  const entries = Object.values(held).find(Array.isArray) ?? [];
  dialog({
    title: t('privacy.inventory'),
    body: h(
      'div',
      {class: 'stack'},
      entries.map((entry) =>
        h(
          'section',
          {class: 'entry'},
          h(
            'dl',
            {class: 'facts'},
            Object.entries(entry).map(([name, value]) =>
              h('div', {}, h('dt', {}, translated(words, spaced(name))), h('dd', {}, translated(words, said(value)))),
            ),
          ),
        ),
      ),
    ),
  });
}

/** A text of the gateway in the language of the page, where it has words for it. */
const translated = (words, text) => words[text] ?? h('span', {lang: 'en'}, text);

function said(value) {
  if (Array.isArray(value)) return value.map(said).join(', ');
  if (typeof value === 'number') return num(value);
  return value === null ? t('none') : typeof value === 'object' ? JSON.stringify(value) : String(value);
}
