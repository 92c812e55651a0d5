/** How does a session end, and is it sure? */
import {GatewayError} from './oscc-client.js';
import {clock, h, icon, put, refusal, say, t, tOr} from './ui.js';

/** Log off, and stay on this page until it is confirmed. */
export async function leave(session, {app, kept, logOnPage}, connection = null) {
  kept.keep({...session.kept(), user: session.user, leaving: true});
  const text = h('p', {class: 'muted'}, t('leaving.text'));
  const title = h('h1', {}, t('leaving.title'));
  app.replaceChildren(h('main', {class: 'boot'}, icon('wait', 'huge'), title, text));
  const asks = ({detail: {routedUntilMs}}) => {
    put(title, t('leaving.pending'));
    put(
      text,
      routedUntilMs === null
        ? t('leaving.unknown')
        : t(`leaving.until.${session.application}`, clock(routedUntilMs)),
    );
    say(`${title.textContent} ${text.textContent}`);
  };
  session.addEventListener('logoff', asks);
  let told = {kind: 'done', title: t('left.title'), text: t(`left.${session.application}`)};
  try {
    await (connection ?? session).logOff();
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    told = {kind: 'bad', title: t('left.unsure'), text: refusal(error)};
  }
  kept.keep(null);
  await logOnPage(told);
}

/** Why a session ended, and by whom. */
export function whyEnded(reason, by) {
  const why = tOr(`ended.${reason}`, t('ended.other', reason ?? ''));
  return by && by !== 'self' && by !== 'system' ? `${why} ${t('ended.by', by)}` : why;
}
