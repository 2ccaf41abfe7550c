#include <errno.h>
#include <libtar.h>
#include <stdlib.h>
#include <string.h>

#include "tar_pax.h"
#include "tar_read.h"

#define BLOCK		512
#define SPARSE_AT	386	/* old GNU: four runs, then two more fields */
#define SPARSE_RUNS	4
#define SPARSE_MORE	482
#define SPARSE_SIZE	483
#define EXTENDED_RUNS	21	/* of a block of its own */
#define EXTENDED_MORE	504
#define RUN_SIZE	24
#define MAP_NUMBER_MAX	20	/* digits */

struct tar_reader {
	struct source *source;
	TAR tar;		/* libtar's codec of one header; never opened */
	struct tar_pax pax;
	struct buf records;	/* the x header's text */
	struct buf long_name, long_target;	/* GNU's L and K */
	bool have_name, have_target, have_pax;
	int64_t mtime_default;	/* from a global header */
	bool have_mtime_default;

	struct buf name, target;	/* of the member */
	uint64_t left;		/* stored bytes that were not read yet */
	unsigned padding;
	size_t pending;		/* bytes that the caller looks at */
	bool file;		/* its data is to be had; else it is skipped */
	bool sparse;
	struct buf map;		/* struct tar_run each */
	size_t run;		/* the next of them */
	uint64_t run_at, run_left;
	uint64_t at;		/* of a file without a map */

	const char *fault;
};

struct tar_reader *
tar_read_open(struct source *source)
{
	struct tar_reader *r = calloc(1, sizeof(*r));

	if (r != NULL)
		r->source = source;
	return r;
}

void
tar_read_free(struct tar_reader *r)
{
	if (r == NULL)
		return;
	tar_pax_free(&r->pax);
	buf_free(&r->records);
	buf_free(&r->long_name);
	buf_free(&r->long_target);
	buf_free(&r->name);
	buf_free(&r->target);
	buf_free(&r->map);
	free(r);
}

static enum tar_result
bad(struct tar_reader *r, const char *why)
{
	r->fault = why;
	return TAR_BAD;
}

const char *
tar_fault(const struct tar_reader *r)
{
	return r->fault;
}

struct span
tar_fault_member(const struct tar_reader *r)
{
	return buf_span(&r->name);
}

/* --- blocks --- */

static enum tar_result
source_trouble(struct tar_reader *r)
{
	if (errno != EBADMSG)
		return TAR_FAILED;
	return source_is_cut(r->source) ? TAR_CUT :
	    bad(r, "damaged gzip or base64");
}

/* A block, or the end of the input: TAR_MEMBER, TAR_END, or trouble. */
static enum tar_result
peek_block(struct tar_reader *r, const uint8_t **block)
{
	ptrdiff_t n = source_peek(r->source, BLOCK, block);

	if (n == -1)
		return source_trouble(r);
	if (n == 0)
		return TAR_END;
	return n < BLOCK ? TAR_CUT : TAR_MEMBER;
}

/* The next n bytes, and the caller looks at none any more. */
static enum tar_result
skip(struct tar_reader *r, uint64_t n)
{
	const uint8_t *data;
	ptrdiff_t got;
	size_t take;

	while (n > 0) {
		if ((got = source_peek(r->source, 1, &data)) == -1)
			return source_trouble(r);
		if (got == 0)
			return TAR_CUT;
		take = (uint64_t)got < n ? (size_t)got : (size_t)n;
		source_consume(r->source, take);
		n -= take;
	}
	return TAR_MEMBER;
}

static enum tar_result
skip_rest(struct tar_reader *r)
{
	enum tar_result got;

	source_consume(r->source, r->pending);
	r->pending = 0;
	got = skip(r, r->left + r->padding);
	r->left = r->padding = 0;
	return got;
}

static bool
is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* size bytes into b, with a NUL that is not counted; their padding is read. */
static enum tar_result
read_text(struct tar_reader *r, uint64_t size, struct buf *b)
{
	const uint8_t *data;
	ptrdiff_t got;
	uint64_t left = size;
	size_t take;

	if (size > TAR_PAX_MAX)
		return bad(r, "an extended header over its limit");
	b->len = 0;
	while (left > 0) {
		if ((got = source_peek(r->source, 1, &data)) == -1)
			return source_trouble(r);
		if (got == 0)
			return TAR_CUT;
		take = (uint64_t)got < left ? (size_t)got : (size_t)left;
		buf_add(b, data, take);
		source_consume(r->source, take);
		left -= take;
	}
	buf_add_char(b, '\0');
	if (buf_failed(b))
		return TAR_FAILED;
	b->len--;
	return skip(r, -size & (BLOCK - 1));
}

/* --- headers --- */

static struct span
field(const char *p, size_t size)
{
	return (struct span){ p, strnlen(p, size) };
}

static bool
sum_is_right(struct tar_reader *r)
{
	int64_t sum;

	return tar_number(r->tar.th_buf.chksum, 8, &sum) == 0 &&
	    (sum == th_crc_calc(&r->tar) ||
	    sum == th_signed_crc_calc(&r->tar));
}

static bool
is_ustar(const struct tar_header *h)
{
	return memcmp(h->magic, "ustar", 6) == 0;
}

static struct span
pax_text(const struct tar_reader *r, size_t at, size_t len)
{
	return (struct span){ r->records.data + at, len };
}

static void
set_name(struct tar_reader *r)
{
	const struct tar_header *h = &r->tar.th_buf;
	const struct tar_pax *p = &r->pax;
	struct span prefix = field(h->prefix, sizeof(h->prefix));

	r->name.len = 0;
	if (r->have_pax && p->sparse_name) {
		buf_add_span(&r->name, pax_text(r, p->name_at, p->name_len));
	} else if (r->have_pax && p->path) {
		buf_add_span(&r->name, pax_text(r, p->path_at, p->path_len));
	} else if (r->have_name) {
		buf_add_span(&r->name, buf_span(&r->long_name));
	} else {
		if (is_ustar(h) && prefix.n > 0) {
			buf_add_span(&r->name, prefix);
			buf_add_char(&r->name, '/');
		}
		buf_add_span(&r->name, field(h->name, sizeof(h->name)));
	}
}

/* After the first zero block: the second, and nothing but zeros. */
static enum tar_result
read_end(struct tar_reader *r)
{
	const uint8_t *data;
	enum tar_result got;
	ptrdiff_t n;

	source_consume(r->source, BLOCK);
	if ((got = peek_block(r, &data)) != TAR_MEMBER)
		return got == TAR_END ? TAR_CUT : got;
	if (!is_zero(data, BLOCK))
		return bad(r, "a lone zero block");
	while ((n = source_peek(r->source, 1, &data)) > 0) {
		if (!is_zero(data, (size_t)n))
			return bad(r, "data after the end");
		source_consume(r->source, (size_t)n);
	}
	if (n == -1)
		return source_trouble(r);
	if (r->have_name || r->have_target || r->have_pax)
		return bad(r, "an extended header without a member");
	return TAR_END;
}

/* The next header into r->tar, and its name: as tar_read_next. */
static enum tar_result
read_header(struct tar_reader *r, int64_t *size)
{
	const uint8_t *block;
	enum tar_result got = peek_block(r, &block);

	if (got == TAR_END)
		return TAR_CUT;
	if (got != TAR_MEMBER)
		return got;
	if (is_zero(block, BLOCK))
		return read_end(r);
	memcpy(&r->tar.th_buf, block, BLOCK);
	source_consume(r->source, BLOCK);
	if (!sum_is_right(r))
		return bad(r, r->name.len > 0 ?
		    "followed by a header with a wrong checksum" :
		    "a header with a wrong checksum");
	/* From here on it is this one that is at fault. */
	set_name(r);
	if (tar_number(r->tar.th_buf.size, 12, size) == -1 || *size < 0)
		return bad(r, "a size that is none");
	return TAR_MEMBER;
}

static enum tar_result
read_records(struct tar_reader *r, uint64_t size, bool global)
{
	enum tar_result got;
	const char *why;
	struct tar_pax ignored = { .path = false };

	/* Its text would take the place of the one that is still needed. */
	if (global && r->have_pax)
		return bad(r, "an extended header without a member");
	got = read_text(r, size, &r->records);
	if (got != TAR_MEMBER)
		return got;
	if (!global) {
		tar_pax_reset(&r->pax);
		r->have_pax = true;
	}
	why = tar_pax_parse(global ? &ignored : &r->pax,
	    buf_span(&r->records), global, TAR_RUNS_MAX);
	if (global && why == NULL && ignored.mtime) {
		r->have_mtime_default = true;
		r->mtime_default = ignored.mtime_ns;
	}
	tar_pax_free(&ignored);
	if (why != NULL)
		return bad(r, why);
	return buf_failed(&r->pax.map) ? TAR_FAILED : TAR_MEMBER;
}

static enum tar_result
read_long(struct tar_reader *r, uint64_t size, struct buf *b, bool *have)
{
	enum tar_result got = read_text(r, size, b);

	if (got != TAR_MEMBER)
		return got;
	/* GNU ends it with a NUL; nothing may follow that. */
	b->len = strlen(b->data);
	if (size > b->len + 1 && !is_zero((uint8_t *)b->data + b->len,
	    (size_t)size - b->len))
		return bad(r, "a NUL in a name");
	*have = true;
	return TAR_MEMBER;
}

/* Headers that are about the next one: TAR_MEMBER when it was such. */
static enum tar_result
read_extension(struct tar_reader *r, uint64_t size, bool *was)
{
	*was = true;
	switch (r->tar.th_buf.typeflag) {
	case 'x':
		return read_records(r, size, false);
	case 'g':
		return read_records(r, size, true);
	case GNU_LONGNAME_TYPE:
		return read_long(r, size, &r->long_name, &r->have_name);
	case GNU_LONGLINK_TYPE:
		return read_long(r, size, &r->long_target, &r->have_target);
	case 'V':		/* the name of the volume */
		return skip(r, size + (-size & (BLOCK - 1)));
	case 'M':
	case 'N':
		return bad(r, "an old form of tar that is not read");
	default:
		*was = false;
		return TAR_MEMBER;
	}
}

/* --- a member --- */

static void
set_target(struct tar_reader *r)
{
	const struct tar_header *h = &r->tar.th_buf;
	const struct tar_pax *p = &r->pax;

	r->target.len = 0;
	if (r->have_pax && p->linkpath)
		buf_add_span(&r->target,
		    pax_text(r, p->linkpath_at, p->linkpath_len));
	else if (r->have_target)
		buf_add_span(&r->target, buf_span(&r->long_target));
	else
		buf_add_span(&r->target,
		    field(h->linkname, sizeof(h->linkname)));
}

/* "./a/" is "a"; "." alone is nothing. */
static struct span
trim(struct span name, bool *slash)
{
	bool empty = name.n == 0;

	while (name.n >= 2 && name.p[0] == '.' && name.p[1] == '/') {
		name.p += 2;
		name.n -= 2;
		while (name.n > 0 && name.p[0] == '/') {
			name.p++;
			name.n--;
		}
	}
	*slash = name.n == 0 && !empty;
	while (name.n > 1 && name.p[name.n - 1] == '/') {
		name.n--;
		*slash = true;
	}
	if (span_is(name, "."))
		name.n = 0;
	return name;
}

static enum tar_type
type_of(char flag, bool slash)
{
	switch (flag) {
	case REGTYPE:
	case AREGTYPE:
		return slash ? TAR_DIR : TAR_FILE;
	case CONTTYPE:
	case 'S':
		return TAR_FILE;
	case DIRTYPE:
		return TAR_DIR;
	case SYMTYPE:
		return TAR_SYMLINK;
	case LNKTYPE:
		return TAR_HARDLINK;
	default:
		return TAR_OTHER;
	}
}

static enum tar_result
set_times(struct tar_reader *r, struct tar_member *m)
{
	int64_t seconds;

	if (r->have_pax && r->pax.mtime) {
		m->mtime_ns = r->pax.mtime_ns;
		return TAR_MEMBER;
	}
	if (tar_number(r->tar.th_buf.mtime, 12, &seconds) == -1 ||
	    seconds > INT64_MAX / 1000000000 ||
	    seconds < INT64_MIN / 1000000000)
		return bad(r, "a time that is none");
	m->mtime_ns = r->have_mtime_default ? r->mtime_default :
	    seconds * 1000000000;
	return TAR_MEMBER;
}

/* --- sparse files --- */

/* The runs are in order, inside the file, and all of what is stored. */
static enum tar_result
check_map(struct tar_reader *r, uint64_t size)
{
	const struct tar_run *runs = (const void *)r->map.data;
	size_t n = r->map.len / sizeof(*runs), i;
	uint64_t at = 0, total = 0;

	for (i = 0; i < n; i++) {
		if (runs[i].offset < at || runs[i].offset > size ||
		    runs[i].len > size - runs[i].offset)
			return bad(r, "a sparse map that lies");
		at = runs[i].offset + runs[i].len;
		total += runs[i].len;
	}
	if (total != r->left)
		return bad(r, "a sparse map that lies");
	r->sparse = true;
	r->run = 0;
	r->run_left = 0;
	return TAR_MEMBER;
}

/* count pairs of fields; *done at the first that is empty. */
static enum tar_result
add_old_runs(struct tar_reader *r, const char *p, size_t count, bool *done)
{
	struct tar_run run;
	int64_t offset, len;
	size_t i;

	for (i = 0; i < count && !*done; i++, p += RUN_SIZE) {
		if (p[0] == '\0' && p[12] == '\0') {
			*done = true;
			break;
		}
		if (tar_number(p, 12, &offset) == -1 || offset < 0 ||
		    tar_number(p + 12, 12, &len) == -1 || len < 0)
			return bad(r, "a sparse map that is none");
		if (r->map.len / sizeof(run) >= TAR_RUNS_MAX)
			return bad(r, "too many runs in a sparse file");
		run = (struct tar_run){ (uint64_t)offset, (uint64_t)len };
		buf_add(&r->map, &run, sizeof(run));
	}
	return buf_failed(&r->map) ? TAR_FAILED : TAR_MEMBER;
}

static enum tar_result
read_old_map(struct tar_reader *r, uint64_t *size)
{
	char block[BLOCK];
	const uint8_t *next;
	enum tar_result got;
	bool done = false, more;
	int64_t real;

	memcpy(block, &r->tar.th_buf, BLOCK);
	if (tar_number(block + SPARSE_SIZE, 12, &real) == -1 || real < 0)
		return bad(r, "a size that is none");
	*size = (uint64_t)real;
	got = add_old_runs(r, block + SPARSE_AT, SPARSE_RUNS, &done);
	more = block[SPARSE_MORE] != 0;
	while (got == TAR_MEMBER && more) {
		got = peek_block(r, &next);
		if (got == TAR_END)
			got = TAR_CUT;
		if (got != TAR_MEMBER)
			break;
		memcpy(block, next, BLOCK);
		source_consume(r->source, BLOCK);
		got = add_old_runs(r, block, EXTENDED_RUNS, &done);
		more = block[EXTENDED_MORE] != 0;
	}
	return got;
}

/* One decimal number and its newline, from the head of the data. */
static enum tar_result
read_map_number(struct tar_reader *r, uint64_t *stored, uint64_t *out)
{
	char digits[MAP_NUMBER_MAX];
	const uint8_t *data;
	ptrdiff_t got;
	size_t n = 0;

	for (;;) {
		if (r->left == 0)
			return bad(r, "a sparse map that is none");
		if ((got = source_peek(r->source, 1, &data)) == -1)
			return source_trouble(r);
		if (got == 0)
			return TAR_CUT;
		r->left--;
		++*stored;
		if (data[0] == '\n')
			break;
		if (n == sizeof(digits))
			return bad(r, "a sparse map that is none");
		digits[n++] = (char)data[0];
		source_consume(r->source, 1);
	}
	source_consume(r->source, 1);
	return tar_decimal((struct span){ digits, n }, out) == -1 ?
	    bad(r, "a sparse map that is none") : TAR_MEMBER;
}

static enum tar_result
read_new_map(struct tar_reader *r)
{
	uint64_t count, stored = 0, i, rest;
	struct tar_run run;
	enum tar_result got = read_map_number(r, &stored, &count);

	if (got == TAR_MEMBER && count > TAR_RUNS_MAX)
		return bad(r, "too many runs in a sparse file");
	for (i = 0; got == TAR_MEMBER && i < count; i++) {
		got = read_map_number(r, &stored, &run.offset);
		if (got == TAR_MEMBER)
			got = read_map_number(r, &stored, &run.len);
		buf_add(&r->map, &run, sizeof(run));
	}
	if (got != TAR_MEMBER)
		return got;
	if (buf_failed(&r->map))
		return TAR_FAILED;
	rest = -stored & (BLOCK - 1);
	if (rest > r->left)
		return bad(r, "a sparse map that is none");
	r->left -= rest;
	return skip(r, rest);
}

static enum tar_result
read_map(struct tar_reader *r, struct tar_member *m)
{
	const struct tar_pax *p = &r->pax;
	enum tar_result got = TAR_MEMBER;

	r->sparse = false;
	r->map.len = 0;
	if (r->tar.th_buf.typeflag == 'S') {
		got = read_old_map(r, &m->size);
	} else if (r->have_pax && p->sparse) {
		if (p->realsize)
			m->size = p->realsize_value;
		if (p->major == 1 && p->minor == 0)
			got = read_new_map(r);
		else if (p->major == 0)
			buf_add(&r->map, p->map.data, p->map.len);
		else
			return bad(r, "a sparse file of an unknown form");
	} else {
		return TAR_MEMBER;
	}
	if (got == TAR_MEMBER && buf_failed(&r->map))
		return TAR_FAILED;
	m->sparse = true;
	return got == TAR_MEMBER ? check_map(r, m->size) : got;
}

/* --- the interface --- */

static enum tar_result
take_member(struct tar_reader *r, struct tar_member *m, uint64_t size)
{
	bool slash;
	int64_t mode;
	enum tar_result got;

	*m = (struct tar_member){ .flag = r->tar.th_buf.typeflag };
	set_target(r);
	if (buf_failed(&r->name) || buf_failed(&r->target))
		return TAR_FAILED;
	if (r->name.len == 0)
		return bad(r, "an empty name");
	m->name = trim(buf_span(&r->name), &slash);
	m->type = type_of(m->flag, slash);
	m->target = buf_span(&r->target);
	/* What a hard link names is a member. */
	if (m->type == TAR_HARDLINK)
		m->target = trim(m->target, &slash);
	if (r->have_pax && r->pax.size)
		size = r->pax.size_value;
	m->size = m->type == TAR_FILE ? size : 0;
	if (m->type != TAR_FILE && m->type != TAR_OTHER && size > 0)
		return bad(r, "data where none may be");
	r->left = size;
	r->padding = (unsigned)(-size & (BLOCK - 1));
	r->at = 0;
	r->file = m->type == TAR_FILE;
	if ((got = set_times(r, m)) != TAR_MEMBER)
		return got;
	if (tar_number(r->tar.th_buf.mode, 8, &mode) == -1)
		return bad(r, "a mode that is none");
	m->mode = (unsigned)mode & 07777;
	return m->type == TAR_FILE ? read_map(r, m) : TAR_MEMBER;
}

enum tar_result
tar_read_next(struct tar_reader *r, struct tar_member *m)
{
	enum tar_result got = skip_rest(r);
	int64_t size;
	bool was = true;

	r->have_name = r->have_target = r->have_pax = false;
	while (got == TAR_MEMBER && was) {
		got = read_header(r, &size);
		if (got == TAR_MEMBER)
			got = read_extension(r, (uint64_t)size, &was);
	}
	if (got != TAR_MEMBER)
		return got;
	got = take_member(r, m, (uint64_t)size);
	r->have_name = r->have_target = r->have_pax = false;
	return got;
}

/* Where in the file the next stored byte belongs, and how many follow it. */
static bool
find_run(struct tar_reader *r)
{
	const struct tar_run *runs = (const void *)r->map.data;
	size_t n = r->map.len / sizeof(*runs);

	if (!r->sparse) {
		r->run_at = r->at;
		r->run_left = r->left;
	}
	while (r->sparse && r->run_left == 0 && r->run < n) {
		r->run_at = runs[r->run].offset;
		r->run_left = runs[r->run].len;
		r->run++;
	}
	return r->run_left > 0;
}

enum tar_result
tar_read_data(struct tar_reader *r, uint64_t *offset, const uint8_t **data,
    size_t *len)
{
	ptrdiff_t got;
	size_t take;

	source_consume(r->source, r->pending);
	r->pending = 0;
	if (!r->file || r->left == 0 || !find_run(r))
		return TAR_END;
	if ((got = source_peek(r->source, 1, data)) == -1)
		return source_trouble(r);
	if (got == 0)
		return TAR_CUT;
	take = (uint64_t)got < r->run_left ? (size_t)got :
	    (size_t)r->run_left;
	*offset = r->run_at;
	*len = take;
	r->pending = take;
	r->left -= take;
	r->run_at += take;
	r->run_left -= take;
	r->at += take;
	return TAR_MEMBER;
}
