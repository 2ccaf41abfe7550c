#include <errno.h>
#include <inttypes.h>
#include <libtar.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "beneath.h"
#include "buf.h"
#include "json.h"
#include "tar_write.h"

#define OCTAL_SIZE_MAX	((1ULL << 33) - 1)	/* 11 octal digits */
#define NAME_FIELD	100
#define PREFIX_FIELD	155

struct tar_writer {
	struct sink *sink;
	TAR tar;		/* libtar's codec of one header; never opened */
	struct buf pax;		/* records of one member */
	struct buf map;		/* of one sparse member */
	uint64_t stored;	/* bytes of data that the member has in all */
	uint64_t left;		/* and that it lacks */
};

struct tar_writer *
tar_write_open(struct sink *sink)
{
	struct tar_writer *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->sink = sink;
	return w;
}

void
tar_write_free(struct tar_writer *w)
{
	if (w == NULL)
		return;
	buf_free(&w->pax);
	buf_free(&w->map);
	free(w);
}

static void
octal(char *field, size_t size, uint64_t value)
{
	field[--size] = '\0';
	for (; size > 0; value >>= 3)
		field[--size] = (char)('0' + (value & 7));
}

static bool
is_plain_ascii(struct span s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 ||
		    (unsigned char)s.p[i] > 0x7e)
			return false;
	return true;
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void
add_record(struct buf *pax, const char *key, struct span value)
{
	size_t body = strlen(key) + value.n + 3, len = body + 1;
	char text[24];
	int digits;

	do {
		digits = snprintf(text, sizeof(text), "%zu", len);
		if (body + (size_t)digits == len)
			break;
		len = body + (size_t)digits;
	} while (true);
	buf_add_str(pax, text);
	buf_add_char(pax, ' ');
	buf_add_str(pax, key);
	buf_add_char(pax, '=');
	buf_add_span(pax, value);
	buf_add_char(pax, '\n');
}

static void
add_number(struct buf *pax, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	add_record(pax, key, span_of(text));
}

/* Seconds with as many decimals as it takes. */
static void
add_time(struct buf *pax, int64_t ns)
{
	uint64_t abs = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	char text[40];
	int n;

	n = snprintf(text, sizeof(text), "%s%" PRIu64 ".%09" PRIu64,
	    ns < 0 ? "-" : "", abs / 1000000000, abs % 1000000000);
	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[--n] = '\0';
	add_record(pax, "mtime", span_of(text));
}

/* Where to split a name into prefix and name; 0 when it cannot be. */
static size_t
split_at(struct span path)
{
	size_t i;

	if (path.n > PREFIX_FIELD + 1 + NAME_FIELD)
		return 0;
	for (i = path.n - 1; i > 0; i--)
		if (i <= PREFIX_FIELD && path.p[i] == '/' &&
		    path.n - i - 1 <= NAME_FIELD && i + 1 < path.n)
			return i;
	return 0;
}

static void
put_field(char *field, size_t size, struct span value)
{
	memset(field, 0, size);
	memcpy(field, value.p, value.n < size ? value.n : size);
}

/* The name's fields, and a record where they do not hold it. */
static void
put_name(struct tar_writer *w, struct span path, bool folder)
{
	struct tar_header *h = &w->tar.th_buf;
	char name[BENEATH_PATH_MAX + 1];
	struct span all = { name, path.n };
	size_t at;

	memcpy(name, path.p, path.n);
	if (folder)
		name[all.n++] = '/';
	if (!is_plain_ascii(all)) {
		add_record(&w->pax, "path", all);
	} else if (all.n > NAME_FIELD && (at = split_at(all)) > 0) {
		put_field(h->prefix, PREFIX_FIELD, (struct span){ name, at });
		put_field(h->name, NAME_FIELD, (struct span){ name + at + 1,
		    all.n - at - 1 });
		return;
	} else if (all.n > NAME_FIELD) {
		add_record(&w->pax, "path", all);
	}
	put_field(h->name, NAME_FIELD, all);
}

static void
put_target(struct tar_writer *w, struct span target)
{
	if (target.n > NAME_FIELD || !is_plain_ascii(target))
		add_record(&w->pax, "linkpath", target);
	put_field(w->tar.th_buf.linkname, NAME_FIELD, target);
}

static void
put_size(struct tar_writer *w, uint64_t size)
{
	if (size > OCTAL_SIZE_MAX)
		add_number(&w->pax, "size", size);
	octal(w->tar.th_buf.size, 12, size > OCTAL_SIZE_MAX ? 0 : size);
}

static void
put_mtime(struct tar_writer *w, int64_t ns)
{
	int64_t seconds = ns / 1000000000;
	bool plain = ns >= 0 && ns % 1000000000 == 0 &&
	    (uint64_t)seconds <= OCTAL_SIZE_MAX;

	if (!plain)
		add_time(&w->pax, ns);
	octal(w->tar.th_buf.mtime, 12, ns < 0 ||
	    (uint64_t)seconds > OCTAL_SIZE_MAX ? 0 : (uint64_t)seconds);
}

static void
begin_header(struct tar_writer *w, char type, unsigned mode)
{
	struct tar_header *h = &w->tar.th_buf;

	memset(h, 0, sizeof(*h));
	h->typeflag = type;
	octal(h->mode, 8, mode);
	octal(h->uid, 8, 0);
	octal(h->gid, 8, 0);
	octal(h->devmajor, 8, 0);
	octal(h->devminor, 8, 0);
}

/* ustar's magic, not GNU's, and the sum; then the block goes out. */
static int
write_header(struct tar_writer *w)
{
	struct tar_header *h = &w->tar.th_buf;

	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	int_to_oct(th_crc_calc(&w->tar), h->chksum, 8);
	return sink_write(w->sink, h, T_BLOCKSIZE);
}

/* After size bytes of data, to the end of their last block. */
static int
write_padding(struct tar_writer *w, uint64_t size)
{
	static const char zeros[T_BLOCKSIZE];
	size_t n = (size_t)(-size & (T_BLOCKSIZE - 1));

	return n == 0 ? 0 : sink_write(w->sink, zeros, n);
}

/* The extended header, before the header that is saved meanwhile. */
static int
write_pax(struct tar_writer *w, struct span path)
{
	struct tar_header saved = w->tar.th_buf;
	struct span last = path_name(path);
	char name[NAME_FIELD] = "PaxHeaders/";
	size_t n = strlen(name), i;

	if (buf_failed(&w->pax))
		return -1;
	if (w->pax.len == 0)
		return 0;
	for (i = 0; i < last.n && n < sizeof(name) - 1; i++)
		name[n++] = (unsigned char)last.p[i] >= 0x20 &&
		    (unsigned char)last.p[i] < 0x7f ? last.p[i] : '_';
	begin_header(w, 'x', 0644);
	put_field(w->tar.th_buf.name, NAME_FIELD, (struct span){ name, n });
	octal(w->tar.th_buf.size, 12, w->pax.len);
	octal(w->tar.th_buf.mtime, 12, 0);
	if (write_header(w) == -1 ||
	    sink_write(w->sink, w->pax.data, w->pax.len) == -1 ||
	    write_padding(w, w->pax.len) == -1)
		return -1;
	w->tar.th_buf = saved;
	buf_reset(&w->pax, 65536);
	return 0;
}

/*
 * The first record of a member that has bytes which are no UTF-8: it is about
 * the path and the target alike (POSIX.1-2008, pax Extended Header).
 */
static void
begin_records(struct tar_writer *w, const struct entry *e)
{
	buf_reset(&w->pax, 65536);
	if (!utf8_is_valid(e->path) ||
	    (e->type == ENTRY_LINK && !utf8_is_valid(e->target)))
		add_record(&w->pax, "hdrcharset", span_of("BINARY"));
}

static char
type_of(const struct entry *e)
{
	return e->type == ENTRY_DIR ? DIRTYPE : e->type == ENTRY_LINK ?
	    SYMTYPE : REGTYPE;
}

static int
write_member(struct tar_writer *w, const struct entry *e, uint64_t stored)
{
	if (e->path.n > BENEATH_PATH_MAX - 1) {
		errno = ENAMETOOLONG;
		return -1;
	}
	begin_header(w, type_of(e), e->mode);
	put_size(w, stored);
	put_mtime(w, e->mtime_ns);
	put_name(w, e->path, e->type == ENTRY_DIR);
	if (e->type == ENTRY_LINK)
		put_target(w, e->target);
	if (write_pax(w, e->path) == -1 || write_header(w) == -1)
		return -1;
	w->stored = w->left = stored;
	return 0;
}

int
tar_write_entry(struct tar_writer *w, const struct entry *e)
{
	begin_records(w, e);
	return write_member(w, e, e->type == ENTRY_FILE ? e->size : 0);
}

static void
add_line(struct buf *b, uint64_t value)
{
	buf_add_int(b, (int64_t)value);
	buf_add_char(b, '\n');
}

/* The map at the head of the data, in whole blocks. */
static int
make_map(struct tar_writer *w, uint64_t size, const struct tar_run *x,
    size_t n, uint64_t *bytes)
{
	size_t i;
	/* A hole at the end is told by an empty run there. */
	bool tail = n == 0 || x[n - 1].offset + x[n - 1].len < size;

	buf_reset(&w->map, 65536);
	add_line(&w->map, n + tail);
	*bytes = 0;
	for (i = 0; i < n; i++) {
		add_line(&w->map, x[i].offset);
		add_line(&w->map, x[i].len);
		*bytes += x[i].len;
	}
	if (tail) {
		add_line(&w->map, size);
		add_line(&w->map, 0);
	}
	while (w->map.len % T_BLOCKSIZE != 0 && !buf_failed(&w->map))
		buf_add_char(&w->map, '\0');
	return buf_failed(&w->map) ? -1 : 0;
}

int
tar_write_sparse(struct tar_writer *w, const struct entry *e,
    const struct tar_run *runs, size_t n)
{
	struct entry stored = *e;
	struct span last = path_name(e->path);
	char name[64 + ENTRY_NAME_MAX];
	uint64_t bytes;

	if (make_map(w, e->size, runs, n, &bytes) == -1)
		return -1;
	begin_records(w, e);
	add_record(&w->pax, "GNU.sparse.major", span_of("1"));
	add_record(&w->pax, "GNU.sparse.minor", span_of("0"));
	add_record(&w->pax, "GNU.sparse.name", e->path);
	add_number(&w->pax, "GNU.sparse.realsize", e->size);
	snprintf(name, sizeof(name), "GNUSparseFile.0/");
	stored.path = (struct span){ name, strlen(name) };
	if (!is_plain_ascii(last) || last.n > 64)
		last = span_of("file");
	memcpy(name + stored.path.n, last.p, last.n);
	stored.path.n += last.n;
	if (write_member(w, &stored, w->map.len + bytes) == -1 ||
	    tar_write_data(w, w->map.data, w->map.len) == -1)
		return -1;
	return 0;
}

int
tar_write_data(struct tar_writer *w, const void *data, size_t len)
{
	if (len > w->left) {
		errno = EINVAL;
		return -1;
	}
	w->left -= len;
	return len == 0 ? 0 : sink_write(w->sink, data, len);
}

uint8_t *
tar_write_reserve(struct tar_writer *w, size_t *len)
{
	if (*len > w->left)
		*len = (size_t)w->left;
	return sink_reserve(w->sink, len);
}

int
tar_write_commit(struct tar_writer *w, size_t len)
{
	w->left -= len;
	return sink_commit(w->sink, len);
}

int
tar_write_member_end(struct tar_writer *w)
{
	if (w->left != 0) {
		errno = EINVAL;
		return -1;
	}
	return write_padding(w, w->stored);
}

int
tar_write_end(struct tar_writer *w)
{
	static const char zeros[2 * T_BLOCKSIZE];

	return sink_write(w->sink, zeros, sizeof(zeros));
}
