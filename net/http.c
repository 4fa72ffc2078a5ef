#include "net/http.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"

struct slice http_header_get(const struct http_headers *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (slice_eq_nocase(h->v[i].name, name))
            return h->v[i].value;
    return slice_of(NULL, 0);
}

/* IANA's registry with the texts that Go servers send, and 499 for a peer that left. */
static const struct {
    int status;
    const char *text;
} statuses[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {414, "Request URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Requested Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "Unknown";
}

struct slice http_date_now(void)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static _Thread_local char text[64];
    static _Thread_local int64_t second = -1;
    int64_t now = clock_wall_ms() / 1000;

    if (now != second) {
        time_t t = (time_t)now;
        struct tm tm;

        gmtime_r(&t, &tm);
        snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
                 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                 tm.tm_sec);
        second = now;
    }
    return slice_str(text);
}

/* "gzip;q=0.0" means no. */
static bool is_gzip(struct slice coding)
{
    struct slice name, q;

    if (!slice_split(&coding, ';', &name) || !slice_eq_nocase(slice_trim(name), "gzip"))
        return false;
    q = slice_trim(coding);
    if (!slice_has_prefix(q, "q="))
        return true;
    for (size_t i = 2; i < q.n; i++)
        if (q.p[i] >= '1' && q.p[i] <= '9')
            return true;
    return false;
}

bool http_accepts_gzip(const struct http_headers *h)
{
    struct slice rest = http_header_get(h, "accept-encoding"), one;

    while (slice_split(&rest, ',', &one))
        if (is_gzip(one))
            return true;
    return false;
}
