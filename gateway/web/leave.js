/** Log-off until it is confirmed, and the page at the end of a session. */
import {GatewayError} from './oscc-client.js';
import {clock, h, icon, put, refusal, say, t, tOr, turnTo} from './ui.js';

// closes without a text of their own: codes for broken frames, or of something that is not a gateway
const NOT_UNDERSTOOD = ['connection_closed', 'no_gateway'];

/** Log off; show this page until the log-off is confirmed. */
export async function leave(session, {kept, logOnPage}, connection = null) {
  kept.keep({...session.kept(), user: session.user, leaving: true});
  const text = h('p', {class: 'muted'}, t('leaving.text'));
  const title = h('h1', {}, t('leaving.title'));
  turnTo(h('main', {class: 'boot'}, icon('wait', 'huge'), title, text));
  let until = null;
  let spoken = null;
  const asks = ({detail: {routedUntilMs}}) => {
    until = routedUntilMs ?? until;
    put(title, t('leaving.pending'));
    put(
      text,
      until === null ? t('leaving.unknown') : t(`leaving.until.${session.application}`, clock(until)),
    );
    const now = `${title.textContent} ${text.textContent}`;
    if (now !== spoken) say(now);
    spoken = now;
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

/** Whether a close code means that the session has ended. After any other code the token may be used again. */
export const isOver = (code) => [4001, 4005, 4008].includes(code) || Math.floor(code / 100) === 43;

/** The reason for the end of a session or of its connection, and who caused it. */
export function whyEnded(told, by) {
  const reason = NOT_UNDERSTOOD.includes(told) ? 'protocol_error' : told;
  const why = tOr(`ended.${reason}`, tOr(`error.${reason}`, t('ended.other', reason ?? '')));
  if (!by || by === 'self' || by === 'system') return why;
  return `${why} ${reason === 'taken_over' ? t('ended.on', by) : t('ended.by', by)}`;
}
