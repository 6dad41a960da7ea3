/* GNU libmicrohttpd with a thread per connection: pages, late ones, rows every 60 ms, uploads. */
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t rows(void *unused, uint64_t at, char *to, size_t room) {
    if (at >= 300) return MHD_CONTENT_READER_END_OF_STREAM;
    usleep(60000);
    memcpy(to, "{\"row\":1}\n", 10);
    return 10;
}

static enum MHD_Result answer(void *unused, struct MHD_Connection *on, const char *path, const char *method, const char *version,
                              const char *body, size_t *size, void **state) {
    static int seen;
    static char page[300000];
    struct MHD_Response *made;
    if (!*state) { *state = &seen; return MHD_YES; }
    if (*size) { *size = 0; return MHD_YES; }
    if (!strcmp(path, "/late")) usleep(300000);
    made = strcmp(path, "/rows") ? MHD_create_response_from_buffer(strcmp(path, "/large") ? 300 : sizeof page, page, MHD_RESPMEM_PERSISTENT)
                                 : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, rows, NULL, NULL);
    enum MHD_Result done = MHD_queue_response(on, 200, made);
    MHD_destroy_response(made);
    return done;
}

int main(int count, char **words) {
    MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, atoi(words[1]), NULL, NULL, answer, NULL,
                     MHD_OPTION_CONNECTION_TIMEOUT, 3u, MHD_OPTION_END);
    pause();
}
