/**
 * The JavaScript SDK of the OSCC gateway: log on, see the contact centre live, act in it.
 *
 * It stores nothing: realtime data is in `connection.mirror` only. `session.kept()` returns what a device may store.
 * docs/protocol.md has the protocol, and docs/clients.md a guide.
 *
 *   const session = await logOn({base, site, application, user, password, device});
 *   const live = connect(session);
 *   live.addEventListener('changes', ({detail}) => detail.forEach(({key, after}) => show(key, after)));
 *   live.addEventListener('link', ({detail}) => showLink(detail));
 *   const {status, error} = await live.command('routing_state.set', {state: 'available', when: 'now'});
 *   await live.logOff();
 */

export type Application = 'dashboard' | 'remote_assistant';
/** A resource, with the field names of docs/protocol.md; an absent field is null. */
export type Value = Readonly<Record<string, any>>;
/** Who set a state: a role, never a name. */
export type Actor = RequestedBy;
// Casts: `live.mirror.get('agent:5') as Agent`, `live.mirror.get('catalogue:reasons') as Reasons`.
// ---- resources: written by docs/_generate/fields.py ----
/** One skill of an agent. */
export type AgentSkill = {
  /** The id of a skill of the agent. */
  readonly skill_id: string;
  /** How well the agent has the skill. */
  readonly level?: number;
  /** How much the agent is preferred for the skill. */
  readonly preference?: number;
  /** Whether contacts are routed to the agent by the skill. */
  readonly active?: boolean;
};
/** Whether contacts are routed to an agent. Busy is never a routing state. */
export type RoutingState = 'logged_off' | 'available' | 'unavailable' | 'work' | 'unknown';
export type RequestedBy = 'self' | 'supervisor' | 'system' | 'unknown';
export type Medium = 'voice' | 'callback' | 'email' | 'web_collaboration' | 'open_media' | 'unknown';
export type HandlingState =
  | 'pending'
  | 'ringing'
  | 'talking'
  | 'holding'
  | 'consulting'
  | 'post_processing'
  | 'unknown';
/** One contact that an agent has in hand. */
export type Handling = {
  /** The id of the contact. */
  readonly contact_id: string;
  /** The medium of the contact. */
  readonly media?: Medium;
  /** How far the agent is with the contact. */
  readonly state?: HandlingState;
  /** When this state began. */
  readonly since_ms?: number;
  /** Whether the contact came to the agent directly, not from a queue. */
  readonly direct?: boolean;
  /** The queue from which the contact came. */
  readonly queue_id?: string;
};
/** Post-processing of an agent. */
export type PostProcessing = {
  /** When post-processing began. */
  readonly since_ms?: number;
  /** When post-processing ends by itself. */
  readonly ends_at_ms?: number;
  /** Whether post-processing can still be extended. */
  readonly extendable?: boolean;
  /** The routing state that follows post-processing. */
  readonly next_state?: RoutingState;
  /** The reason of the state that follows. */
  readonly reason_id?: string;
};
/** Whether post-processing begins by itself; only sent of one's own agent. */
export type AutoPostProcessing = {
  /** Whether post-processing follows each contact by itself; only on the user's own agent. */
  readonly on?: boolean;
  /** How long post-processing lasts when it follows by itself; only on the user's own agent. */
  readonly duration_s?: number;
};
/** State of one medium of an agent. */
export type Switch = 'off' | 'on' | 'failed' | 'unknown';
/** Which media an agent is logged on to. */
export type Media = {
  /** Whether the agent is logged on to calls. */
  readonly voice?: Switch;
  /** Whether the agent is logged on to callbacks. */
  readonly callback?: Switch;
  /** Whether the agent is logged on to e-mail. */
  readonly email?: Switch;
  /** Whether the agent is logged on to web collaboration. */
  readonly web_collaboration?: Switch;
  /** Whether the agent is logged on to open media. */
  readonly open_media?: Switch;
};
/** A user to whom contacts are routed. */
export type Agent = Value & {
  /** The agent's name. */
  readonly display_name?: string;
  /** The extension at which contacts reach the agent. */
  readonly extension?: string;
  /** The groups that the agent is a member of. */
  readonly group_ids: readonly string[];
  /** The queues that the agent serves. */
  readonly queue_ids: readonly string[];
  /** The agent's skills. */
  readonly skills: readonly AgentSkill[];
  /** Whether contacts are routed to the agent; there is no state "busy": `handling` shows it. */
  readonly routing_state?: RoutingState;
  /** When the routing state began. */
  readonly routing_state_since_ms?: number;
  /** The reason of the routing state. */
  readonly reason_id?: string;
  /** Who set the routing state; a role, never a name. */
  readonly routing_state_by?: RequestedBy;
  /** The state that follows when handling ends. */
  readonly pending_routing_state?: RoutingState;
  /** Who requested the pending routing state; a role, never a name. */
  readonly pending_by?: RequestedBy;
  /** The reason of the pending routing state. */
  readonly pending_reason_id?: string;
  /** `true` while post-processing was requested to follow the contact that is being handled. */
  readonly pending_post_processing?: boolean;
  /** The contacts that the agent has in hand. */
  readonly handling: readonly Handling[];
  /** The agent's post-processing; `null` without one. */
  readonly post_processing?: PostProcessing;
  /** Whether post-processing begins by itself. */
  readonly auto_post_processing?: AutoPostProcessing;
  /** The media that the agent is logged on to. */
  readonly media?: Media;
  /** Presence as the OSCC-E Server names it. */
  readonly presence_state?: string;
  /** Whether the agent is logged on with a remote number. */
  readonly logged_on_remotely?: boolean;
  /** Whether the OSCC-E Server reports the agent's app as connected. */
  readonly app_present?: boolean;
  /** Since when the OSCC-E Server reports it as not connected. */
  readonly app_absent_since_ms?: number;
  /** Contacts handled since `day_start_ms`. */
  readonly handled_today?: number;
  /** Time in conversation since `day_start_ms`. */
  readonly talk_s_today?: number;
  /** When the count of `handled_today` and `talk_s_today` began. */
  readonly day_start_ms?: number;
  /** The actions that the state allows; a client offers those that its rights allow too. */
  readonly allowed_actions: readonly string[];
  /** The version of the skills; for `if_version`. */
  readonly version?: number;
};
export type QueueLevel = 'ok' | 'attention' | 'action' | 'unknown';
export type ParameterScalar = boolean | number | string | null;
export type ParameterValue = boolean | number | string | readonly ParameterScalar[] | null;
/** A queue and its figures. */
export type Queue = Value & {
  /** The name of the queue. */
  readonly name?: string;
  /** The medium of its contacts. */
  readonly media?: Medium;
  /** The skills that an agent needs to serve the queue; `null` where the server does not report them. */
  readonly skill_ids?: readonly string[];
  /** Contacts that wait in the queue now. */
  readonly contacts_waiting?: number;
  /** When the contact that has waited longest came; `null` when none waits. */
  readonly oldest_since_ms?: number;
  /** Share of contacts that were answered in time, by `service_level_formula`; `null` when there was none to count. */
  readonly service_level_pct?: number;
  /** The wait that counts as "in time". */
  readonly service_level_threshold_s?: number;
  /** The OSCC-E Server's formula of the service level. */
  readonly service_level_formula?: string;
  /** Share of finished contacts that were abandoned before an answer; `null` when none has finished. */
  readonly abandoned_rate_pct?: number;
  /** The OSCC-E Server's estimate for a contact that comes now. */
  readonly estimated_wait_s?: number;
  /** Agents of the queue who are logged on. */
  readonly agents_logged_on?: number;
  /** Agents available, without a contact or post-processing. */
  readonly agents_available?: number;
  /** Agents who handle a contact, of any queue. */
  readonly agents_handling?: number;
  /** Agents in post-processing. */
  readonly agents_post_processing?: number;
  /** Agents unavailable, without a contact or post-processing. */
  readonly agents_unavailable?: number;
  /** Agents in work, without a contact or post-processing. */
  readonly agents_work?: number;
  /** When the count of the next five fields began. */
  readonly window_start_ms?: number;
  /** Contacts that came. */
  readonly received?: number;
  /** Contacts that were answered. */
  readonly answered?: number;
  /** Contacts that were abandoned before an answer. */
  readonly abandoned?: number;
  /** The mean wait of answered contacts; `null` when none was answered. */
  readonly average_wait_s?: number;
  /** The longest wait; `null` when the OSCC-E Server has none. */
  readonly maximum_wait_s?: number;
  /** The OSCC-E Server's judgement of the queue. */
  readonly level?: QueueLevel;
  /** The value of each routing parameter, by name; a reference is an id. */
  readonly routing_parameters?: Readonly<Record<string, ParameterValue>>;
  /** The version of the routing parameters; for `if_version`. */
  readonly version?: number;
};
/** A group of agents and its figures. */
export type Group = Value & {
  /** The name of the group. */
  readonly name?: string;
  /** Members who are logged on. */
  readonly users_logged_on?: number;
  /** Members who are available, without a contact or post-processing. */
  readonly users_idle?: number;
  /** Members with a contact or in post-processing. */
  readonly users_busy?: number;
  /** All other members who are logged on. */
  readonly users_away?: number;
  /** Members with a contact from a queue. */
  readonly users_handling_routed?: number;
  /** Members with a direct contact. */
  readonly users_handling_direct?: number;
  /** Contacts that wait in the queues of the group. */
  readonly calls_waiting?: number;
  /** The value of each routing parameter, by name; a reference is an id. */
  readonly routing_parameters?: Readonly<Record<string, ParameterValue>>;
  /** The version of the routing parameters; for `if_version`. */
  readonly version?: number;
};
/** Figures over several queues. */
export type Aggregate = Value & {
  /** The name of the aggregate. */
  readonly name?: string;
  /** Its queues. */
  readonly queue_ids: readonly string[];
  /** Contacts that wait in these queues now. */
  readonly contacts_waiting?: number;
  /** Share of contacts of these queues that were answered in time; `null` when there was none to count. */
  readonly service_level_pct?: number;
  /** When the contact that has waited longest came; `null` when none waits. */
  readonly oldest_since_ms?: number;
};
/** State of one of OSCC-E's functions. */
export type FunctionState = 'up' | 'degraded' | 'down' | 'unknown';
/** Which functions of the OSCC-E Server work. */
export type Functions = {
  /** The state of realtime figures. */
  readonly realtime?: FunctionState;
  /** The state of routing. */
  readonly routing?: FunctionState;
  /** The state of administration. */
  readonly administration?: FunctionState;
  /** The state of calls. */
  readonly voice?: FunctionState;
  /** The state of e-mail. */
  readonly email?: FunctionState;
  /** The state of callbacks. */
  readonly callback?: FunctionState;
  /** The state of web collaboration. */
  readonly web_collaboration?: FunctionState;
  /** The state of routing to remote numbers. */
  readonly remote_agent?: FunctionState;
};
/** The OSCC-E Server itself. */
export type Site = Value & {
  /** The version of the OSCC-E Server's extensions for the gateway. */
  readonly extensions_version?: string;
  /** The version of the contact centre. */
  readonly contact_center_version?: string;
  /** Which functions of the OSCC-E Server work. */
  readonly functions?: Functions;
};
/** A right of a session, as OSCC-E granted it. */
export type Right =
  | 'skills_write'
  | 'routing_state_write'
  | 'routing_parameters_write'
  | 'own_routing_state'
  | 'own_post_processing';
/** How the user's previous session ended. */
export type LastEnd = {
  /** Why the user's previous session ended. */
  readonly reason?: string;
  /** Who ended it. */
  readonly by?: string;
  /** When it ended. */
  readonly at_ms?: number;
};
/** The session's own user, as one session may see them. */
export type Me = Value & {
  /** The id of the user. */
  readonly user_id?: string;
  /** The user's name. */
  readonly display_name?: string;
  /** The id of the user's own agent; `null` for a user without one. */
  readonly agent?: string;
  /** What the session may do. */
  readonly rights: readonly Right[];
  /** How many resources the session may see. */
  readonly scope_size?: number;
  /** The number to which contacts are routed: whole in the Remote Assistant's session, masked in the user's others. */
  readonly remote_number?: string;
  /** How the user's previous session ended. */
  readonly last_end?: LastEnd;
};
/** A skill that agents may have, with its bounds. */
export type Skill = {
  /** The id of the skill. */
  readonly skill_id: string;
  /** The name. */
  readonly name?: string;
  /** The lowest level that an agent may have. */
  readonly level_min?: number;
  /** The highest level that an agent may have. */
  readonly level_max?: number;
  /** The lowest preference that an agent may have. */
  readonly preference_min?: number;
  /** The highest preference that an agent may have. */
  readonly preference_max?: number;
};
/** The catalogue of skills. */
export type Skills = Value & {
  /** All skills. */
  readonly skills: readonly Skill[];
};
export type ReasonKind = 'unavailable' | 'work' | 'post_processing' | 'wrapup';
/** A reason that agents may give for a state. A state needs one when any reason lists it. */
export type Reason = {
  /** The id of the reason. */
  readonly reason_id: string;
  /** What it is given for: a state, or a contact that has ended (`wrapup`). */
  readonly kind?: ReasonKind;
  /** The name. */
  readonly name?: string;
  /** The states that need a reason. */
  readonly required_for: readonly string[];
};
/** The catalogue of reasons. */
export type Reasons = Value & {
  /** All reasons. */
  readonly reasons: readonly Reason[];
};
/** A routing parameter of queues or groups, with its type and bounds. */
export type RoutingParameter = {
  /** The name of the parameter, as in `routing_parameters`. */
  readonly name: string;
  /** What has the parameter: `queue` or `group`. */
  readonly applies_to: string;
  /** The type of the value: `boolean`, `integer`, `number`, `string`, `enum`, a reference such as `queue_reference`, or another word of the OSCC-E Server. */
  readonly data_type: string;
  /** The lowest value. */
  readonly min?: number;
  /** The highest value. */
  readonly max?: number;
  /** The distance between two values. */
  readonly step?: number;
  /** The values to choose from; `null` where any value within the bounds may be set. */
  readonly values?: readonly ParameterValue[];
  /** The unit of the value. */
  readonly unit?: string;
  /** Whether the parameter cannot be set. */
  readonly read_only?: boolean;
  /** The value that the parameter has until it is set; a reference is an id. */
  readonly default?: ParameterValue;
};
/** The catalogue of routing parameters. */
export type RoutingParameters = Value & {
  /** All routing parameters. */
  readonly parameters: readonly RoutingParameter[];
};
// ---- end of the resources ----
/** A change of one resource. `undefined`: the resource does not exist before, or after, the change. */
export type Change = {key: string; before: Value | undefined; after: Value | undefined};
export type Topics = {granted: string[]; refused: {topic: string; reason: string}[]};
/** The device: its id stays the same. */
export type Device = {id: string; name: string};
export type NoticeName = {id: string; version: number};
export type Notice = NoticeName & {
  category: 'privacy' | 'security' | 'maintenance';
  title: string;
  summary: string;
  link: string | null;
  effective_at_ms: number | null;
  must_acknowledge: boolean;
};
/** The outcome of a command. After `unknown` show the mirror and let the person decide. */
export type Outcome = {
  status: 'applied' | 'pending' | 'unchanged' | 'rejected' | 'unknown';
  error: GatewayError | null;
  version: any;
};
/** A command in progress: show it as pending until `done`. */
export type CommandStep = {
  id: string;
  key: string;
  kind: string;
  args: Record<string, any>;
  phase: 'sent' | 'repeated' | 'done';
  outcome: Outcome | null;
};
/** The parts of a session that a device may store, the token among them. */
export type Kept = {
  token: string;
  id: string;
  application: Application;
  expiresAtMs: number;
  site: string;
  device: Device;
  platform: string;
  appVersion: string;
};
export type Credentials = {user: string; password: string; remoteNumber?: string | null};
export type Position = {stream: string; seq: number};

/** State of the connection; the event `link` reports every change of it. */
export type Link = {
  /**
   * - connecting: this connection has no data yet, or no ping that dates it.
   * - live: in sync, and the link to the OSCC-E Server is live.
   * - stale, down: in sync with the gateway, whose link to the OSCC-E Server is stale or down. Also stale: a
   *   change was lost and is requested again. The data is as of `asOfMs`.
   * - waiting: the connection is lost, the next try is at `retryAtMs`.
   * - background: disconnected by `background()`.
   * - gone: ended for good; `code`, `reason` and `by` have the cause.
   */
  state: 'connecting' | 'live' | 'stale' | 'down' | 'waiting' | 'background' | 'gone';
  /** When this state began, by the local wall clock. */
  sinceMs: number;
  /** When a message of the OSCC-E Server was last received, gateway clock; null before the first. */
  asOfMs: number | null;
  /** As last received. */
  upstream: 'live' | 'stale' | 'down' | null;
  bus: 'live' | 'degraded' | 'down' | null;
  /**
   * Whether an expected frame is late, so that the mirror may be old: a ping by 3 s, or the answer to the
   * client's own test by 1 s. The client sends that test when a result is 2.5 s late, and on `networkChanged()`.
   */
  quiet: boolean;
  /** The close code of the last connection, and the reason (in the states waiting and gone). */
  code: number | null;
  reason: string | null;
  /** Who ended the session, if it is known. */
  by: string | null;
  /** The verdict of the code. */
  verdict: Verdict | null;
  /** The advised window, seconds. */
  minS: number | null;
  maxS: number | null;
  /** When the next try is, by the local wall clock (in the state waiting). */
  retryAtMs: number | null;
};
export type Verdict = 'stop' | 'back_off' | 'window' | 'log_on';

/** Functions of the platform that the module uses; the default of each member is the platform's own. */
export type Env = {
  fetch: typeof globalThis.fetch;
  /** A WebSocket class as browsers have it; Node has one from 22 on. */
  WebSocket: any;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Milliseconds since 1970 UTC. */
  wall: () => number;
  setTimeout: (call: () => void, ms: number) => any;
  clearTimeout: (timer: any) => void;
  /** In [0, 1). */
  random: () => number;
  uuid: () => string;
};
/** base: the gateway's address, by default the page's own origin; locale: as in Accept-Language. */
export type Where = {base?: string; locale?: string; env?: Partial<Env>};
export type LogOn = Where & Credentials & {
  site: string;
  application: Application;
  device: Device;
  platform?: string;
  appVersion?: string;
  /** End the session that the person has elsewhere. */
  takeover?: boolean;
  /** The notices that the person has accepted. */
  notices?: NoticeName[];
};
export type ConnectOptions = {
  /** `agents`, `queues`, `groups`, `aggregates`, or keys such as `queue:5`; by default those of the application. */
  topics?: string[];
  /** Default: json. */
  codec?: 'json' | 'msgpack';
  /** At most one state frame in this time, 0..60. */
  paceS?: number;
  /** How often the gateway pings, 10..55. */
  pingS?: number;
  /** The name of the client program: at most 64, 32 and 32 characters. */
  client?: {app: string; version: string; platform: string};
  /** Called when the session ended and the protocol demands a new log-on. Without it, or when it returns
   * null, the connection is then `gone` with code 4300. */
  credentials?: () => Promise<Credentials | null>;
};

/** A refusal by the gateway, or the error when none answers. */
export class GatewayError extends Error {
  constructor(
    code: string,
    message?: string,
    more?: {status?: number; retryAfterS?: number | null; details?: Record<string, any>},
  );
  /** One of the stable codes in docs/protocol.md. */
  code: string;
  /** HTTP status; 0 without one. */
  status: number;
  /** Seconds after which to try again; null: unknown. */
  retryAfterS: number | null;
  /** The details beside the code: `{notices}`, `{where, since_ms}`, `{min, max}` … */
  details: Record<string, any>;
  /** Whether no gateway answered at all: `code` is then `upstream_unavailable`. */
  get unreachable(): boolean;
  /** Whether the same request may succeed later. */
  get retry(): boolean;
}

/** A random UUID (version 4), as a `device.id` that the gateway recognises. Make it once, and store it. */
export function uuid(): string;
/** The verdict of a close code. */
export function verdictOf(code: number): Verdict;
/** The gateway's data about itself; needs no log-on. */
export function about(where?: Where): Promise<any>;
/** The notices of the log-on page. */
export function notices(where?: Where): Promise<Notice[]>;
/** The data inventory. */
export function privacyInventory(where?: Where): Promise<any>;

/**
 * Log on. The password lives for this request.
 *
 * Refused with `GatewayError`: `already_logged_on` (details `where`, `since_ms`: again with `takeover: true`),
 * `notice_must_be_acknowledged` (details `notices`: again with `notices`), `invalid_credentials`,
 * `account_locked` (`retryAfterS`), `remote_number_*` and the others of docs/protocol.md.
 */
export function logOn(options: LogOn): Promise<Session>;
/** Continue a session that the device has stored. */
export function adopt(kept: Kept, where?: Where): Session;
/** Connect, and stay connected until the end. */
export function connect(session: Session, options?: ConnectOptions): Connection;

/**
 * One person's session.
 *
 * Events: `renewed` (detail: `Kept`; store it in place of the old one), `logoff` (detail:
 * `{routedUntilMs, retryInS}`: not confirmed yet; until then calls may still reach the number).
 */
export class Session extends EventTarget {
  constructor(kept: Kept, where?: Where);
  get token(): string;
  get id(): string;
  get application(): Application;
  get expiresAtMs(): number;
  get site(): string;
  /** The user, `{user_id, display_name}`; null until received. */
  user: any;
  /** The number in effect, as the gateway returned it at log-on. */
  remoteNumber: string | null;
  /** The parts that the device may store; null when the log-off is confirmed. */
  kept(): Kept | null;
  /** The user, and the end of the session's life. */
  who(): Promise<any>;
  /** The user's sessions: `{id, application, device, since_ms, attached, current}`. */
  sessions(): Promise<any[]>;
  /** End another of the user's sessions. Returns until when calls may still come; null: none will. */
  endSession(id: string): Promise<{routedUntilMs: number | null; retryAfterS: number | null} | null>;
  /** All data that the gateway holds about the user. */
  export(): Promise<any>;
  /** Record that the person has accepted a notice: every later log-on reports it. */
  accept(notice: NoticeName): void;
  /** Log on again: same site, application and device. */
  logOnAgain(credentials: Credentials & {takeover?: boolean}): Promise<void>;
  /** Log off. Repeats the request, with the event `logoff`, until it is confirmed; keeps the token until then.
   * `connection.logOff()` closes the connection, too. */
  logOff(): Promise<void>;
}

/**
 * One user's view, kept in sync over any number of sockets.
 *
 * Events, each with `detail`: `link` (Link), `sync` ({resumed}: the mirror is whole), `changes` (Change[]: all
 * of one frame, applied), `command` (CommandStep), `notice` (Notice), `renewed` (Kept), `refused`
 * (GatewayError of a frame that no call waits for).
 */
export class Connection extends EventTarget {
  constructor(session: Session, options?: ConnectOptions);
  session: Session;
  /** The last `welcome`: `user, rights, application, topics, limits` … */
  welcome: any;
  /** Resolved when the mirror is first in sync; rejected when it will never be. */
  ready: Promise<void>;
  /** Resolved with the last Link when it is `gone`. */
  ended: Promise<Link>;
  /** By resource key: `queue:5`, `me`, `catalogue:skills`. */
  get mirror(): ReadonlyMap<string, Value>;
  get link(): Link;
  /** When a message of the OSCC-E Server was last received, gateway clock; null before the first. */
  get asOfMs(): number | null;
  /** The position to resume from. */
  get position(): Position | null;
  /** What the session may do. */
  get rights(): string[];
  /** Commands that wait for their outcome. */
  get pending(): CommandStep[];
  /** The gateway's clock minus the local wall clock; null before the first frame. */
  get offsetMs(): number | null;
  /** The gateway's clock now; null before the first frame. */
  serverTimeMs(): number | null;
  /** The resources of one kind: `of('queue')` returns [id, value] pairs. */
  of(kind: string): IterableIterator<[string, Value]>;
  /** Replace the topics, now and after each reconnect. */
  follow(topics: string[]): Promise<Topics>;
  /** At most one state frame in this time, now and after each reconnect; 0..60. */
  pace(everyS: number): void;
  /**
   * Have a command carried out at most once. One call is one intended action: after a lost connection it is
   * sent again with the same key. Never rejects: without a connection the outcome is `rejected`
   * (`error.unreachable`; there is no offline queue), after `deadlineS` (up to 60) without result `unknown`.
   */
  command(
    kind: string,
    args?: Record<string, any>,
    options?: {id?: string; deadlineS?: number},
  ): Promise<Outcome>;
  /** Acknowledge a notice, here and at each log-on from now on. */
  acknowledge(notice: NoticeName): Promise<Outcome>;
  /** Send `bye` and disconnect; the mirror and the session stay. */
  background(): void;
  /** Connect at once, at most once per 2 s, and receive what changed since. */
  foreground(): void;
  /** Report a changed network: try at once; an open connection must receive a frame within 3 s. */
  networkChanged(): void;
  /** Send `bye` and stop for good; this is no log-off. The mirror is cleared. */
  close(): void;
  /** Close and log off; resolved when it is confirmed. Until then `session` emits `logoff`. */
  logOff(): Promise<void>;
}
