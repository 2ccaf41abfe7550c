/*
 * Extended headers and numbers of tar: records lie in the text, names have no
 * NUL, runs are bounded, and what was taken, written and taken again is the
 * same.  A number is the one that plain arithmetic makes of its field.
 */
#include <inttypes.h>
#include <stdio.h>

#include "fuzz.h"
#include "tar_pax.h"

#define RUNS_MAX 64

static void
put(struct buf *out, const char *key, struct span value)
{
	size_t n = strlen(key) + value.n + 3, digits = 1, total;
	char text[24];

	while ((size_t)snprintf(text, sizeof(text), "%zu", n + digits) >
	    digits)
		digits++;
	total = n + digits;
	snprintf(text, sizeof(text), "%zu ", total);
	buf_add_str(out, text);
	buf_add_str(out, key);
	buf_add_char(out, '=');
	buf_add_span(out, value);
	buf_add_char(out, '\n');
}

static void
put_number(struct buf *out, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	put(out, key, span_of(text));
}

static void
put_time(struct buf *out, int64_t ns)
{
	char text[40];
	int64_t s = ns / 1000000000, rest = ns % 1000000000;

	snprintf(text, sizeof(text), "%s%" PRId64 ".%09" PRId64,
	    ns < 0 ? "-" : "", s < 0 ? -s : s, rest < 0 ? -rest : rest);
	put(out, "mtime", span_of(text));
}

static struct span
part(struct span text, size_t at, size_t len)
{
	check(at <= text.n && len <= text.n - at);
	check(len == 0 || memchr(text.p + at, '\0', len) == NULL);
	return (struct span){ text.p + at, len };
}

static void
print(struct buf *out, const struct tar_pax *p, struct span text)
{
	const struct tar_run *runs = (const void *)p->map.data;
	size_t i;

	if (p->path)
		put(out, "path", part(text, p->path_at, p->path_len));
	if (p->linkpath)
		put(out, "linkpath",
		    part(text, p->linkpath_at, p->linkpath_len));
	if (p->size)
		put_number(out, "size", p->size_value);
	if (p->mtime)
		put_time(out, p->mtime_ns);
	if (p->sparse_name)
		put(out, "GNU.sparse.name",
		    part(text, p->name_at, p->name_len));
	if (p->realsize)
		put_number(out, "GNU.sparse.realsize", p->realsize_value);
	if (p->sparse) {
		put_number(out, "GNU.sparse.major", p->major);
		put_number(out, "GNU.sparse.minor", p->minor);
	}
	check(p->map.len % sizeof(*runs) == 0);
	check(p->map.len / sizeof(*runs) <= RUNS_MAX);
	for (i = 0; i < p->map.len / sizeof(*runs); i++) {
		put_number(out, "GNU.sparse.offset", runs[i].offset);
		put_number(out, "GNU.sparse.numbytes", runs[i].len);
	}
}

static void
check_taken(const struct tar_pax *p, struct span text, bool global)
{
	struct buf one = { 0 }, two = { 0 };
	struct tar_pax again = { .path = false };

	check(!p->half);
	check(!global || !(p->path || p->linkpath || p->size || p->sparse));
	print(&one, p, text);
	check(tar_pax_parse(&again, buf_span(&one), global, RUNS_MAX) ==
	    NULL);
	print(&two, &again, buf_span(&one));
	check(span_equal(buf_span(&one), buf_span(&two)));
	check(again.mtime_ns == p->mtime_ns || !p->mtime);
	tar_pax_free(&again);
	buf_free(&one);
	buf_free(&two);
}

/* A field of a header, without regard to how wide a number is. */
static void
check_number(struct span f)
{
	const unsigned char *p = (const unsigned char *)f.p;
	__int128 n = 0;
	int64_t got = 0;
	size_t i = 0;
	bool ok = true;

	/* As much as n holds. */
	if (f.n == 0 || f.n > 40 || (f.n > 16 && (p[0] & 0x80) != 0))
		return;
	if (p[0] & 0x80) {
		n = p[0] & 0x40 ? -1 : 0;
		for (; i < f.n; i++)
			n = (__int128)((unsigned __int128)n << 8 |
			    (i == 0 && !(p[0] & 0x40) ? p[i] & 0x7f : p[i]));
	} else {
		while (i < f.n && p[i] == ' ')
			i++;
		for (; i < f.n && p[i] >= '0' && p[i] <= '7'; i++)
			n = n * 8 + (p[i] - '0');
		for (; i < f.n; i++)
			ok = ok && (p[i] == ' ' || p[i] == '\0');
	}
	ok = ok && n >= INT64_MIN && n <= INT64_MAX;
	check((tar_number(f.p, f.n, &got) == 0) == ok);
	check(!ok || got == n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tar_pax p = { .path = false };
	struct span text;
	bool global;

	if (len == 0)
		return 0;
	global = data[0] & 1;
	text = fuzz_block(data + 1, len - 1);
	check_number(text);
	if (tar_pax_parse(&p, text, global, RUNS_MAX) == NULL)
		check_taken(&p, text, global);
	check(p.map.len / sizeof(struct tar_run) <= RUNS_MAX);
	tar_pax_free(&p);
	free((char *)text.p);
	return 0;
}
