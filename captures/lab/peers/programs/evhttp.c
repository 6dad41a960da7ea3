/* libevent's HTTP server: pages, late ones, rows every 60 ms, uploads. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

static struct event_base *base;
struct row { struct evhttp_request *to; int left; };

static void late(evutil_socket_t fd, short what, void *to) { evhttp_send_reply(to, 200, "OK", NULL); }

static void row(evutil_socket_t fd, short what, void *given) {
    struct row *one = given;
    struct timeval soon = {0, 60000};
    struct evbuffer *piece = evbuffer_new();
    if (!one->left--) { evhttp_send_reply_end(one->to); free(one); evbuffer_free(piece); return; }
    evbuffer_add_printf(piece, "{\"row\": %d}\n", one->left);
    evhttp_send_reply_chunk(one->to, piece);
    evbuffer_free(piece);
    event_base_once(base, -1, EV_TIMEOUT, row, one, &soon);
}

static void answer(struct evhttp_request *to, void *unused) {
    const char *path = evhttp_request_get_uri(to);
    struct timeval wait = {0, 300000};
    struct evbuffer *body = evbuffer_new();
    if (!strcmp(path, "/late")) { event_base_once(base, -1, EV_TIMEOUT, late, to, &wait); return; }
    if (!strcmp(path, "/rows")) {
        struct row *one = malloc(sizeof *one);
        one->to = to, one->left = 30;
        evhttp_send_reply_start(to, 200, "OK");
        row(-1, 0, one);
        return;
    }
    for (int n = strcmp(path, "/large") ? 3 : 3000; n--;)
        evbuffer_add_printf(body, "%0100d", n);
    evhttp_send_reply(to, 200, "OK", body);
    evbuffer_free(body);
}

int main(int count, char **words) {
    base = event_base_new();
    struct evhttp *server = evhttp_new(base);
    evhttp_set_gencb(server, answer, NULL);
    evhttp_set_timeout(server, 3);
    return evhttp_bind_socket(server, "0.0.0.0", atoi(words[1])) || event_base_dispatch(base);
}
