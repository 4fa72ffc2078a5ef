/* Accepting: addresses to listen on, the limits that a stranger meets there, and the
 * handshake before the owner sees the stream. Running out of descriptors does not spin:
 * libuv keeps one in reserve, with which it accepts and closes what it cannot serve. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/url.h"
#include "net/net_int.h"

enum { BACKLOG = 1024, DEFAULT_MAX_CONNECTIONS = 10000, DEFAULT_HANDSHAKE_MS = 5000 };

/* How many connections are open, in all and by peer. Outlives the listener while accepted
 * streams do. */
struct admission {
    int refs;
    int connections;
    struct map *peers; /* address bytes to struct peer_count */
};

struct peer_count {
    int n;
    uint8_t key[16];
    size_t key_n;
};

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct loop *loop;
    struct listen_conf conf;
    struct admission *admission;
    struct list handshakes; /* of struct opening */
    struct log_limit full_log, error_log;
    bool closed;
    uint16_t port;
    char *unix_path;
    char addr[160];
};

/* An accepted stream in its handshake; on_open and the listener's end both find it. */
struct opening {
    struct list_node node;
    struct listener *listener;
    struct stream *stream;
};

/* --- counting --- */

static void admission_unref(struct admission *a)
{
    if (--a->refs > 0)
        return;
    map_free(a->peers);
    free(a);
}

/* IPv4 by address, IPv6 by the /64 that one customer usually has. */
static size_t peer_key(const struct sockaddr *addr, uint8_t key[16])
{
    if (addr->sa_family == AF_INET) {
        memcpy(key, &((const struct sockaddr_in *)addr)->sin_addr, 4);
        return 4;
    }
    const struct in6_addr *six = &((const struct sockaddr_in6 *)addr)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(six);
    memcpy(key, six->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
    return mapped ? 4 : 8;
}

static bool admit_peer(struct listener *l, struct stream *s)
{
    struct sockaddr_storage addr;
    int n = sizeof(addr);
    uint8_t key[16];
    size_t key_n;
    struct peer_count *p;

    if (l->conf.max_per_peer <= 0 || s->loopback)
        return true;
    if (uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&addr, &n) != 0)
        return false;
    key_n = peer_key((struct sockaddr *)&addr, key);
    p = map_get(l->admission->peers, slice_of(key, key_n));
    if (!p) {
        p = xcalloc(1, sizeof(*p));
        memcpy(p->key, key, key_n);
        p->key_n = key_n;
        map_put(l->admission->peers, slice_of(key, key_n), p);
    }
    if (p->n >= l->conf.max_per_peer)
        return false;
    p->n++;
    s->peer_count = p;
    return true;
}

static bool admit(struct listener *l, struct stream *s)
{
    struct admission *a = l->admission;

    if (a->connections < l->conf.max_connections && admit_peer(l, s)) {
        a->connections++;
        a->refs++;
        s->admission = a;
        return true;
    }
    if (log_allowed(&l->full_log, 6))
        log_peer(NULL, "%s refused on %s: %d of %d connections are open, at most %d of one peer",
                 s->peer, l->addr, a->connections, l->conf.max_connections, l->conf.max_per_peer);
    return false;
}

void admission_leave(struct stream *s)
{
    struct admission *a = s->admission;

    if (!a)
        return;
    s->admission = NULL;
    a->connections--;
    if (s->peer_count && --s->peer_count->n == 0) {
        map_remove(a->peers, slice_of(s->peer_count->key, s->peer_count->key_n));
        free(s->peer_count);
    }
    admission_unref(a);
}

/* --- accepting --- */

static void hand_over(struct listener *l, struct stream *s)
{
    s->phase = STREAM_OPEN;
    l->conf.on_stream(s, l->conf.arg);
}

static void on_handshake(struct stream *s, const struct err *why)
{
    struct opening *o = s->owner;
    struct listener *l = o->listener;

    list_remove(&l->handshakes, &o->node);
    free(o);
    s->on_open = NULL;
    s->owner = NULL;
    if (!why) {
        hand_over(l, s);
        return;
    }
    log_debug(NULL, "%s", why->text);
    stream_close_when_sent(s); /* with the alert that says why */
}

static void on_handshake_timeout(void *arg)
{
    struct stream *s = arg;
    struct err err;

    err_set(&err, RC_TIMEOUT, "TLS handshake with %s took too long", s->peer);
    on_handshake(s, &err);
}

static void start_handshake(struct listener *l, struct stream *s)
{
    SSL *ssl = tls_server_ssl(l->conf.tls);
    struct opening *o;

    if (!ssl) {
        stream_close(s);
        return;
    }
    o = xcalloc(1, sizeof(*o));
    o->listener = l;
    o->stream = s;
    list_push(&l->handshakes, &o->node);
    s->owner = o;
    s->on_open = on_handshake;
    s->timer = timer_new(l->loop, on_handshake_timeout, s);
    timer_start(s->timer, l->conf.handshake_timeout_ms);
    stream_start_tls(s, ssl);
}

static void on_connection(uv_stream_t *h, int status)
{
    struct listener *l = h->data;
    struct stream *s;

    if (status < 0) {
        if (log_allowed(&l->error_log, 6))
            log_peer(NULL, "%s cannot accept: %s", l->addr, uv_strerror(status));
        return;
    }
    s = stream_new(l->loop, l->unix_path != NULL);
    if (uv_accept(h, &s->uv.stream) != 0) {
        stream_close(s);
        return;
    }
    stream_set_peer(s);
    if (!admit(l, s))
        stream_close(s);
    else if (l->conf.tls)
        start_handshake(l, s);
    else
        hand_over(l, s);
}

/* --- opening: Unix --- */

static bool unix_address(const char *path, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof(out->sun_path))
        return false;
    memcpy(out->sun_path, path, strlen(path));
    return true;
}

/* A socket file that nobody listens on is left over from a crash. */
static bool unix_is_alive(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
                             errno == EAGAIN || errno == EINPROGRESS || errno == EACCES);

    if (fd >= 0)
        close(fd);
    return alive;
}

static void unlink_socket(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(path); /* bind reports what still stands in the way */
}

static enum rc open_unix(struct listener *l, const char *path, struct err *err)
{
    struct sockaddr_un addr;
    int fd;

    if (!unix_address(path, &addr))
        return err_set(err, RC_BAD_INPUT, "socket path \"%s\" is empty or above %zu bytes", path,
                       sizeof(addr.sun_path) - 1);
    if (unix_is_alive(&addr))
        return err_set(err, RC_EXISTS, "another program listens on %s", path);
    unlink_socket(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, RC_IO, errno, "socket");
    /* before bind: the file never exists with wider rights */
    if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        enum rc rc = err_errno(err, errno == EADDRINUSE ? RC_EXISTS : RC_IO, errno, "bind %s",
                               path);
        close(fd);
        return rc;
    }
    l->unix_path = xstrdup(path);
    uv_pipe_init(&l->loop->uv, &l->uv.pipe, 0);
    uv_pipe_open(&l->uv.pipe, fd);
    snprintf(l->addr, sizeof(l->addr), "unix:%s", path);
    return RC_OK;
}

/* --- opening: TCP --- */

static enum rc resolve(const char *host, uint16_t port, struct sockaddr_storage *out,
                       struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int rc;

    if (uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)out) == 0)
        return RC_OK;
    rc = getaddrinfo(host, NULL, &hints, &found); /* may block: at start-up only */
    if (rc != 0)
        return err_set(err, RC_BAD_INPUT, "address %s: %s", host, gai_strerror(rc));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (out->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)out)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)out)->sin_port = htons(port);
    return RC_OK;
}

static void name_tcp(struct listener *l)
{
    struct sockaddr_storage addr;
    int n = sizeof(addr);
    char host[48] = "?";
    bool six;

    if (uv_tcp_getsockname(&l->uv.tcp, (struct sockaddr *)&addr, &n) != 0)
        return;
    six = addr.ss_family == AF_INET6;
    l->port = ntohs(six ? ((struct sockaddr_in6 *)&addr)->sin6_port
                        : ((struct sockaddr_in *)&addr)->sin_port);
    (void)uv_ip_name((struct sockaddr *)&addr, host, sizeof(host)); /* stays "?" */
    snprintf(l->addr, sizeof(l->addr), six ? "[%s]:%u" : "%s:%u", host, l->port);
}

/* ":8935" means every address of the machine, IPv6 included where there is IPv6. */
static enum rc open_tcp(struct listener *l, const char *text, struct err *err)
{
    struct sockaddr_storage addr = {0};
    char host[URL_HOST_MAX];
    uint64_t any_port;
    bool any = text[0] == ':' && slice_u64(slice_str(text + 1), UINT16_MAX, &any_port);
    uint16_t port = any ? (uint16_t)any_port : 0;
    enum rc rc = any ? RC_OK : addr_split(text, host, &port, err);
    int status;

    if (rc == RC_OK)
        rc = resolve(any ? "::" : host, port, &addr, err);
    if (rc != RC_OK)
        return rc;
    uv_tcp_init(&l->loop->uv, &l->uv.tcp);
    status = uv_tcp_bind(&l->uv.tcp, (struct sockaddr *)&addr, 0);
    if (status == UV_EAFNOSUPPORT && any && resolve("0.0.0.0", port, &addr, err) == RC_OK)
        status = uv_tcp_bind(&l->uv.tcp, (struct sockaddr *)&addr, 0);
    return status == 0 ? RC_OK : uv_err(err, status, "listen on %s", text);
}

/* --- the interface --- */

static void on_listener_closed(uv_handle_t *h)
{
    struct listener *l = h->data;

    free(l->unix_path);
    free(l);
}

void listener_close(struct listener *l)
{
    if (!l || l->closed)
        return;
    l->closed = true;
    LIST_EACH (&l->handshakes, struct opening, node, o) {
        struct stream *s = o->stream;

        list_remove(&l->handshakes, &o->node);
        free(o);
        stream_close(s);
    }
    if (l->unix_path)
        unlink_socket(l->unix_path);
    admission_unref(l->admission);
    l->admission = NULL;
    uv_close(&l->uv.handle, on_listener_closed);
}

static void set_defaults(struct listen_conf *c)
{
    if (c->max_connections <= 0)
        c->max_connections = DEFAULT_MAX_CONNECTIONS;
    if (c->handshake_timeout_ms <= 0)
        c->handshake_timeout_ms = DEFAULT_HANDSHAKE_MS;
}

struct listener *listener_open(struct loop *loop, const struct listen_conf *conf, struct err *err)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    bool is_unix = strncmp(conf->addr, "unix:", 5) == 0;
    enum rc rc;
    int status;

    l->loop = loop;
    l->conf = *conf;
    set_defaults(&l->conf);
    list_init(&l->handshakes);
    l->admission = xcalloc(1, sizeof(*l->admission));
    l->admission->refs = 1;
    l->admission->peers = map_new();
    rc = is_unix ? open_unix(l, conf->addr + 5, err) : open_tcp(l, conf->addr, err);
    l->uv.handle.data = l;
    status = rc == RC_OK ? uv_listen(&l->uv.stream, BACKLOG, on_connection) : 0;
    if (status != 0)
        rc = uv_err(err, status, "listen on %s", conf->addr);
    if (rc != RC_OK) {
        if (l->uv.handle.type != UV_UNKNOWN_HANDLE) {
            listener_close(l);
        } else {
            admission_unref(l->admission);
            free(l);
        }
        return NULL;
    }
    if (!is_unix)
        name_tcp(l);
    return l;
}

const char *listener_addr(const struct listener *l)
{
    return l->addr;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

int listener_connections(const struct listener *l)
{
    return l->admission->connections;
}
