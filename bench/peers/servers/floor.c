/* Floor: a server that does as little as possible. One thread, epoll, one send() for each delivery, and nothing
 * else: no checks of masks, no pings, no limits. The handshake has one fixed answer, for the key that the load
 * generator sends. It is a bound for comparison, not a server for use.
 *
 * Text frames: "sub TOPIC" and "pub TOPIC MESSAGE". A client with more than 1 MiB waiting for it is closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 65536, TOPICS = 4096, WAITING = 1 << 20, READ = 1 << 20 };

struct topic {
    char name[32];
    int *fds, n, room;
    struct topic *next;
};

/* waiting bytes: of an incomplete frame, or of frames that the kernel did not accept; most clients have none */
struct bytes {
    char *at;
    size_t n, room;
};

static struct client {
    struct bytes in, out;
    struct topic *topic; /* one is enough here */
    int place, open;
} *clients;

static struct topic *topics[TOPICS];
static char input[READ];
static int poll_fd;

static void keep(struct bytes *kept, const char *at, size_t n) {
    if (kept->n + n > kept->room) {
        kept->room = (kept->n + n) * 2;
        kept->at = realloc(kept->at, kept->room);
    }
    memcpy(kept->at + kept->n, at, n);
    kept->n += n;
}

static void drop(struct bytes *kept) {
    free(kept->at);
    *kept = (struct bytes){0};
}

static void watch(int fd, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poll_fd, operation, fd, &event);
}

/* The topic's last client moves to the free place; publish() runs backwards, so that client already has the message. */
static void hang_up(int fd) {
    struct client *client = &clients[fd];
    if (client->topic) {
        int last = client->topic->fds[--client->topic->n];
        client->topic->fds[client->place] = last;
        clients[last].place = client->place;
    }
    drop(&client->in);
    drop(&client->out);
    client->open = 0;
    close(fd);
}

static void deliver(int fd, const char *frame, size_t n) {
    struct client *client = &clients[fd];
    ssize_t sent = 0;
    if (!client->out.n) {
        sent = send(fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == (ssize_t)n) return;
        if (sent < 0 && errno != EAGAIN) { hang_up(fd); return; }
        if (sent < 0) sent = 0;
        watch(fd, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    if (client->out.n + n > WAITING) hang_up(fd);
    else keep(&client->out, frame + sent, n - sent);
}

static void writable(int fd) {
    struct bytes *out = &clients[fd].out;
    ssize_t sent = send(fd, out->at, out->n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { hang_up(fd); return; }
    if (sent > 0) memmove(out->at, out->at + sent, out->n -= sent);
    if (out->n) return;
    drop(out);
    watch(fd, EPOLL_CTL_MOD, EPOLLIN);
}

static struct topic *topic_of(const char *name, size_t n) {
    uint32_t hash = 2166136261u;
    if (n > 31) n = 31;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    struct topic **place = &topics[hash % TOPICS];
    for (struct topic *found = *place; found; found = found->next)
        if (strlen(found->name) == n && !memcmp(found->name, name, n)) return found;
    struct topic *made = calloc(1, sizeof *made);
    memcpy(made->name, name, n);
    made->next = *place;
    return *place = made;
}

static void subscribe(int fd, struct topic *topic) {
    if (clients[fd].topic) return;
    if (topic->n == topic->room) {
        topic->room = topic->room ? topic->room * 2 : 4;
        topic->fds = realloc(topic->fds, topic->room * sizeof *topic->fds);
    }
    clients[fd].topic = topic;
    clients[fd].place = topic->n;
    topic->fds[topic->n++] = fd;
}

/* One frame for all clients: a server's frames are not masked, so the bytes are equal. */
static void publish(struct topic *topic, const char *message, size_t n) {
    static char frame[READ + 4];
    size_t head = n < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(n < 126 ? n : 126);
    if (head == 4) { frame[2] = (char)(n >> 8); frame[3] = (char)n; }
    memcpy(frame + head, message, n);
    for (int i = topic->n; i-- > 0;) deliver(topic->fds[i], frame, head + n);
}

static void heard(int fd, char *text, size_t n) {
    char *rest = text + 4, *end = text + n, *space = memchr(rest, ' ', end - rest);
    if (n < 5) return;
    if (text[0] == 's') subscribe(fd, topic_of(rest, end - rest));
    else if (space) publish(topic_of(rest, space - rest), space + 1, end - space - 1);
}

/* Process complete frames of at most 64 KiB; return the number of bytes used. */
static size_t frames(int fd, char *at, size_t n) {
    size_t done = 0;
    while (clients[fd].open && n - done >= 6) {
        unsigned char *frame = (unsigned char *)at + done;
        size_t length = frame[1] & 127, head = 6;
        if (length == 126) { length = (size_t)frame[2] << 8 | frame[3]; head = 8; }
        if (n - done < head + length) break;
        for (size_t i = 0; i < length; i++) frame[head + i] ^= frame[head - 4 + (i & 3)];
        if ((frame[0] & 15) == 1) heard(fd, (char *)frame + head, length);
        done += head + length;
    }
    return done;
}

static void readable(int fd) {
    static const char welcome[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    struct client *client = &clients[fd];
    size_t kept = client->in.n, done = 0;
    if (kept) memcpy(input, client->in.at, kept);
    ssize_t got = recv(fd, input + kept, READ - kept, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { hang_up(fd); return; }
    size_t n = kept + got;
    drop(&client->in);
    if (client->open == 1) {
        char *end = memmem(input, n, "\r\n\r\n", 4);
        if (!end) { keep(&client->in, input, n); return; }
        done = end + 4 - input;
        client->open = 2;
        send(fd, welcome, sizeof welcome - 1, MSG_NOSIGNAL);
    }
    done += frames(fd, input + done, n - done);
    if (client->open && done < n) keep(&client->in, input + done, n - done);
}

static void welcome_all(int listener) {
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= CLIENTS) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        clients[fd] = (struct client){.open = 1};
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int count, char **words) {
    if (count != 2) { fprintf(stderr, "floor PORT\n"); return 2; }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) { perror("floor"); return 1; }
    signal(SIGPIPE, SIG_IGN);
    clients = calloc(CLIENTS, sizeof *clients);
    poll_fd = epoll_create1(0);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    static struct epoll_event events[512];
    for (;;) {
        int n = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) { welcome_all(listener); continue; }
            if (clients[fd].open && events[i].events & EPOLLOUT) writable(fd);
            if (clients[fd].open && events[i].events & ~EPOLLOUT) readable(fd);
        }
    }
}
