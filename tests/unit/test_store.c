#include "net_test.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/database.h"
#include "store/store.h"
#include "store/unsaved.h"

static char *dir;
static struct store *store;

/* --- what came back --- */

struct seen {
    int opened, done, values, lists;
    struct err open_err, err;
    char value[256];
    size_t value_n;
    bool absent;
    char order[64]; /* one letter for each answer */
    char rows[512];
    size_t n_rows;
};
static struct seen seen;

static void mark(const char *letter)
{
    if (strlen(seen.order) + 1 < sizeof(seen.order))
        strcat(seen.order, letter);
}

static void on_open(const struct err *err, void *arg)
{
    (void)arg;
    seen.opened++;
    seen.open_err = err ? *err : (struct err){RC_OK, ""};
}

static void on_done(const struct err *err, void *arg)
{
    seen.done++;
    seen.err = err ? *err : (struct err){RC_OK, ""};
    mark(arg ? arg : "p");
}

static void on_value(struct blob *value, const struct err *err, void *arg)
{
    (void)arg;
    seen.values++;
    seen.err = err ? *err : (struct err){RC_OK, ""};
    seen.absent = !value;
    memset(seen.value, 0, sizeof(seen.value));
    seen.value_n = blob_slice(value).n;
    if (value)
        memcpy(seen.value, value->p, MIN(value->n, sizeof(seen.value) - 1));
    mark(value ? seen.value : "-");
}

static void on_rows(const struct store_row *rows, size_t n, const struct err *err, void *arg)
{
    (void)arg;
    seen.lists++;
    seen.err = err ? *err : (struct err){RC_OK, ""};
    seen.n_rows = n;
    seen.rows[0] = 0;
    for (size_t i = 0; i < n && i < 20; i++)
        snprintf(seen.rows + strlen(seen.rows), sizeof(seen.rows) - strlen(seen.rows),
                 SLICE_FMT "=" SLICE_FMT " ", SLICE_ARG(rows[i].key), SLICE_ARG(rows[i].value));
    mark("l");
}

/* --- the store of a test --- */

static void open_store(void)
{
    int before = seen.opened;

    store = store_open(loop, dir, on_open, NULL);
    RUN_UNTIL(seen.opened > before);
}

static void close_store(void)
{
    store_close(store);
    store = NULL;
}

static int setup(void **state)
{
    seen = (struct seen){0};
    dir = make_dir();
    log_set_level(LOG_BUG);
    return setup_loop(state);
}

static int teardown(void **state)
{
    store_close(store);
    store = NULL;
    remove_dir(dir);
    return teardown_loop(state);
}

static void put(const char *key, const char *value, enum durability d)
{
    store_put(store, "test", slice_str(key), slice_str(value), d, on_done, NULL);
}

static void put_now(const char *key, const char *value)
{
    int before = seen.done;

    put(key, value, STORE_NOW);
    RUN_UNTIL(seen.done > before);
}

static const char *get(const char *space, const char *key)
{
    int before = seen.values;

    store_get(store, space, slice_str(key), on_value, NULL);
    RUN_UNTIL(seen.values > before);
    return seen.absent ? NULL : seen.value;
}

static const char *list_rows(const char *prefix, size_t max)
{
    int before = seen.lists;

    store_list(store, "test", slice_str(prefix), max, on_rows, NULL);
    RUN_UNTIL(seen.lists > before);
    return seen.rows;
}

static struct store_health health(void)
{
    struct store_health h;

    store_health_get(store, &h);
    return h;
}

static char *file_path(const char *ending)
{
    return xasprintf("%s/leat.sqlite3%s", dir, ending);
}

/* Lets the loop turn until the database thread has saved all. */
static void wait_until_saved(void)
{
    timer_start(watchdog, WATCHDOG_MS);
    while ((health().queued || !health().ok) && !watchdog_bit)
        run_for(20);
    timer_stop(watchdog);
    assert_int_equal(health().queued, 0);
    assert_true(health().ok);
}

/* --- tests --- */

static void values_come_back(void **state)
{
    (void)state;
    open_store();
    assert_int_equal(seen.open_err.code, RC_OK);
    assert_null(get("test", "a"));
    put_now("a", "1");
    assert_int_equal(seen.err.code, RC_OK);
    assert_string_equal(get("test", "a"), "1");
    assert_null(get("other", "a"));
    put_now("a", "");
    assert_string_equal(get("test", "a"), "");
    store_delete(store, "test", slice_str("a"));
    assert_null(get("test", "a"));
}

static void values_survive_a_restart(void **state)
{
    (void)state;
    open_store();
    put("soon", "1", STORE_SOON); /* saved by the close */
    put_now("now", "2");
    store_put(store, "test", SLICE_LIT("a\0b"), SLICE_LIT("\0\xff"), STORE_SOON, NULL, NULL);
    store_put(store, "test", SLICE_LIT("gone"), SLICE_LIT("x"), STORE_NOW, NULL, NULL);
    store_delete(store, "test", SLICE_LIT("gone"));
    close_store();
    assert_int_equal(seen.done, 2); /* what was open is answered from within */
    open_store();
    assert_string_equal(get("test", "soon"), "1");
    assert_string_equal(get("test", "now"), "2");
    assert_null(get("test", "gone"));
    store_get(store, "test", SLICE_LIT("a\0b"), on_value, NULL);
    RUN_UNTIL(seen.values == 4);
    assert_int_equal(seen.value_n, 2);
    assert_memory_equal(seen.value, "\0\xff", 2);
}

static void answers_come_in_order(void **state)
{
    (void)state;
    open_store();
    seen.order[0] = 0;
    for (int i = 0; i < 4; i++) {
        char value[2] = {(char)('1' + i), 0};

        store_put(store, "test", slice_str("k"), slice_str(value), i % 2 ? STORE_NOW : STORE_SOON,
                  i < 2 ? on_done : NULL, NULL);
        store_get(store, "test", slice_str("k"), on_value, NULL);
    }
    store_delete(store, "test", slice_str("k"));
    store_get(store, "test", slice_str("k"), on_value, NULL);
    store_list(store, "test", slice_str(""), 9, on_rows, NULL);
    RUN_UNTIL(seen.lists == 1);
    assert_string_equal(seen.order, "p1p234-l");
}

static void callbacks_come_from_the_loop(void **state)
{
    (void)state;
    store = store_open(loop, dir, on_open, NULL);
    put("a", "1", STORE_NOW);
    assert_int_equal(seen.opened + seen.done, 0);
    RUN_UNTIL(seen.done == 1);
    assert_int_equal(seen.opened, 1);
}

static void lists_show_what_is_unsaved_too(void **state)
{
    (void)state;
    open_store();
    put_now("b/1", "old");
    put_now("b/2", "2");
    put_now("c", "3");
    put("b/1", "new", STORE_SOON);
    put("b/0", "0", STORE_SOON);
    store_delete(store, "test", slice_str("b/2"));
    assert_string_equal(list_rows("b/", 9), "b/0=0 b/1=new ");
    assert_string_equal(list_rows("", 9), "b/0=0 b/1=new c=3 ");
    assert_string_equal(list_rows("", 2), "b/0=0 b/1=new ");
    assert_string_equal(list_rows("d", 9), "");
    assert_string_equal(list_rows("", 0), "");
    wait_until_saved(); /* the look has not lost them */
    assert_string_equal(list_rows("b/", 9), "b/0=0 b/1=new ");
}

static void expiry_takes_what_is_old(void **state)
{
    char *path = file_path("");
    struct database *d = database_new(path);
    int64_t day = 86400000;

    (void)state;
    assert_int_equal(database_begin(d, NULL), RC_OK);
    for (int i = 0; i < 5; i++) {
        char key[2] = {(char)('0' + i), 0};

        assert_int_equal(database_put(d, "test", slice_str(key), slice_str("x"),
                                      clock_wall_ms() - i * day, NULL),
                         RC_OK);
    }
    assert_int_equal(database_put(d, "other", slice_str("4"), slice_str("x"), 0, NULL), RC_OK);
    assert_int_equal(database_commit(d, NULL), RC_OK);
    database_free(d);
    free(path);
    open_store();
    store_expire(store, "test", 2);
    assert_string_equal(list_rows("", 9), "0=x 1=x ");
    assert_string_equal(get("other", "4"), "x");
}

/* A crash right after the answer loses nothing. The child ends itself within the callback. */
static void on_done_die(const struct err *err, void *arg)
{
    (void)arg;
    if (!err)
        kill(getpid(), SIGKILL);
    _exit(1);
}

static void now_means_on_disk(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        struct loop *own = loop_new();

        store = store_open(own, dir, on_open, NULL);
        store_put(store, "test", slice_str("a"), slice_str("1"), STORE_NOW, on_done_die, NULL);
        loop_run(own);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    open_store();
    assert_string_equal(get("test", "a"), "1");
}

static int told_fd;

static void on_number_done(const struct err *err, void *arg)
{
    static uint32_t number;
    char key[16];

    (void)arg;
    if (err)
        _exit(1);
    if (number && write(told_fd, &number, sizeof(number)) != sizeof(number))
        _exit(1);
    snprintf(key, sizeof(key), "%u", ++number);
    store_put(store, "test", slice_str(key), slice_str(key), STORE_NOW, on_number_done, NULL);
}

/* Killed in the midst of writing: all that was answered is there. */
static void a_kill_loses_nothing_answered(void **state)
{
    int fds[2], status;
    uint32_t number = 0, last = 0;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    child = fork();
    if (child == 0) {
        struct loop *own = loop_new();

        told_fd = fds[1];
        store = store_open(own, dir, on_number_done, NULL);
        loop_run(own);
        _exit(2);
    }
    close(fds[1]);
    while (last < 30 && read(fds[0], &number, sizeof(number)) == sizeof(number))
        last = number;
    kill(child, SIGKILL);
    while (read(fds[0], &number, sizeof(number)) == sizeof(number))
        last = number;
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(last >= 30);
    open_store();
    list_rows("", 100000);
    assert_true(seen.n_rows == last || seen.n_rows == last + 1);
}

static void write_file(const char *ending, size_t at, const char *text)
{
    char *path = file_path(ending);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, strlen(text), (off_t)at), strlen(text));
    close(fd);
    free(path);
}

static int count_files(const char *pattern)
{
    char *command = xasprintf("ls %s/%s 2>/dev/null | wc -l", dir, pattern);
    FILE *f = popen(command, "r");
    int n = -1;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    free(command);
    return n;
}

static void a_file_that_is_none_is_set_aside(void **state)
{
    (void)state;
    write_file("", 0, "this was a database once, before the disk forgot itself ... ........");
    write_file("-wal", 0, "and this was its log");
    open_store();
    assert_int_equal(seen.open_err.code, RC_OK);
    put_now("a", "1");
    assert_int_equal(seen.err.code, RC_OK);
    assert_int_equal(count_files("leat.sqlite3.corrupt-*[0-9]"), 1);
}

/* Pages in the middle overwritten: the header still looks well. */
static void a_damaged_file_is_set_aside(void **state)
{
    char text[8192];

    (void)state;
    open_store();
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    put_now("a", text);
    put_now("b", text);
    close_store();
    write_file("", 4096, text);
    open_store();
    assert_int_equal(seen.open_err.code, RC_OK);
    assert_int_equal(count_files("leat.sqlite3.corrupt-*"), 1);
    assert_null(get("test", "a"));
    put_now("a", "2");
    assert_string_equal(get("test", "a"), "2");
}

/* Damage that comes while it runs: what is not saved yet goes into the new file. */
static void damage_in_flight(void **state)
{
    char *path = file_path(""), *wal = file_path("-wal"), text[4096];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    open_store();
    put_now("a", "1");
    write_file("", 0, text);
    write_file("-wal", 0, text);
    write_file("-shm", 0, text); /* its pages are mapped by the running database */
    assert_int_equal(truncate(wal, 0), 0);
    put_now("b", "2"); /* meets the damage, or the one after it does */
    put_now("c", "3");
    wait_until_saved();
    put_now("d", "4");
    assert_string_equal(get("test", "d"), "4");
    close_store();
    open_store();
    assert_string_equal(get("test", "d"), "4");
    free(path);
    free(wal);
}

static void a_newer_files_data_is_left_alone(void **state)
{
    char *path = file_path("");
    sqlite3 *db;

    (void)state;
    open_store();
    put_now("a", "1");
    close_store();
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    open_store();
    assert_int_equal(seen.open_err.code, RC_UNSUPPORTED);
    assert_non_null(strstr(seen.open_err.text, "made by a newer leat"));
    assert_int_equal(count_files("leat.sqlite3.corrupt-*"), 0);
    free(path);
}

/* No folder, then one: values put meanwhile are read from memory and saved later. */
static void a_disk_that_comes_back(void **state)
{
    char *parent = dir;

    (void)state;
    dir = xasprintf("%s/sub", parent);
    open_store();
    assert_int_equal(seen.open_err.code, RC_IO);
    assert_false(health().ok);
    put_now("a", "1");
    assert_int_equal(seen.err.code, RC_IO);
    put("b", "2", STORE_SOON);
    assert_string_equal(get("test", "a"), "1");
    assert_string_equal(get("test", "b"), "2");
    assert_null(get("test", "c"));
    assert_int_equal(seen.err.code, RC_IO); /* nobody knows */
    assert_true(health().queued >= 2);
    assert_non_null(strstr(health().last_error, dir));
    assert_int_equal(mkdir(dir, 0700), 0);
    wait_until_saved();
    close_store();
    open_store();
    assert_string_equal(list_rows("", 9), "a=1 b=2 ");
    close_store();
    free(dir);
    dir = parent;
}

/* A limit on the size of files stands for the full disk; see the next test for a real one. */
static void a_full_disk(void **state)
{
    struct rlimit limit, small;
    char big[64 * 1024];

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    open_store();
    put_now("small", "1");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 60 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    put_now("big", big);
    assert_int_equal(seen.err.code, RC_IO);
    assert_false(health().ok);
    store_get(store, "test", slice_str("big"), on_value, NULL); /* from memory */
    RUN_UNTIL(seen.values == 1);
    assert_false(seen.absent);
    assert_string_equal(get("test", "small"), "1"); /* from the disk, which can be read */
    put("small", "2", STORE_SOON);
    put("small", "3", STORE_SOON);
    assert_string_equal(list_rows("small", 9), "small=3 ");
    assert_false(health().ok);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    wait_until_saved();
    close_store();
    open_store();
    assert_string_equal(get("test", "small"), "3");
    list_rows("", 9);
    assert_int_equal(seen.n_rows, 2);
}

static void a_full_tmpfs(void **state)
{
    char text[16384];
    char *junk;
    int fd;

    (void)state;
    /* in a mount space of this process, so that nothing stays behind */
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("leat-test", dir, "tmpfs", 0, "size=256k") != 0)
        skip(); /* needs root */
    memset(text, 'x', sizeof(text));
    open_store();
    put_now("a", "1");
    junk = xasprintf("%s/junk", dir);
    fd = open(junk, O_WRONLY | O_CREAT, 0600);
    while (write(fd, text, sizeof(text)) > 0)
        ;
    close(fd);
    text[sizeof(text) - 1] = 0;
    put_now("b", text);
    assert_int_equal(seen.err.code, RC_IO);
    assert_false(health().ok);
    unlink(junk);
    free(junk);
    wait_until_saved();
    close_store();
    open_store();
    list_rows("", 9);
    assert_int_equal(seen.n_rows, 2);
    close_store();
    assert_int_equal(umount(dir), 0);
}

/* Another process holds the database, as a disk that hangs would. */
static void what_waits_is_bounded(void **state)
{
    char *path = file_path(""), key[16];
    sqlite3 *db;

    (void)state;
    open_store();
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    store_put(store, "test", slice_str("first"), slice_str("1"), STORE_NOW, on_done, NULL);
    for (int i = 0; i < MAX_UNSAVED + 5000; i++) {
        snprintf(key, sizeof(key), "%05d", i);
        store_put(store, "test", slice_str(key), slice_str("x"), STORE_SOON, NULL, NULL);
    }
    assert_true(health().queued <= 2 * MAX_UNSAVED);
    RUN_UNTIL(seen.done == 1);
    assert_int_equal(seen.err.code, RC_IO);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    wait_until_saved();
    list_rows("", 3 * MAX_UNSAVED);
    assert_int_equal(seen.n_rows, MAX_UNSAVED);
    snprintf(key, sizeof(key), "%05d", MAX_UNSAVED + 4999);
    assert_string_equal(get("test", key), "x"); /* the newest are kept */
    free(path);
}

static void soon_is_within_a_second(void **state)
{
    char *path = file_path("");
    struct database *other;
    struct blob *value = NULL;
    int64_t since;

    (void)state;
    open_store();
    since = clock_mono_ms();
    for (int i = 0; i < 100; i++)
        put("a", i % 2 ? "odd" : "even", STORE_SOON);
    RUN_UNTIL(seen.done > 0);
    other = database_new(path);
    while (!value && clock_mono_ms() - since < 10000) {
        assert_int_equal(database_get(other, "test", slice_str("a"), &value, NULL), RC_OK);
        if (!value)
            run_for(20);
    }
    assert_non_null(value);
    assert_true(slice_eq_str(blob_slice(value), "odd"));
    assert_int_equal(health().queued, 0);
    blob_unref(&value);
    database_free(other);
    free(path);
}

static void newest_write_of_a_key_counts(void **state)
{
    struct unsaved u;
    struct write w = {.kind = WRITE_PUT, .space = "test"};

    (void)state;
    unsaved_init(&u);
    w.key = blob_copy(SLICE_LIT("k"));
    w.value = blob_copy(SLICE_LIT("1"));
    unsaved_add(&u, &w);
    w.kind = WRITE_DELETE;
    unsaved_add(&u, &w);
    w.kind = WRITE_EXPIRE; /* has no key: replaces no write of one */
    unsaved_add(&u, &w);
    unsaved_add(&u, &w);
    assert_int_equal(u.writes.n, 2);
    assert_int_equal(unsaved_find(&u, "test", SLICE_LIT("k"))->kind, WRITE_DELETE);
    assert_null(unsaved_find(&u, "tes", SLICE_LIT("tk")));
    assert_null(unsaved_find(&u, "test", SLICE_LIT("")));
    unsaved_clear(&u);
    assert_null(unsaved_find(&u, "test", SLICE_LIT("k")));
    blob_unref(&w.key);
    blob_unref(&w.value);
    unsaved_cleanup(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(values_come_back),
        T(values_survive_a_restart),
        T(answers_come_in_order),
        T(callbacks_come_from_the_loop),
        T(lists_show_what_is_unsaved_too),
        T(expiry_takes_what_is_old),
        T(now_means_on_disk),
        T(a_kill_loses_nothing_answered),
        T(a_file_that_is_none_is_set_aside),
        T(a_damaged_file_is_set_aside),
        T(damage_in_flight),
        T(a_newer_files_data_is_left_alone),
        T(a_disk_that_comes_back),
        T(a_full_disk),
        T(a_full_tmpfs),
        T(what_waits_is_bounded),
        T(soon_is_within_a_second),
        T(newest_write_of_a_key_counts),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
