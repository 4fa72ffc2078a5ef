/* HTTP pushes at a whole gateway: the bytes they hold together have an end. The rest of what a push
 * may be is asked in tests/node/test_push.py. */
#include "net_test.h"

#include <string.h>

#include "base/json.h"
#include "gateway/gateway.h"

enum { MOST = 1000 };

static struct gateway *gateway;
static char answer[4096]; /* so far */
static char folder[] = "/tmp/leat-test-push-XXXXXX";

static int setup(void **state)
{
    struct gateway_conf conf = {.http_addr = "127.0.0.1:0",
                                .http_ingest = true,
                                .max_sessions = 10,
                                .version = "test",
                                .max_pushed_bytes = MOST};
    struct err err;

    setup_loop(state);
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(folder));
    conf.data_dir = folder;
    gateway = gateway_start(loop, &conf, &err);
    return gateway ? 0 : -1;
}

static int teardown(void **state)
{
    char *command = xasprintf("rm -r %s", folder);
    int failed;

    gateway_stop(gateway);
    failed = system(command);
    free(command);
    return failed ? -1 : teardown_loop(state);
}

static int64_t pushed_bytes(void)
{
    struct buf text;
    json_t *status;
    int64_t n;

    buf_init(&text, 1 << 20);
    gateway_status(gateway, &text);
    status = json_parse(buf_slice(&text), NULL);
    n = json_integer_value(json_object_get(status, "pushed_bytes"));
    json_decref(status);
    buf_cleanup(&text);
    return n;
}

/* A push of `length` bytes of which `sent` are sent. The kernel takes them: nobody waits here. */
static int push(const char *name, int length, int sent)
{
    const char *port = strrchr(gateway_http_addr(gateway), ':') + 1;
    char *text = xasprintf(
        "PUT /live/%s/0.ts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%0*d", name, length,
        sent, 0);
    int fd = raw_connect((uint16_t)atoi(port));

    answer[0] = '\0';
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    free(text);
    return fd;
}

/* Of the newest push. */
static bool has_answer(int fd, const char *what)
{
    size_t have = strlen(answer);
    ssize_t n = recv(fd, answer + have, sizeof(answer) - 1 - have, MSG_DONTWAIT);

    answer[have + (size_t)MAX(n, (ssize_t)0)] = '\0';
    return strstr(answer, what) != NULL;
}

/* Fault: many large pushes at once fill the memory, each within its own limit. */
static void pushes_share_a_ceiling(void **state)
{
    int first = push("first", 900, 800), second, third;

    (void)state;
    RUN_UNTIL(pushed_bytes() == 800);
    second = push("second", 500, 300);
    RUN_UNTIL(has_answer(second, "hold 800 bytes here, at most 1000 are held together and 300 more "
                                 "came"));
    assert_true(has_answer(second, "HTTP/1.1 503 "));
    assert_true(has_answer(second, "retry-after: 2\r\n"));
    assert_int_equal(pushed_bytes(), 800); /* the first one does not notice */
    close(first);
    RUN_UNTIL(pushed_bytes() == 0);
    third = push("third", 500, 500);
    RUN_UNTIL(has_answer(third, "HTTP/1.1 422 ")); /* its bytes were looked at */
    RUN_UNTIL(pushed_bytes() == 0);
    close(second);
    close(third);
}

/* One alone is refused as well, whatever it says of its length. */
static void one_push_may_be_too_much(void **state)
{
    int fd = push("large", 5000, MOST + 1);

    (void)state;
    RUN_UNTIL(has_answer(fd, "HTTP/1.1 503 "));
    RUN_UNTIL(pushed_bytes() == 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pushes_share_a_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(one_push_may_be_too_much, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
