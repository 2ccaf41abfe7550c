/*
 * http TABLE - table test of lib/http.
 *
 * A row is a name, what must come of it, and the bytes of a connection.
 * However the bytes are cut into reads, the outcome must be the same.  Input
 * always ends at an inaccessible page, and so moves as more arrives: reading
 * too far is a fault, and a span kept from an earlier call shows wrong bytes.
 *
 * Outcomes: "more", "400", or "METHOD TARGET 1.MINOR keep|close", then as
 * applies: host=, n= (headers, when over one), x= (values of header x, joined
 * with '|'), length=, chunked, expect, body= (over 40 bytes: body#SIZE),
 * body-more or body-bad, rest= (bytes of the next message).  "400@17": and
 * it is known with the 17th byte.
 */
#include <sys/mman.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "http.h"

#define EDGE_MAX	(128 * 1024)

enum stage { HEAD, LENGTH, CHUNKED, END, BAD_HEAD, BAD_BODY };

struct session {
	enum stage stage;
	struct http_scan scan;
	struct http_request req;
	struct http_chunked chunked;
	uint64_t left;
	struct buf in;		/* arrived, not consumed */
	struct buf summary, body;
};

static char *edge;		/* the inaccessible page */
static size_t edge_used;
static int tests, failures;

static _Noreturn void
fail(const char *what)
{
	perror(what);
	exit(111);
}

static void
report(bool ok, const char *name)
{
	printf("%sok %d - http: %s\n", ok ? "" : "not ", ++tests, name);
	failures += !ok;
}

static void __attribute__((format(printf, 2, 3)))
add(struct buf *b, const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	buf_add_str(b, text);
}

static void
edge_open(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, EDGE_MAX + page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	edge = p + EDGE_MAX;
	if (mprotect(edge, page, PROT_NONE) == -1)
		fail("mprotect");
}

/* What was there before must not look like what is there now. */
static struct span
edge_put(struct span s)
{
	if (s.n > EDGE_MAX)
		abort();
	if (edge_used > s.n)
		memset(edge - edge_used, '!', edge_used - s.n);
	edge_used = s.n;
	if (s.n > 0)
		memcpy(edge - s.n, s.p, s.n);
	return (struct span){ edge - s.n, s.n };
}

static void
add_escaped(struct buf *b, struct span s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (s.p[i] > ' ' && s.p[i] <= '~')
			buf_add_char(b, s.p[i]);
		else
			add(b, "\\x%02x", (unsigned char)s.p[i]);
}

static void
describe(struct session *s)
{
	const struct http_request *req = &s->req;
	const struct http_header *h = NULL;
	struct buf *b = &s->summary;
	const char *sep = " x=";

	add_escaped(b, req->method);
	buf_add_char(b, ' ');
	add_escaped(b, req->target);
	add(b, " 1.%d %s", req->minor, req->keep_alive ? "keep" : "close");
	if (req->host.p != NULL) {
		buf_add_str(b, " host=");
		add_escaped(b, req->host);
	}
	if (req->nheaders > 1)
		add(b, " n=%zu", req->nheaders);
	while ((h = http_header_next(req, "x", h)) != NULL) {
		buf_add_str(b, sep);
		add_escaped(b, h->value);
		sep = "|";
	}
	if (req->has_length)
		add(b, " length=%" PRIu64, req->content_length);
	if (req->chunked)
		buf_add_str(b, " chunked");
	if (req->expect_continue)
		buf_add_str(b, " expect");
}

static void
step_head(struct session *s, struct span in)
{
	int status = 0, again = 0;
	ssize_t n = http_parse_head(&s->scan, in, &s->req, &status);

	if (n == 0)
		return;
	if (n == -1) {
		add(&s->summary, "%d", status);
		if (http_parse_head(&s->scan, in, &s->req, &again) != -1 ||
		    again != status)
			buf_add_str(&s->summary, " and then not");
		s->stage = BAD_HEAD;
		return;
	}
	describe(s);
	buf_consume(&s->in, (size_t)n);
	s->left = s->req.content_length;
	s->stage = s->req.chunked ? CHUNKED : s->left > 0 ? LENGTH : END;
}

static void
step_length(struct session *s, struct span in)
{
	size_t n = in.n < s->left ? in.n : (size_t)s->left;

	buf_add(&s->body, in.p, n);
	buf_consume(&s->in, n);
	s->left -= n;
	if (s->left == 0)
		s->stage = END;
}

static void
step_chunked(struct session *s, struct span in)
{
	enum http_chunked_result result;
	struct span data;
	size_t used;

	while ((result = http_chunked_decode(&s->chunked, in, &used, &data)) ==
	    HTTP_CHUNKED_DATA) {
		buf_add_span(&s->body, data);
		if (data.n == 0)
			buf_add_str(&s->summary, " empty");
		in.p += used;
		in.n -= used;
	}
	if (result == HTTP_CHUNKED_MORE && used != in.n)
		buf_add_str(&s->summary, " unread");
	if (result != HTTP_CHUNKED_MORE)
		s->stage = result == HTTP_CHUNKED_DONE ? END : BAD_BODY;
	buf_consume(&s->in, s->in.len - (in.n - used));
}

static void
session_feed(struct session *s, struct span piece)
{
	enum stage before;

	buf_add_span(&s->in, piece);
	do {
		before = s->stage;
		if (before == HEAD)
			step_head(s, edge_put(buf_span(&s->in)));
		else if (before == LENGTH)
			step_length(s, edge_put(buf_span(&s->in)));
		else if (before == CHUNKED)
			step_chunked(s, edge_put(buf_span(&s->in)));
	} while (s->stage != before);
}

/* Owned by the caller. */
static char *
session_outcome(const struct session *s)
{
	struct buf b = { 0 };

	buf_add_span(&b, buf_span(&s->summary));
	if (s->stage == HEAD)
		buf_add_str(&b, "more");
	if (s->body.len > 40)
		add(&b, " body#%zu", s->body.len);
	else if (s->body.len > 0) {
		buf_add_str(&b, " body=");
		add_escaped(&b, buf_span(&s->body));
	}
	if (s->stage == LENGTH || s->stage == CHUNKED)
		buf_add_str(&b, " body-more");
	if (s->stage == BAD_BODY)
		buf_add_str(&b, " body-bad");
	if (s->stage == END && s->in.len > 0)
		add(&b, " rest=%zu", s->in.len);
	buf_add_char(&b, '\0');
	if (buf_failed(&b))
		fail("memory");
	return b.data;
}

static void
session_free(struct session *s)
{
	buf_free(&s->in);
	buf_free(&s->summary);
	buf_free(&s->body);
}

/* The outcome of head, then tail; *early of head alone, if asked for. */
static char *
outcome(struct span head, struct span tail, char **early)
{
	struct session s = { 0 };
	char *text;

	session_feed(&s, head);
	if (early != NULL)
		*early = session_outcome(&s);
	if (tail.n > 0)
		session_feed(&s, tail);
	text = session_outcome(&s);
	session_free(&s);
	return text;
}

/* Every place in a short message; of a long one, where it is interesting. */
static size_t
next_cut(size_t at, size_t n)
{
	size_t step = 509;

	if (n <= 2000 || at < 64 || at + 64 >= n ||
	    (at + 64 >= HTTP_HEAD_MAX && at < HTTP_HEAD_MAX + 64))
		return at + 1;
	if (at < HTTP_HEAD_MAX && at + 64 + step > HTTP_HEAD_MAX)
		step = HTTP_HEAD_MAX - 64 - at;
	if (at + 64 + step > n)
		step = n - 64 - at;
	return at + step;
}

static bool
same(const char *name, const char *how, size_t at, const char *got,
    const char *want)
{
	if (strcmp(got, want) == 0)
		return true;
	printf("# %s: %s %zu: %s, not %s\n", name, how, at, got, want);
	return false;
}

/* Whole, in two pieces, and all prefixes whole and piece by piece. */
static bool
test_cuts(const char *name, struct span message, const char *want,
    size_t *known)
{
	struct session slow = { 0 };
	char *whole, *early, *grown;
	size_t at, last = 0;
	bool ok = true;

	*known = 0;
	for (at = 0; at <= message.n && ok; at = next_cut(at, message.n)) {
		whole = outcome((struct span){ message.p, at },
		    (struct span){ message.p + at, message.n - at }, &early);
		session_feed(&slow,
		    (struct span){ message.p + last, at - last });
		grown = session_outcome(&slow);
		ok = same(name, "cut at", at, whole, want) &&
		    same(name, "piecemeal until", at, grown, early);
		if (*known == 0 && slow.stage >= END)
			*known = at;
		last = at;
		free(whole);
		free(early);
		free(grown);
	}
	session_free(&slow);
	return ok;
}

static int
hex_value(char c)
{
	const char *digits = "0123456789abcdef", *at;

	at = c != '\0' ? strchr(digits, c) : NULL;
	return at != NULL ? (int)(at - digits) : -1;
}

/* \r \n \t \0 \\ \xHH, and \*COUNT(TEXT) for TEXT so many times. */
static void
unescape(struct buf *out, const char *s, const char *end)
{
	const char *simple = "rnt0\\", *bytes = "\r\n\t\0\\", *at, *close;
	unsigned long count;
	char *text;

	while (s < end) {
		if (*s != '\\') {
			buf_add_char(out, *s++);
			continue;
		}
		s++;
		if ((at = strchr(simple, *s)) != NULL && s < end) {
			buf_add_char(out, bytes[at - simple]);
			s++;
		} else if (*s == 'x' && end - s > 2) {
			buf_add_char(out, (char)(hex_value(s[1]) << 4 |
			    hex_value(s[2])));
			s += 3;
		} else if (*s == '*') {
			count = strtoul(s + 1, &text, 10);
			close = strchr(text, ')');
			if (close == NULL)
				fail("escape");
			while (count-- > 0)
				unescape(out, text + 1, close);
			s = close + 1;
		} else
			fail("escape");
	}
}

static void
test_row(char *row)
{
	char *name = strsep(&row, "\t"), *want = strsep(&row, "\t"), *at;
	struct buf message = { 0 };
	size_t known, expected = 0;
	bool ok;

	if (row == NULL || want == NULL)
		fail(name);
	at = want[0] >= '4' && want[0] <= '5' ? strchr(want, '@') : NULL;
	if (at != NULL) {
		*at = '\0';
		expected = strtoul(at + 1, NULL, 10);
	}
	buf_reserve(&message, 1);	/* no message is not NULL */
	unescape(&message, row, row + strlen(row));
	if (buf_failed(&message))
		fail("memory");
	ok = test_cuts(name, buf_span(&message), want, &known);
	if (ok && at != NULL && known != expected) {
		printf("# %s: known at %zu, not %zu\n", name, known, expected);
		ok = false;
	}
	report(ok, name);
	buf_free(&message);
}

static void
test_table(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (f == NULL)
		fail(path);
	while ((n = getline(&line, &cap, f)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (line[0] != '#' && line[0] != '\0')
			test_row(line);
	}
	if (ferror(f))
		fail(path);
	fclose(f);
	free(line);
}

/* Quadratic, this would be half a thousand million steps. */
static void
test_linear(void)
{
	static char head[HTTP_HEAD_MAX];
	struct http_scan scan = { 0 };
	static struct http_request req;
	clock_t start = clock();
	int status = 0;
	ssize_t n = 0;
	size_t i;

	memset(head, 'a', sizeof(head));
	memcpy(head, "GET / HTTP/1.1\r\nx:", 18);
	for (i = 1; i <= sizeof(head) && n == 0; i++)
		n = http_parse_head(&scan, (struct span){ head, i }, &req,
		    &status);
	report(n == -1 && status == 431 && i == sizeof(head) + 1 &&
	    clock() - start < CLOCKS_PER_SEC / 20,
	    "a head that arrives byte by byte costs linear time");
}

int
main(int argc, char *argv[])
{
	if (argc != 2) {
		fprintf(stderr, "usage: http table\n");
		return 100;
	}
	edge_open();
	test_table(argv[1]);
	test_linear();
	printf("1..%d\n", tests);
	return failures > 0;
}
