/* A command runs at most once: ownership, fencing, giving and one command K of one user.

   What is modelled: the lease store (who owns the user, the last token), the OSCC-E Server (it keeps the link
   with the highest token, and executes nothing on another), N nodes, and a phone that sends K once and again.
   What is not: time. A lease may run out, a message may be late or lost, and an owner may be taken for deaf at
   any moment. Contents of mirrors are left out.

   RULE chooses what the nodes do. Each level adds to the one before; only the last one keeps the law, which
   tests/model/test_ownership.py checks for each level.
     0  A command begins when it comes, also before the lease is granted.
     1  No command begins before the lease is granted.
     2  A command that had to wait, or comes late, counts as sent again.
     3  History counts only if the lease was taken from the token of the owner who gave.
     4  A command is judged again when it is sent.
     5  A command is judged and sent in one turn, on the open link and with its epoch. History counts only by
        word of the owner who gave: it has begun nothing since its offer, and its link was replaced by that of
        the node which takes the history. Neither the lease store nor a clock is needed for that.

   Faults are bounded by the counters: with more of them there are more states, and nothing else. */
#ifndef N
#define N 2
#endif
#ifndef RULE
#define RULE 5
#endif
#ifndef CRASHES
#define CRASHES 1           /* A process ends, and begins another life. */
#endif
#ifndef FLUSHES
#define FLUSHES 1           /* The store forgets everything. */
#endif
#ifndef EXPIRIES
#define EXPIRIES 1          /* A lease runs out. */
#endif
#ifndef STEALS
#define STEALS 1            /* An owner is taken for deaf, or a node takes the user without the store. */
#endif
#ifndef GIVES
#define GIVES 2             /* An owner offers its user to another node. */
#endif
#ifndef DROPS
#define DROPS 0             /* A link is lost, and nobody has replaced it. */
#endif
#ifndef RETRIES
#define RETRIES 1           /* The phone sends K again. */
#endif
#define TMAX 9
#define DEAD 0
#define FOLLOW 1
#define ASK 2               /* It asks the store for the lease. */
#define GRANTED 3
#define LINKED 4            /* It takes its link to be open; it may not know yet that it was replaced. */
#define GIVING 5            /* Linked, has offered the user, and begins nothing. */
#define MAX(a,b) ((a) > (b) -> (a) : (b))
#define MIN(a,b) ((a) < (b) -> (a) : (b))
#if N > 2
#define ANY_NODE(x) if :: x = 0 :: x = 1 :: x = 2 fi
#else
#define ANY_NODE(x) if :: x = 0 :: x = 1 fi
#endif

/* The store: holder (node + 1, 0 for none) and token of the lease, and the last token granted. */
byte own_h, own_t, tok;
/* Wall clock: tokens come from it, so that a store which forgot does not grant an old one. */
byte clk;
/* The OSCC-E Server: the highest token it saw, and holder and token of the open link. */
byte fence, link_h, link_t;
/* The epochs that a phone may hold as its stream: the present one, and the one before. */
byte lit, prev;
byte executed;              /* How often K ran. */

byte role[N], epoch[N], floor_[N], expct[N];
byte cs[N], ce[N];          /* The epochs in which this node would know K if it had run. */
bit known[N];               /* It has an outcome of K, or holds it to be unknown. */
bit flying[N];              /* It has sent K on its link, and has no answer. */
byte offered[N];            /* To which node + 1 it has offered the user. */
#if RULE < 5
bit held[N];                /* K counted as sent again when it began. */
bit hist[N], hknown[N];     /* It has the history of an offer. */
byte hsince[N], hgiver[N];
bit valid[N];               /* The offer of this node still stands. */
byte gen[N], hgen[N];
#else
byte rep[N];                /* The token of the link that replaced this node's. */
byte gt[N], gs[N];          /* A giver's word for this node: the token, and since when it knows commands. */
bit gk[N];
#endif

byte ps;                    /* The epoch that the phone names with K. */
bit sent;                   /* K is on its way for the first time. */
byte retries = RETRIES;
byte crashes = CRASHES, flushes = FLUSHES, expiries = EXPIRIES, steals = STEALS, gives = GIVES, drops = DROPS;

/* A new epoch: others may have executed anything before it. */
inline enter(i) { if :: epoch[i] > ce[i] -> ce[i] = epoch[i]; cs[i] = epoch[i] :: else fi }

inline begin(i, again) {
    if :: role[i] >= GRANTED -> enter(i) :: else fi;
    if
    :: known[i] || flying[i] -> skip
    :: else ->
        if
        :: again && !(cs[i] <= ps && ps <= ce[i] && ps > 0) -> skip     /* Unknown, or refused; not executed. */
        :: else ->
            flying[i] = 1;
#if RULE < 5
            held[i] = again
#endif
        fi
    fi
}

inline under(i, token) {
    clk = MAX(clk, token); epoch[i] = token; floor_[i] = token; role[i] = GRANTED;
    enter(i)
}

inline granted(i) {
#if RULE == 3 || RULE == 4
    if :: hist[i] && own_t != expct[i] -> hist[i] = 0 :: else fi;
#endif
    d_tok = MAX(clk, MAX(MAX(tok, own_t), floor_[i])) + 1;
    own_h = i + 1; own_t = d_tok; tok = d_tok;
    under(i, d_tok);
#if RULE < 5
    if
    :: hist[i] && valid[hgiver[i]] && gen[hgiver[i]] == hgen[i] ->
        cs[i] = MIN(cs[i], hsince[i]); known[i] = known[i] || hknown[i]
    :: else
    fi;
    hist[i] = 0;
#endif
    d_tok = 0
}

inline forget(i) {
    epoch[i] = 0; floor_[i] = 0; cs[i] = 0; ce[i] = 0; known[i] = 0; flying[i] = 0; offered[i] = 0;
#if RULE < 5
    hist[i] = 0; valid[i] = 0
#else
    rep[i] = 0; gt[i] = 0; gs[i] = 0; gk[i] = 0
#endif
}

proctype node(byte i) {
    byte j, d_tok;
    do
    /* ---- how a follower comes to own ---- */
    :: atomic { role[i] == FOLLOW && own_h == 0 -> expct[i] = 0; role[i] = ASK }
    :: atomic { role[i] == FOLLOW && own_h != 0 && own_h != i + 1 && steals > 0 ->   /* The owner is deaf. */
        steals--; expct[i] = own_t; role[i] = ASK }
    :: atomic { role[i] == FOLLOW && own_h == i + 1 -> expct[i] = own_t; role[i] = ASK }
    :: atomic { role[i] == FOLLOW && own_h != 0 && own_h != i + 1 && (own_h > N || role[own_h - 1] < GRANTED) ->
        expct[i] = own_t; role[i] = ASK }                                            /* It is dead, or denies. */
#if RULE >= 5
    :: atomic { role[i] == FOLLOW && steals > 0 && clk < TMAX ->                     /* The store is away. */
        steals--; d_tok = MAX(clk, floor_[i]) + 1; under(i, d_tok); d_tok = 0 }
#endif
    :: atomic { role[i] == FOLLOW ->                                                 /* It takes an offer. */
        j = 0;
        do
        :: j < N && role[j] == GIVING && offered[j] == i + 1 ->
#if RULE < 5
            if
            :: valid[j] ->
                hist[i] = 1; hsince[i] = cs[j]; hknown[i] = known[j]; hgiver[i] = j; hgen[i] = gen[j];
                expct[i] = epoch[j]; floor_[i] = MAX(floor_[i], epoch[j]); role[i] = ASK
            :: else
            fi;
#else
            expct[i] = epoch[j]; floor_[i] = MAX(floor_[i], epoch[j]); role[i] = ASK;
#endif
            break
        :: j < N - 1 -> j++
        :: j >= N - 1 -> break
        od; j = 0 }
    /* ---- the store answers ---- */
    :: atomic { role[i] == ASK && clk < TMAX ->
        if
        :: own_h == 0 || own_t == expct[i] || own_h == i + 1 -> granted(i)
        :: else ->
#if RULE < 5
            hist[i] = 0;
#endif
            floor_[i] = MAX(floor_[i], own_t); role[i] = FOLLOW;
            flying[i] = 0                                                            /* It was never sent. */
        fi }
    /* ---- it opens the link ---- */
    :: atomic { role[i] == GRANTED ->
        if
        :: epoch[i] < fence || (epoch[i] == fence && link_h != i + 1 && link_h != 0) ->   /* Stale: once more. */
            floor_[i] = MAX(floor_[i], fence); expct[i] = 0;
            if :: own_h == i + 1 && own_t == epoch[i] -> own_h = 0; own_t = 0 :: else fi;
            role[i] = ASK
        :: else ->
            if
            :: link_h != 0 && link_h != i + 1 ->
#if RULE < 5
                valid[link_h - 1] = 0
#else
                rep[link_h - 1] = epoch[i]
#endif
            :: else
            fi;
            fence = epoch[i]; link_h = i + 1; link_t = epoch[i]; role[i] = LINKED;
            if :: lit != epoch[i] -> prev = lit; lit = epoch[i] :: else fi
        fi }
    /* ---- the server executes what was sent on the link that is open ---- */
    :: atomic { (role[i] == LINKED || role[i] == GIVING) && flying[i] && link_h == i + 1 && link_t == epoch[i] ->
#if RULE < 5
        if
        :: RULE >= 4 && held[i] && !(cs[i] <= ps && ps <= ce[i]) -> skip
        :: else -> executed++
        fi;
        held[i] = 0;
#else
        executed++;
#endif
        flying[i] = 0; known[i] = 1; assert(executed <= 1) }
    /* ---- it hears that its link was replaced ---- */
    :: atomic { role[i] >= LINKED && !(link_h == i + 1 && link_t == epoch[i]) ->
        if :: flying[i] -> flying[i] = 0; known[i] = 1 :: else fi;                   /* Unknown, and remembered. */
#if RULE < 5
        valid[i] = 0;
#else
        if
        :: role[i] == GIVING && rep[i] != 0 ->
            gt[offered[i] - 1] = rep[i]; gs[offered[i] - 1] = cs[i]; gk[offered[i] - 1] = known[i]
        :: else
        fi;
        rep[i] = 0;
#endif
        offered[i] = 0;
        if
        :: (own_h == i + 1 && own_t == epoch[i]) || epoch[i] > MAX(tok, own_t) || (epoch[i] == MAX(tok, own_t) && own_h == 0) ->
            own_h = i + 1; own_t = epoch[i]; tok = MAX(tok, epoch[i]); role[i] = GRANTED   /* Renewed after that. */
        :: else -> role[i] = FOLLOW
        fi }
#if RULE >= 5
    /* ---- a giver's word: whose link was replaced by the one that is open here ---- */
    :: atomic { role[i] >= GRANTED && gt[i] != 0 ->
        if :: gt[i] == epoch[i] -> cs[i] = MIN(cs[i], gs[i]); known[i] = known[i] || gk[i] :: else fi;
        gt[i] = 0; gs[i] = 0; gk[i] = 0 }
    /* ---- its link is lost, and nobody replaced it ---- */
    :: atomic { drops > 0 && (role[i] == LINKED || role[i] == GIVING) && link_h == i + 1 && link_t == epoch[i] ->
        drops--; link_h = 0; link_t = 0; offered[i] = 0;
        if :: flying[i] -> flying[i] = 0; known[i] = 1 :: else fi;
        role[i] = GRANTED }
#endif
    /* ---- a renewal makes a lease again that the store has forgotten, or never knew ---- */
    :: atomic { role[i] >= GRANTED && own_h == 0 && epoch[i] >= tok && link_h == i + 1 ->
        own_h = i + 1; own_t = epoch[i]; tok = MAX(tok, epoch[i]) }
    :: atomic { role[i] >= GRANTED && own_t < epoch[i] && tok <= epoch[i] && link_h == i + 1 ->
        own_h = i + 1; own_t = epoch[i]; tok = epoch[i] }
    /* ---- it gives, and goes on when the lease is still its own ---- */
    :: atomic { role[i] == LINKED && gives > 0 && !flying[i] && link_h == i + 1 ->
        gives--; role[i] = GIVING; offered[i] = (i + 1) % N + 1;
#if RULE < 5
        gen[i]++; valid[i] = 1
#endif
        }
    :: atomic { role[i] == GIVING && own_h == i + 1 && own_t == epoch[i] ->
        role[i] = LINKED; offered[i] = 0;
#if RULE < 5
        valid[i] = 0
#endif
        }
    /* ---- it ends, and begins another life, which is another holder ---- */
    :: atomic { role[i] != DEAD && crashes > 0 -> crashes--;
        role[i] = DEAD; forget(i);
        if :: own_h == i + 1 -> own_h = N + 1 :: else fi;
        if :: link_h == i + 1 -> link_h = 0; link_t = 0 :: else fi }
    :: atomic { role[i] == DEAD -> role[i] = FOLLOW }
    od
}

proctype store() {
    do
    :: atomic { flushes > 0 -> flushes--; own_h = 0; own_t = 0; tok = 0 }
    :: atomic { expiries > 0 && own_h != 0 -> expiries--; own_h = 0; own_t = 0 }
    od
}

proctype phone() {
    byte x;
    atomic { lit > 0 -> if :: ps = lit :: prev > 0 -> ps = prev fi; sent = 1 };
    do
    :: atomic {                                             /* K comes to an owner for the first time. */
        ANY_NODE(x);
        if
#if RULE < 5
        :: sent && (role[x] == LINKED || role[x] == GRANTED || (!RULE && role[x] == ASK)) && (RULE >= 2 || retries == RETRIES) ->
            if
            :: RULE >= 2 && (role[x] != LINKED || link_h != x + 1 || retries != RETRIES) -> begin(x, 1)
            :: else -> begin(x, 0)
            fi;
            sent = 0
#else
        /* The owner knows the phone elsewhere when it has sent K again: then K is late. */
        :: sent && role[x] == LINKED && retries == RETRIES -> begin(x, 0); sent = 0
        :: sent && role[x] == LINKED -> begin(x, 1); sent = 0      /* It is late, or a node held it back. */
#endif
        :: else
        fi; x = 0 }
    :: atomic { sent -> sent = 0 }                          /* Or to nobody. */
    :: atomic { !sent && retries > 0 ->                     /* The phone sends it again, to any node. */
        ANY_NODE(x);
        if
#if RULE < 5
        :: (role[x] == LINKED || role[x] == GRANTED || (!RULE && role[x] == ASK)) -> retries--; begin(x, 1)
#else
        :: role[x] == LINKED -> retries--; begin(x, 1)
#endif
        :: else
        fi; x = 0 }
    od
}

init { atomic { byte k = 0; do :: k < N -> role[k] = FOLLOW; k++ :: else -> break od; k = 0;
    run node(0); run node(1);
#if N > 2
    run node(2);
#endif
    run store(); run phone() } }
