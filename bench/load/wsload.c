/* wsload - neutral WebSocket fan-out load generator (one thread, epoll, no dependencies).
 *   gcc -O2 -march=native -o wsload wsload.c
 * Open N subscriber connections, send the subscribe messages on each, optionally publish on one extra
 * connection (WebSocket, or raw TCP for Redis/HTTP), parse RFC 6455 server frames, and print one JSON line.
 * Phases: connect -> settle -> warmup -> measure -> drain.
 * Escapes in --send/--sendb/--pub: \r \n \t \\ \xHH ; %d connection number, %m group (5 digits, id mod --groups),
 * %k line of --lines FILE, %M the inner message, %L its length, %T time in ns, %S sequence (10 digits), %% percent.
 * Options for the gateway's own protocol: --pong answers its pings, --ready waits until every connection has
 * received a message with that text (and without "more":true), --count counts texts in messages until then, --save
 * stores each connection's position (stream, upto) for a later resume. All other options need no protocol.
 * Several measurements on the same connections: repeat --span N,RATE,WINDOW,WARMUP,DURATION,SIZE. N may grow, a
 * negative RATE is a share of the rate of the previous span, SIZE is the value of %Z. Each span prints a line
 * {"begins":K} when its warm-up begins, and the usual line at its end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64; typedef int64_t i64; typedef uint32_t u32;
enum { ST_NEW, ST_CONN, ST_HS, ST_OPEN, ST_CLOSED };
typedef struct conn {
  int fd; u32 id; uint8_t st, slow, pub, raw, wantw, gotclose, fragop;
  char *left; u32 nleft, cleft;          /* unparsed bytes kept between reads */
  char *frag; u32 nfrag, cfrag;          /* fragmented message being joined */
  char *out; u32 nout, oout, cout;       /* pending output */
  i64 last_seq; u64 t0, msgs;
  uint8_t ready; char stream[40]; u64 upto;   /* state of the gateway's protocol */
} conn;

/* ---------- options ---------- */
static char *host = "127.0.0.1", *path = "/"; static int port = 8080;
static int N = 1; static double rate = 0; static int inflight_max = 256;
static char *hdrs[32]; static int nhdrs; static char *subproto;
typedef struct { char *t; int op; } sendt;
static sendt sends[32]; static int nsends; static sendt psends[32]; static int npsends;
static u64 expect; static double duration = 5, warmup = 1, settle = 0.5, drain = 1, hs_timeout = 90;
static char *stamp, *seqkey; static size_t stampn, seqn; static int nslow; static int reply_ping;
static char *rt_in, *rt_out; static char *pub; static int pub_op = 1; static double pub_rate; static int pub_window;
static char *pub_tcp; static int msize = 300, groups = 1, intended, rcvbuf, per_src = 4000, src_base, verbose;
static char *pub_path; static char **lines; static int nlines; static int pids[16], npids; static int statcpu = -1; static char *label = "";
static int quickack = -1; static char *inner_tmpl;
typedef struct { int n, window, size; double rate, warmup, duration; } span;
static span spans[16]; static int nspans, elements = 1;
static int stalling = 1; /* slow connections stop reading when they open, or with --ready when the warm-up begins */
static int pong; static char *ready_text, *save_file, *counts[4]; static int ncounts; static double ready_s = 60; static size_t readyn;

/* ---------- state ---------- */
static int ep; static conn *cs; static conn *P; static struct sockaddr_in dst, pdst;
static int nstarted, nopen, ninflight, nfailed, nclosed; static volatile sig_atomic_t stop;
static char *rb; static size_t rbcap = 1 << 20;
static u64 deliv, frames, msgs, bytes, reads, pings, pongs, seq_gaps, seq_dups, ctl, hs_bad, badframes;
static u64 deliv_all; static u64 close_code[5000]; static u64 close_eof, close_rst, close_err;
static u64 pub_sent, pub_sent_all, pub_stalls, pub_lag_max, pub_blocked, pub_frames; static u64 persec[4096]; static int measuring; static u64 t_meas;
static u64 last_deliv_t;
#define HB (64 * 60)
static u64 counted[4], pongs_sent, t_ready; static int nready; static u64 rdl[HB], rdn, rdmax;
static u64 lat[HB], hsl[HB]; static u64 latmax, hsmax, latn, hsn; static double latsum;

static inline u64 now_ns(clockid_t c) { struct timespec t; clock_gettime(c, &t); return (u64)t.tv_sec * 1000000000ull + t.tv_nsec; }
#define MONO() now_ns(CLOCK_MONOTONIC)
#define REAL() now_ns(CLOCK_REALTIME)
static inline int hidx(u64 v) { if (v < 64) return (int)v; int e = 63 - __builtin_clzll(v); int i = (e - 5) * 64 + (int)((v >> (e - 6)) & 63); return i < HB ? i : HB - 1; }
static u64 hval(int i) { if (i < 64) return i; int e = i / 64 + 5; return (1ull << e) + ((u64)(i % 64) << (e - 6)) + (1ull << (e - 6)) / 2; }
static double hq(u64 *h, u64 n, double q) { if (!n) return 0; u64 k = (u64)(q * n), s = 0; if (k >= n) k = n - 1; for (int i = 0; i < HB; i++) { s += h[i]; if (s > k) return (double)hval(i); } return 0; }
static void die(const char *f, ...) { va_list a; va_start(a, f); vfprintf(stderr, f, a); va_end(a); fputc('\n', stderr); exit(2); }
static void onsig(int s) { (void)s; stop = 1; }

/* ---------- templates ---------- */
typedef struct { char *p; size_t n, c; } sb;
static void sbput(sb *b, const void *d, size_t n) { if (b->n + n + 1 > b->c) { b->c = (b->n + n + 1) * 2; b->p = realloc(b->p, b->c); } memcpy(b->p + b->n, d, n); b->n += n; b->p[b->n] = 0; }
static void sbf(sb *b, const char *f, ...) { char t[512]; va_list a; va_start(a, f); int n = vsnprintf(t, sizeof t, f, a); va_end(a); sbput(b, t, n); }
static int hexv(int c) { return isdigit(c) ? c - '0' : (tolower(c) - 'a' + 10); }
static void expand(sb *b, const char *t, u32 id, u64 ts, u64 seq, int grp, int depth);
static void inner(sb *b, u32 id, u64 ts, u64 seq, int grp) {
  if (inner_tmpl) { expand(b, inner_tmpl, id, ts, seq, grp, 1); return; }
  char tail[96], head[128];
  int h = snprintf(head, sizeof head, "{\"type\":\"message.created\",\"topic\":\"t%05d\",\"pad\":\"", grp);
  int n = snprintf(tail, sizeof tail, "\",\"seq\":%llu,\"t\":%llu}", (unsigned long long)(1000000000ull + seq), (unsigned long long)ts);
  sbput(b, head, h); for (int i = h + n; i < msize; i++) sbput(b, &"abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"[i % 42], 1); sbput(b, tail, n);
}
static void expand(sb *b, const char *t, u32 id, u64 ts, u64 seq, int grp, int depth) {
  for (; *t; t++) {
    if (*t == '\\' && t[1]) { t++; char c; switch (*t) { case 'r': c = '\r'; break; case 'n': c = '\n'; break; case 't': c = '\t'; break; case '0': c = 0; break;
        case 'x': c = (char)(hexv(t[1]) * 16 + hexv(t[2])); t += 2; break; default: c = *t; } sbput(b, &c, 1); }
    else if (*t == '%' && t[1]) { t++; switch (*t) {
        case 'd': sbf(b, "%u", id); break; case 'Z': sbf(b, "%d", elements); break; case 'm': sbf(b, "%05d", grp); break; case 'T': sbf(b, "%llu", (unsigned long long)ts); break;
        case 'S': sbf(b, "%llu", (unsigned long long)(1000000000ull + seq)); break; case 'k': if (nlines) sbput(b, lines[id % nlines], strlen(lines[id % nlines])); break;
        case 'M': if (!depth) inner(b, id, ts, seq, grp); break; case 'L': { sb x = {0}; inner(&x, id, ts, seq, grp); sbf(b, "%zu", x.n); free(x.p); break; }
        case '%': sbput(b, "%", 1); break; default: sbput(b, t - 1, 2); } }
    else sbput(b, t, 1);
  }
}
static char *hex2esc(const char *h) { size_t n = strlen(h) / 2; char *r = malloc(n * 4 + 1); for (size_t i = 0; i < n; i++) sprintf(r + i * 4, "\\x%.2s", h + 2 * i); return r; }

/* ---------- output ---------- */
static void setep(conn *c, int op) { struct epoll_event e = { .events = (c->slow && c->st == ST_OPEN && stalling ? 0 : EPOLLIN) | (c->wantw ? EPOLLOUT : 0), .data.ptr = c }; epoll_ctl(ep, op, c->fd, &e); }
static void cclose(conn *c) { if (c->fd >= 0) { close(c->fd); c->fd = -1; } if (c->st == ST_CONN || c->st == ST_HS) { ninflight--; nfailed++; } else if (c->st == ST_OPEN && !c->pub) { nopen--; nclosed++; }
  c->st = ST_CLOSED; free(c->left); free(c->frag); free(c->out); c->left = c->frag = c->out = 0; c->nleft = c->cleft = c->nfrag = c->cfrag = c->nout = c->oout = c->cout = 0; }
static void rawsend(conn *c, const char *d, size_t n) {
  if (c->fd < 0) return;
  if (c->nout == c->oout) { ssize_t k = send(c->fd, d, n, MSG_NOSIGNAL | MSG_DONTWAIT); if (k == (ssize_t)n) return; if (k < 0) { if (errno != EAGAIN) return; k = 0; } d += k; n -= k; c->nout = c->oout = 0; }
  if (c->nout + n > c->cout) { c->cout = (c->nout + n) * 2; c->out = realloc(c->out, c->cout); }
  memcpy(c->out + c->nout, d, n); c->nout += n; if (!c->wantw) { c->wantw = 1; setep(c, EPOLL_CTL_MOD); }
}
static u32 rng = 0x9e3779b9;
static void wsframe(conn *c, int op, const char *d, size_t n) {
  if (c->raw) { rawsend(c, d, n); return; }
  char *f = malloc(n + 14); size_t h = 2; f[0] = 0x80 | op;
  if (n < 126) f[1] = 0x80 | n; else if (n < 65536) { f[1] = 0x80 | 126; f[2] = n >> 8; f[3] = n; h = 4; } else { f[1] = (char)(0x80 | 127); for (int i = 0; i < 8; i++) f[2 + i] = (u64)n >> (56 - 8 * i); h = 10; }
  rng ^= rng << 13; rng ^= rng >> 17; rng ^= rng << 5; char m[4]; memcpy(m, &rng, 4); memcpy(f + h, m, 4); h += 4;
  for (size_t i = 0; i < n; i++) f[h + i] = d[i] ^ m[i & 3];
  rawsend(c, f, h + n); free(f);
}
static void flushout(conn *c) { while (c->oout < c->nout) { ssize_t k = send(c->fd, c->out + c->oout, c->nout - c->oout, MSG_NOSIGNAL | MSG_DONTWAIT); if (k < 0) { if (errno == EAGAIN) return; break; } c->oout += k; } c->nout = c->oout = 0; c->wantw = 0; setep(c, EPOLL_CTL_MOD); }

/* ---------- input ---------- */
static inline u64 num(const char *p, const char *e) { u64 v = 0; while (p < e && (unsigned)(*p - '0') < 10) v = v * 10 + (*p++ - '0'); return v; }
static size_t hint, shint;
static inline void scan(conn *c, const char *p, size_t n, u64 tr) {
  if (!stamp) { deliv_all++; c->msgs++; if (measuring) { deliv++; } last_deliv_t = 1; return; }
  const char *e = p + n, *q = p, *s; int first = 1;
  while (q + stampn < e) {
    if (first && hint + stampn <= n && memcmp(p + hint, stamp, stampn) == 0) s = p + hint; else { s = memmem(q, e - q, stamp, stampn); if (!s) break; if (first) hint = s - p; }
    if (first && s > p + stampn && s - p > (long)(ready_text ? 200 : msize + msize / 2)) { const char *z = memmem(q, e - q, stamp, stampn); if (z && z < s) { s = z; hint = s - p; } }
    first = 0; u64 t = num(s + stampn, e); deliv_all++; c->msgs++;
    if (measuring) { deliv++; u64 d = tr > t ? tr - t : 0; lat[hidx(d)]++; latn++; latsum += d; if (d > latmax) latmax = d; }
    if (seqkey) { const char *k = 0; if (s - p >= (long)shint && memcmp(s - shint, seqkey, seqn) == 0 && shint) k = s - shint; else { k = memmem(q, e - q, seqkey, seqn); if (k && k < s) shint = s - k; }
      if (k) { i64 v = (i64)num(k + seqn, e); if (c->last_seq) { if (v <= c->last_seq) seq_dups++; else seq_gaps += (v - c->last_seq) / groups - 1; } if (v > c->last_seq) c->last_seq = v; } }
    q = s + stampn;
  }
  last_deliv_t = 1;
}
/* ---------- the gateway's protocol ---------- */
static const char *after(const char *p, size_t n, const char *key) { char *s = memmem(p, n, key, strlen(key)); return s ? s + strlen(key) : 0; }
static void own(conn *c, const char *p, size_t n) {
  const char *e = p + n, *s;
  if (pong && n < 400 && after(p, n, "\"kind\":\"ping\"") && (s = after(p, n, "\"nonce\":\""))) {
    const char *z = memchr(s, '"', e - s); char b[128];
    if (z && z - s < 64) { int k = snprintf(b, sizeof b, "{\"kind\":\"pong\",\"nonce\":\"%.*s\"}", (int)(z - s), s); wsframe(c, 1, b, k); pongs_sent++; } }
  if (save_file) { size_t h = n < 300 ? n : 300;
    if ((s = after(p, h, "\"stream\":\""))) { size_t k = 0; while (s < e && *s != '"' && k + 1 < sizeof c->stream) c->stream[k++] = *s++; c->stream[k] = 0; }
    if ((s = after(p, h, "\"upto\":"))) c->upto = num(s, e); }
  if (ready_text && !c->ready) {
    for (int i = 0; i < ncounts; i++) if (after(p, n, counts[i])) counted[i]++;
    if (memmem(p, n, ready_text, readyn) && !after(p, n, "\"more\":true")) { u64 now = MONO(), d = now - c->t0; c->ready = 1; nready++; rdl[hidx(d)]++; rdn++; if (d > rdmax) rdmax = d; t_ready = now; } }
}
static void save(void) { FILE *f = fopen(save_file, "w"); if (!f) return; for (int i = 0; i < N; i++) fprintf(f, "%s\t%llu\n", cs[i].stream, (unsigned long long)cs[i].upto); fclose(f); }
static void message(conn *c, int op, const char *p, size_t n, u64 tr) {
  (void)op; msgs++; if (c->pub) { pub_frames++; return; }
  if (rt_in && n == strlen(rt_in) && memcmp(p, rt_in, n) == 0) { wsframe(c, 1, rt_out, strlen(rt_out)); return; }
  if (pong || save_file || ready_text) own(c, p, n);
  scan(c, p, n, tr);
}
/* parse server frames in [p,e); return the number of bytes used, -1 when the connection was closed */
static long parse(conn *c, char *b, size_t len, u64 tr) {
  char *p = b, *e = b + len;
  while (e - p >= 2) {
    unsigned char b0 = p[0], b1 = p[1]; size_t h = 2; u64 n = b1 & 127;
    if (n == 126) { if (e - p < 4) break; n = ((unsigned char)p[2] << 8) | (unsigned char)p[3]; h = 4; }
    else if (n == 127) { if (e - p < 10) break; n = 0; for (int i = 0; i < 8; i++) n = n << 8 | (unsigned char)p[2 + i]; h = 10; }
    if (b1 & 0x80) h += 4; /* a masked server frame is an error; count it and skip */
    if ((u64)(e - p) < h + n) break;
    char *d = p + h; int op = b0 & 15; if ((b1 & 0x80) || (b0 & 0x70)) badframes++;
    frames++;
    if (op >= 8) { ctl++;
      if (op == 9) { pings++; if (reply_ping) wsframe(c, 10, d, n); }
      else if (op == 10) pongs++;
      else if (op == 8) { int code = n >= 2 ? ((unsigned char)d[0] << 8 | (unsigned char)d[1]) : 1005; if (code < 5000) close_code[code]++; c->gotclose = 1; wsframe(c, 8, d, n >= 2 ? 2 : 0); cclose(c); return -1; }
    } else if ((b0 & 0x80) && op != 0) message(c, op, d, n, tr);
    else { if (op) { c->fragop = op; c->nfrag = 0; } if (c->nfrag + n > c->cfrag) { c->cfrag = (c->nfrag + n) * 2; c->frag = realloc(c->frag, c->cfrag); } memcpy(c->frag + c->nfrag, d, n); c->nfrag += n;
      if (b0 & 0x80) { message(c, c->fragop, c->frag, c->nfrag, tr); c->nfrag = 0; } }
    p += h + n;
  }
  return p - b;
}
static void opened(conn *c) {
  c->st = ST_OPEN; ninflight--; if (!c->pub) nopen++;
  u64 d = MONO() - c->t0; if (!c->pub) { hsl[hidx(d)]++; hsn++; if (d > hsmax) hsmax = d; }
  sendt *s = c->pub ? psends : sends; int n = c->pub ? npsends : nsends;
  for (int i = 0; i < n; i++) { sb x = {0}; expand(&x, s[i].t, c->id, REAL(), 0, c->id % groups, 0); wsframe(c, s[i].op, x.p ? x.p : "", x.n); free(x.p); }
  if (c->slow) setep(c, EPOLL_CTL_MOD);
}
static void readable(conn *c) {
  if (c->nleft) memcpy(rb, c->left, c->nleft);
  if (rbcap - c->nleft < rbcap / 2) { rbcap *= 2; rb = realloc(rb, rbcap); }
  ssize_t k = recv(c->fd, rb + c->nleft, rbcap - c->nleft, MSG_DONTWAIT); u64 tr = REAL();
  if (k < 0) { if (errno == EAGAIN) return; if (errno == ECONNRESET) close_rst++; else close_err++; cclose(c); return; }
  if (k == 0) { close_eof++; cclose(c); return; }
  reads++; bytes += k; size_t len = c->nleft + k, off = 0;
  if (c->raw) return;
  if (c->st == ST_HS) {
    char *z = memmem(rb, len, "\r\n\r\n", 4);
    if (z) { if (len < 12 || memcmp(rb + 9, "101", 3) || !memmem(rb, z - rb, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28)) { hs_bad++; if (verbose) fprintf(stderr, "handshake: %.*s\n", (int)(len > 300 ? 300 : len), rb); cclose(c); return; }
      off = z + 4 - rb; c->nleft = 0; opened(c); if (c->fd < 0) return; }
  }
  if (c->st == ST_OPEN) { long u = parse(c, rb + off, len - off, tr); if (u < 0) return; off += u; }
  size_t rest = len - off;
  if (rest) { if (rest > c->cleft) { c->cleft = rest < 512 ? 512 : rest; c->left = realloc(c->left, c->cleft); } memcpy(c->left, rb + off, rest); } else if (c->left) { free(c->left); c->left = 0; c->cleft = 0; }
  c->nleft = rest;
}
static void start(conn *c) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); c->t0 = MONO(); ninflight++; c->st = ST_CONN; c->fd = fd;
  if (fd < 0) { if (verbose) perror("socket"); cclose(c); return; }
  int one = 1; setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); if (rcvbuf) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
  int sndbuf = 32768; if (c->raw) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
  if (quickack >= 0) setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &quickack, sizeof quickack);
  struct sockaddr_in *to = c->raw ? &pdst : &dst;
  if ((ntohl(to->sin_addr.s_addr) >> 24) == 127) { setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in s = { .sin_family = AF_INET }; s.sin_addr.s_addr = htonl(0x7f000002 + src_base + c->id / per_src); if (bind(fd, (void *)&s, sizeof s)) perror("bind"); }
  if (connect(fd, (void *)to, sizeof *to) && errno != EINPROGRESS) { if (verbose) perror("connect"); cclose(c); return; }
  c->wantw = 1; setep(c, EPOLL_CTL_ADD);
}
static void connected(conn *c) {
  int er = 0; socklen_t l = sizeof er; getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &er, &l);
  if (er) { if (verbose) fprintf(stderr, "connect: %s\n", strerror(er)); close_err++; cclose(c); return; }
  c->wantw = 0; c->st = ST_HS; setep(c, EPOLL_CTL_MOD);
  if (c->raw) { opened(c); return; }
  sb b = {0}; sbput(&b, "GET ", 4); expand(&b, c->pub && pub_path ? pub_path : path, c->id, REAL(), 0, c->id % groups, 0);
  sbf(&b, " HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n", host, port);
  if (subproto) sbf(&b, "Sec-WebSocket-Protocol: %s\r\n", subproto);
  for (int i = 0; i < nhdrs; i++) { expand(&b, hdrs[i], c->id, REAL(), 0, c->id % groups, 0); sbput(&b, "\r\n", 2); }
  sbput(&b, "\r\n", 2); rawsend(c, b.p, b.n); free(b.p);
}

/* ---------- publisher ---------- */
static u64 pub_next; static u64 pub_seq, win_pub; static u64 stall_mark;
static void publish1(u64 intended_lag) {
  sb x = {0}; u64 ts = REAL() - (intended ? intended_lag : 0); expand(&x, pub, P->id, ts, pub_seq, (int)(pub_seq % groups), 0); pub_seq++;
  wsframe(P, pub_op, x.p, x.n); free(x.p); pub_sent_all++; if (measuring) pub_sent++;
}
static u64 win_base;
static void pub_tick(u64 now) {
  if (!P || P->st != ST_OPEN) return;
  if (pub_window) {
    double per = (double)(nopen - nslow > 0 ? nopen - nslow : 1) / groups;
    while (1) { u64 got = (u64)((double)(deliv_all - win_base) / per); 
      if (win_pub < got + pub_window) { publish1(0); win_pub++; stall_mark = now; if (P->nout - P->oout > 65536) { pub_blocked++; break; } continue; }
      if (now - stall_mark > 1000000000ull) { pub_stalls++; win_base = deliv_all; win_pub = 0; stall_mark = now; continue; }
      break; }
  } else if (pub_rate > 0) {
    if (!pub_next) pub_next = now;
    int k = 0; while (pub_next <= now && k++ < 1000) { u64 lag = now - pub_next; if (measuring && lag > pub_lag_max) pub_lag_max = lag; if (P->nout - P->oout > 65536) { pub_blocked++; break; } publish1(lag); pub_next += (u64)(1e9 / pub_rate); }
  }
}

static void renew(span *p, double before_s) { /* reset the counters for a new span */
  warmup = p->warmup; duration = p->duration; elements = p->size; pub_window = p->window; pub_rate = p->rate < 0 ? -p->rate * before_s : p->rate;
  deliv = deliv_all = pub_sent = pub_sent_all = pub_stalls = pub_blocked = pub_lag_max = win_base = win_pub = pub_next = latmax = latn = 0; latsum = 0;
  memset(lat, 0, sizeof lat); memset(persec, 0, sizeof persec);
}

/* ---------- server process statistics ---------- */
typedef struct { double user, sys, ns, rss, pss; int procs, threads; } pst;
static void addproc(int pid, pst *o, int deep, int wantpss) {
  char f[300], b[2048]; snprintf(f, sizeof f, "/proc/%d/stat", pid); FILE *h = fopen(f, "r"); if (!h) return;
  size_t n = fread(b, 1, sizeof b - 1, h); b[n] = 0; fclose(h); char *q = strrchr(b, ')'); if (!q) return;
  unsigned long ut = 0, stt = 0; long thr = 0; sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld", &ut, &stt, &thr);
  double hz = sysconf(_SC_CLK_TCK); o->user += ut / hz; o->sys += stt / hz; o->procs++; o->threads += thr;
  snprintf(f, sizeof f, "/proc/%d/task", pid); DIR *d = opendir(f); struct dirent *x;
  while (d && (x = readdir(d))) { if (!isdigit(x->d_name[0])) continue; unsigned long long v = 0; snprintf(f, sizeof f, "/proc/%d/task/%s/schedstat", pid, x->d_name); h = fopen(f, "r"); if (h) { if (fscanf(h, "%llu", &v) == 1) o->ns += v / 1e9; fclose(h); }
    if (deep) { snprintf(f, sizeof f, "/proc/%d/task/%s/children", pid, x->d_name); h = fopen(f, "r"); if (h) { int ch; while (fscanf(h, "%d", &ch) == 1) addproc(ch, o, 1, wantpss); fclose(h); } } }
  if (d) closedir(d);
  snprintf(f, sizeof f, "/proc/%d/statm", pid); h = fopen(f, "r"); if (h) { long a, r = 0; if (fscanf(h, "%ld %ld", &a, &r) == 2) o->rss += r * 4096.0; fclose(h); }
  if (wantpss) { snprintf(f, sizeof f, "/proc/%d/smaps_rollup", pid); h = fopen(f, "r"); if (h) { while (fgets(b, sizeof b, h)) { long k; if (sscanf(b, "Pss: %ld", &k) == 1) o->pss += k * 1024.0; } fclose(h); } }
}
static pst srvstat(int wantpss) { pst o = {0}; for (int i = 0; i < npids; i++) addproc(pids[i], &o, 1, wantpss); return o; }
static void cpuline(double *o) { memset(o, 0, 8 * sizeof *o); if (statcpu < 0) return; FILE *h = fopen("/proc/stat", "r"); char b[512], k[16]; int n = snprintf(k, sizeof k, "cpu%d ", statcpu); while (h && fgets(b, sizeof b, h)) if (!strncmp(b, k, n)) sscanf(b + n, "%lf %lf %lf %lf %lf %lf %lf %lf", o, o + 1, o + 2, o + 3, o + 4, o + 5, o + 6, o + 7); if (h) fclose(h); for (int i = 0; i < 8; i++) o[i] /= sysconf(_SC_CLK_TCK); }
static double sockmem(void) { FILE *h = fopen("/proc/net/sockstat", "r"); char b[256]; double m = 0; long v; while (h && fgets(b, sizeof b, h)) if (sscanf(b, "TCP: inuse %*d orphan %*d tw %*d alloc %*d mem %ld", &v) == 1) m = v * 4096.0; if (h) fclose(h); return m; }

static void resolve(const char *h, int pt, struct sockaddr_in *o) { memset(o, 0, sizeof *o); o->sin_family = AF_INET; o->sin_port = htons(pt); if (inet_pton(AF_INET, strcmp(h, "localhost") ? h : "127.0.0.1", &o->sin_addr) != 1) die("need an IPv4 address: %s", h); if ((ntohl(o->sin_addr.s_addr) >> 24) != 127) die("refusing a target outside 127.0.0.0/8: %s", h); }
static void usage(void) {
  puts("wsload --url HOST:PORT/PATH -n N [--rate CONN/S] [--inflight K] [--header 'K: V']* [--subproto P]\n"
       "  [--send TEXT | --sendb ESCAPED-BINARY | --send-bin HEX]*   after the handshake\n"
       "  [--pub TEMPLATE [--pub-bin] [--pub-send T|--pub-sendb T]* [--pub-path P] [--pub-tcp HOST:PORT] (--pub-rate R | --pub-window W) [--size B] [--inner TEMPLATE] [--groups G]]\n"
       "  [--stamp KEY] [--seq KEY] [--intended] [--duration S] [--warmup S] [--settle S] [--drain S] [--expect COUNT]\n"
       "  [--slow K] [--rcvbuf B] [--reply-ping] [--reply-text IN=OUT] [--pid PID]* [--cpu K] [--lines FILE] [--label L] [--per-src K] [-v]\n"
       "  [--span N,RATE,WINDOW,WARMUP,DURATION,SIZE]*   one measurement after the other on the same connections\n"
       "  [--pong] [--ready TEXT [--ready-s S] [--count TEXT]*] [--save FILE]   of the gateway's own protocol");
  exit(1);
}
int main(int ac, char **av) {
  enum { O_URL = 256, O_RATE, O_HDR, O_SUB, O_SEND, O_SENDB, O_SENDHEX, O_EXP, O_DUR, O_STAMP, O_SLOW, O_PING, O_RT, O_PUB, O_PUBBIN, O_PSEND, O_PSENDB, O_PPATH, O_PTCP, O_PRATE, O_PWIN, O_SIZE, O_GROUPS, O_WARM, O_SETTLE, O_DRAIN, O_SEQ, O_INT, O_RCV, O_PID, O_CPU, O_LINES, O_LABEL, O_PERSRC, O_INFL, O_INNER, O_QA, O_HSTO, O_PONG, O_READY, O_READYS, O_COUNT, O_SAVE, O_SPAN };
  static struct option lo[] = { {"url", 1, 0, O_URL}, {"rate", 1, 0, O_RATE}, {"header", 1, 0, O_HDR}, {"subproto", 1, 0, O_SUB}, {"send", 1, 0, O_SEND}, {"sendb", 1, 0, O_SENDB}, {"send-bin", 1, 0, O_SENDHEX}, {"expect", 1, 0, O_EXP}, {"duration", 1, 0, O_DUR}, {"stamp", 1, 0, O_STAMP}, {"slow", 1, 0, O_SLOW}, {"reply-ping", 0, 0, O_PING}, {"reply-text", 1, 0, O_RT}, {"pub", 1, 0, O_PUB}, {"pub-bin", 0, 0, O_PUBBIN}, {"pub-send", 1, 0, O_PSEND}, {"pub-sendb", 1, 0, O_PSENDB}, {"pub-path", 1, 0, O_PPATH}, {"pub-tcp", 1, 0, O_PTCP}, {"pub-rate", 1, 0, O_PRATE}, {"pub-window", 1, 0, O_PWIN}, {"size", 1, 0, O_SIZE}, {"groups", 1, 0, O_GROUPS}, {"warmup", 1, 0, O_WARM}, {"settle", 1, 0, O_SETTLE}, {"drain", 1, 0, O_DRAIN}, {"seq", 1, 0, O_SEQ}, {"intended", 0, 0, O_INT}, {"rcvbuf", 1, 0, O_RCV}, {"pid", 1, 0, O_PID}, {"cpu", 1, 0, O_CPU}, {"lines", 1, 0, O_LINES}, {"label", 1, 0, O_LABEL}, {"per-src", 1, 0, O_PERSRC}, {"inflight", 1, 0, O_INFL}, {"inner", 1, 0, O_INNER}, {"quickack", 1, 0, O_QA}, {"hs-timeout", 1, 0, O_HSTO}, {"pong", 0, 0, O_PONG}, {"ready", 1, 0, O_READY}, {"ready-s", 1, 0, O_READYS}, {"count", 1, 0, O_COUNT}, {"save", 1, 0, O_SAVE}, {"span", 1, 0, O_SPAN}, {0} };
  int o; while ((o = getopt_long(ac, av, "n:vh", lo, 0)) != -1) switch (o) {
    case 'n': N = atoi(optarg); break; case 'v': verbose = 1; break;
    case O_URL: { char *u = strdup(optarg); if (!strncmp(u, "ws://", 5)) u += 5; char *s = strchr(u, '/'); if (s) { path = strdup(s); *s = 0; } char *k = strchr(u, ':'); if (k) { *k = 0; port = atoi(k + 1); } host = u; break; }
    case O_RATE: rate = atof(optarg); break; case O_HDR: hdrs[nhdrs++] = optarg; break; case O_SUB: subproto = optarg; break;
    case O_SEND: sends[nsends++] = (sendt){optarg, 1}; break; case O_SENDB: sends[nsends++] = (sendt){optarg, 2}; break; case O_SENDHEX: sends[nsends++] = (sendt){hex2esc(optarg), 2}; break;
    case O_EXP: expect = strtoull(optarg, 0, 10); break; case O_DUR: duration = atof(optarg); break; case O_STAMP: stamp = optarg; stampn = strlen(stamp); break; case O_SEQ: seqkey = optarg; seqn = strlen(optarg); break;
    case O_SLOW: nslow = atoi(optarg); break; case O_PING: reply_ping = 1; break; case O_RT: { rt_in = strdup(optarg); rt_out = strchr(rt_in, '='); if (!rt_out) usage(); *rt_out++ = 0; break; }
    case O_PUB: pub = optarg; break; case O_PUBBIN: pub_op = 2; break; case O_PSEND: psends[npsends++] = (sendt){optarg, 1}; break; case O_PSENDB: psends[npsends++] = (sendt){optarg, 2}; break; case O_PPATH: pub_path = optarg; break; case O_PTCP: pub_tcp = optarg; break;
    case O_PRATE: pub_rate = atof(optarg); break; case O_PWIN: pub_window = atoi(optarg); break; case O_SIZE: msize = atoi(optarg); break; case O_GROUPS: groups = atoi(optarg); break;
    case O_WARM: warmup = atof(optarg); break; case O_SETTLE: settle = atof(optarg); break; case O_DRAIN: drain = atof(optarg); break; case O_INT: intended = 1; break; case O_RCV: rcvbuf = atoi(optarg); break;
    case O_PID: pids[npids++] = atoi(optarg); break; case O_CPU: statcpu = atoi(optarg); break; case O_LABEL: label = optarg; break; case O_PERSRC: per_src = atoi(optarg); break; case O_INFL: inflight_max = atoi(optarg); break; case O_INNER: inner_tmpl = optarg; break; case O_QA: quickack = atoi(optarg); break; case O_HSTO: hs_timeout = atof(optarg); break;
    case O_LINES: { FILE *f = fopen(optarg, "r"); if (!f) die("%s", optarg); char *l = 0; size_t c = 0; ssize_t k; while ((k = getline(&l, &c, f)) > 0) { if (l[k - 1] == '\n') l[k - 1] = 0; lines = realloc(lines, (nlines + 1) * sizeof *lines); lines[nlines++] = strdup(l); } fclose(f); break; }
    case O_PONG: pong = 1; break; case O_READY: ready_text = optarg; readyn = strlen(optarg); stalling = 0; break; case O_READYS: ready_s = atof(optarg); break;
    case O_COUNT: if (ncounts < 4) counts[ncounts++] = optarg; break; case O_SAVE: save_file = optarg; break;
    case O_SPAN: { span *p = &spans[nspans]; if (nspans == 16 || sscanf(optarg, "%d,%lf,%d,%lf,%lf,%d", &p->n, &p->rate, &p->window, &p->warmup, &p->duration, &p->size) != 6) usage(); nspans++; break; }
    default: usage(); }
  if (groups < 1) groups = 1;
  int told = nspans; if (!nspans) spans[nspans++] = (span){N, pub_window, 1, pub_rate, warmup, duration};
  for (int i = N = 0; i < nspans; i++) if (spans[i].n > N) N = spans[i].n;
  src_base = (getpid() & 1023) * 64; /* other source addresses in each run, so that ports in TIME_WAIT are not reused */
  signal(SIGPIPE, SIG_IGN); signal(SIGINT, onsig); signal(SIGTERM, onsig);
  struct rlimit rl = { (rlim_t)N + 200, (rlim_t)N + 200 }, cur; getrlimit(RLIMIT_NOFILE, &cur); if (cur.rlim_cur < rl.rlim_cur) { if (rl.rlim_max < cur.rlim_max) rl.rlim_max = cur.rlim_max; if (setrlimit(RLIMIT_NOFILE, &rl)) perror("setrlimit"); }
  resolve(host, port, &dst); rb = malloc(rbcap); ep = epoll_create1(EPOLL_CLOEXEC); cs = calloc(N + 1, sizeof *cs);
  for (int i = 0; i <= N; i++) { cs[i].fd = -1; cs[i].id = i; cs[i].slow = i < nslow; }
  pst s_init = srvstat(1);
  if (pub) { P = &cs[N]; P->pub = 1; P->slow = 0; if (pub_tcp) { char *h = strdup(pub_tcp), *k = strchr(h, ':'); *k = 0; resolve(h, atoi(k + 1), &pdst); P->raw = 1; } }
  u64 T0 = MONO(), t_begin = T0, t_settle = 0, t_conn_done = 0, t_quiet = 0, seen = 0;
  u64 t_warm = 0, t_end = 0, t_drain_end = 0, last_scan = T0, lsec = 0; int phase = 0; pst s0 = {0}, s1 = {0}, sc = {0}; double c0[8] = {0}, c1[8] = {0}; struct rusage r0 = {0}, r1 = {0}; u64 b_frames = 0, b_bytes = 0, b_reads = 0; double sm = 0, connect_s = 0, per_s = 0;
  u64 frames_w = 0, bytes_w = 0, reads_w = 0; static struct epoll_event ev[512]; double measured = 0;
  for (int k = 0; k < nspans && !stop; k++) {
  int grows = nstarted < spans[k].n; span *sp = &spans[k]; renew(sp, per_s); phase = 0; lsec = 0; t_begin = MONO(); t_settle = t_meas = t_end = 0; measured = 0;
  while (!stop) {
    u64 now = MONO();
    if (phase == 0) {
      int to = sp->n; u64 due = rate > 0 ? (u64)(rate * (now - T0) / 1e9) + 1 : (u64)to;
      while (nstarted < to && (u64)nstarted < due && ninflight < inflight_max) start(&cs[nstarted++]);
      if (nstarted >= to && ninflight == 0) { t_conn_done = now; if (grows) connect_s += (now - t_begin) / 1e9; phase = ready_text ? 5 : 1; if (P && P->st == ST_NEW) start(P); }
      if (now - last_scan > 1000000000ull) { last_scan = now; for (int i = 0; i < nstarted; i++) if ((cs[i].st == ST_CONN || cs[i].st == ST_HS) && (double)(i64)(now - cs[i].t0) > hs_timeout * 1e9) cclose(&cs[i]); }
    } else if (phase == 5) { if (nready >= nopen || (double)(now - t_conn_done) > ready_s * 1e9) { t_settle = now; phase = 1; }
    } else if (phase == 1) { if (!t_settle) t_settle = t_conn_done; if ((double)(now - t_settle) > (grows ? settle : 0) * 1e9 && (!P || P->st == ST_OPEN || P->st == ST_CLOSED)) { if (grows) { sc = srvstat(1); sm = sockmem(); } phase = 2; if (told) { printf("{\"begins\":%d}\n", k); fflush(stdout); } if (!stalling) { stalling = 1; for (int i = 0; i < nslow && i < N; i++) if (cs[i].st == ST_OPEN) setep(&cs[i], EPOLL_CTL_MOD); } t_warm = MONO(); now = t_warm; deliv_all = 0; /* the first states of phones that just connected contain stamps */ stall_mark = now; } }
    else if (phase == 2) { if ((double)(now - t_warm) >= warmup * 1e9) { phase = 3; s0 = srvstat(0); cpuline(c0); getrusage(RUSAGE_SELF, &r0); b_frames = frames; b_bytes = bytes; b_reads = reads; t_meas = MONO(); measuring = 1; now = t_meas; } }
    else if (phase == 3) {
      u64 s = (now - t_meas) / 1000000000ull; if (s != lsec) { if (lsec < 4096) persec[lsec] = deliv; lsec = s; }
      if ((double)(now - t_meas) >= duration * 1e9 || (expect && deliv >= expect)) { measuring = 0; t_end = now; measured = (now - t_meas) / 1e9; if (lsec < 4096) persec[lsec] = deliv; s1 = srvstat(1); cpuline(c1); getrusage(RUSAGE_SELF, &r1); frames_w = frames - b_frames; bytes_w = bytes - b_bytes; reads_w = reads - b_reads; phase = 4; t_drain_end = now + (u64)(drain * 1e9); seen = deliv_all; t_quiet = now; } }
    else { if (seen != deliv_all) { seen = deliv_all; t_quiet = now; } /* updates under way belong to this span, for a limited time */
      if (now >= t_drain_end && (now - t_quiet > 200000000ull || now > t_drain_end + 5000000000ull)) break; }
    if (phase == 2 || phase == 3) pub_tick(now);
    struct timespec to = { 0, 1000000 }; if (phase >= 2 && pub_rate > 0 && pub_next) { i64 w = (i64)pub_next - (i64)MONO(); if (w < 0) w = 0; if (w < 1000000) to.tv_nsec = w; }
    int n = epoll_pwait2(ep, ev, 512, &to, 0);
    for (int i = 0; i < n; i++) {
      conn *c = ev[i].data.ptr; if (c->fd < 0) continue;
      if (c->st == ST_CONN) { connected(c); continue; }
      if (ev[i].events & EPOLLOUT) flushout(c);
      if (c->fd >= 0 && (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) { if (c->slow && c->st == ST_OPEN && !(ev[i].events & EPOLLIN)) { close_rst++; cclose(c); } else readable(c); }
      if ((i & 31) == 31 && (phase == 2 || phase == 3)) pub_tick(MONO());
    }
  }
  if (!t_end) { t_end = MONO(); if (t_meas) { measured = (t_end - t_meas) / 1e9; s1 = srvstat(1); cpuline(c1); getrusage(RUSAGE_SELF, &r1); frames_w = frames - b_frames; bytes_w = bytes - b_bytes; reads_w = reads - b_reads; } }
  double D = measured > 0 ? measured : 1; u64 dw = deliv;
  printf("{\"label\":\"%s\",\"n\":%d,\"opened\":%d,\"failed\":%d,\"closed\":%d,\"hs_bad\":%llu,\"connect_s\":%.3f,\"hs_ms\":{\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f}", label, sp->n, nopen, nfailed, nclosed, (unsigned long long)hs_bad, connect_s, hq(hsl, hsn, .5) / 1e6, hq(hsl, hsn, .99) / 1e6, hsmax / 1e6);
  printf(",\"secs\":%.3f,\"deliv\":%llu,\"deliv_s\":%.0f,\"deliv_total\":%llu,\"frames_s\":%.0f,\"MB_s\":%.2f,\"frames_per_read\":%.2f", measured, (unsigned long long)dw, dw / D, (unsigned long long)deliv_all, frames_w / D, bytes_w / D / 1e6, reads_w ? (double)frames_w / reads_w : 0);
  printf(",\"lat_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f,\"mean\":%.1f}", hq(lat, latn, .5) / 1e3, hq(lat, latn, .9) / 1e3, hq(lat, latn, .99) / 1e3, hq(lat, latn, .999) / 1e3, latmax / 1e3, latn ? latsum / latn / 1e3 : 0);
  if (pub) printf(",\"pub\":{\"sent\":%llu,\"rate\":%.2f,\"total\":%llu,\"stalls\":%llu,\"blocked\":%llu,\"lag_max_us\":%.1f,\"replies\":%llu,\"state\":%d}", (unsigned long long)pub_sent, pub_sent / D, (unsigned long long)pub_sent_all, (unsigned long long)pub_stalls, (unsigned long long)pub_blocked, pub_lag_max / 1e3, (unsigned long long)pub_frames, P->st);
  if (ready_text) { printf(",\"ready\":{\"n\":%d,\"all_s\":%.3f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,\"counts\":[", nready, t_ready ? (t_ready - T0) / 1e9 : 0, hq(rdl, rdn, .5) / 1e6, hq(rdl, rdn, .99) / 1e6, rdmax / 1e6); for (int i = 0; i < ncounts; i++) printf("%s%llu", i ? "," : "", (unsigned long long)counted[i]); printf("]}"); }
  if (pong) printf(",\"pongs_sent\":%llu", (unsigned long long)pongs_sent);
  if (save_file && k == nspans - 1) save();
  if (seqkey) printf(",\"seq\":{\"gaps\":%llu,\"dups\":%llu}", (unsigned long long)seq_gaps, (unsigned long long)seq_dups);
  printf(",\"ctl\":%llu,\"pings\":%llu,\"badframes\":%llu,\"closes\":{\"eof\":%llu,\"rst\":%llu,\"err\":%llu", (unsigned long long)ctl, (unsigned long long)pings, (unsigned long long)badframes, (unsigned long long)close_eof, (unsigned long long)close_rst, (unsigned long long)close_err);
  for (int i = 0; i < 5000; i++) if (close_code[i]) printf(",\"%d\":%llu", i, (unsigned long long)close_code[i]);
  printf("},\"lg_cpu\":{\"user\":%.3f,\"sys\":%.3f}", (r1.ru_utime.tv_sec - r0.ru_utime.tv_sec) + (r1.ru_utime.tv_usec - r0.ru_utime.tv_usec) / 1e6, (r1.ru_stime.tv_sec - r0.ru_stime.tv_sec) + (r1.ru_stime.tv_usec - r0.ru_stime.tv_usec) / 1e6);
  if (npids) { double cn = s1.ns - s0.ns; printf(",\"srv\":{\"cpu_s\":%.3f,\"user\":%.2f,\"sys\":%.2f,\"us_per_deliv\":%.3f,\"rss0_mb\":%.2f,\"rss_idle_mb\":%.2f,\"rss_end_mb\":%.2f,\"pss_end_mb\":%.2f,\"rss_per_conn\":%.0f,\"pss_per_conn\":%.0f,\"procs\":%d,\"threads\":%d}", cn, s1.user - s0.user, s1.sys - s0.sys, dw ? cn / dw * 1e6 : 0, s_init.rss / 1e6, sc.rss / 1e6, s1.rss / 1e6, s1.pss / 1e6, nopen ? (sc.rss - s_init.rss) / nopen : 0, nopen ? (sc.pss - s_init.pss) / nopen : 0, s1.procs, s1.threads); }
  if (statcpu >= 0) printf(",\"cpu\":{\"user\":%.2f,\"sys\":%.2f,\"idle\":%.2f,\"irq\":%.2f,\"softirq\":%.2f,\"steal\":%.2f,\"us_per_deliv\":%.3f}", c1[0] - c0[0], c1[2] - c0[2], c1[3] - c0[3], c1[5] - c0[5], c1[6] - c0[6], c1[7] - c0[7], dw ? (c1[0] + c1[1] + c1[2] + c1[5] + c1[6] - c0[0] - c0[1] - c0[2] - c0[5] - c0[6]) / dw * 1e6 : 0);
  printf(",\"tcp_mem_mb\":%.1f,\"per_sec\":[", sm / 1e6); for (u64 i = 0, prev = 0; i <= lsec && i < 4096 && t_meas; i++) { if (i && persec[i] < prev) break; printf("%s%llu", i ? "," : "", (unsigned long long)(persec[i] - prev)); prev = persec[i]; } printf("]}\n"); fflush(stdout);
  per_s = pub_sent / D;
  }
  return nopen == 0 && N > 0 ? 1 : 0;
}
