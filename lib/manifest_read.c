#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base64.h"
#include "beneath.h"
#include "io.h"
#include "json.h"
#include "manifest.h"
#include "units.h"

#define WINDOW	(2 * MANIFEST_LINE_MAX)

/* The open file, shared by all readers of it. */
struct shared {
	int fd;
	size_t users;
	char *name;
	struct scope scope;
	off_t first;		/* where the entries begin */
};

struct manifest {
	struct shared *shared;
	char *window;
	size_t len, at;		/* bytes in the window, and where we are */
	off_t window_at;	/* the window's place in the file */
	size_t line_len;	/* of the line before at, its newline too */
	bool have;		/* entry is the next */
	struct entry entry;
	struct buf arena;	/* what entry's spans point into */
	struct manifest_order order;
	struct json json;
};

/* Copies what cannot be read twice. */
static int
make_seekable(int fd)
{
	struct buf b = { .data = NULL };
	struct stat st;
	ssize_t n;
	int copy;

	if (fstat(fd, &st) == -1)
		return -1;
	if (S_ISREG(st.st_mode))
		return fd;
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return -1;
	}
	if ((copy = memfd_create("manifest", MFD_CLOEXEC)) == -1)
		return -1;
	while ((n = io_read_some(fd, &b, 65536)) > 0) {
		if (io_write_all(copy, b.data, b.len) == -1)
			n = -1;
		buf_reset(&b, 65536);
		if (n == -1)
			break;
	}
	buf_free(&b);
	if (n == -1) {
		io_close(copy);
		return -1;
	}
	close(fd);
	return copy;
}

/* More of the file behind what the window has: bytes, 0 at its end, -1. */
static ssize_t
fill(struct manifest *m)
{
	ssize_t n;

	memmove(m->window, m->window + m->at, m->len - m->at);
	m->window_at += (off_t)m->at;
	m->len -= m->at;
	m->at = 0;
	do
		n = pread(m->shared->fd, m->window + m->len, WINDOW - m->len,
		    m->window_at + (off_t)m->len);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		m->len += (size_t)n;
	return n;
}

/* The next line: 1, 0 at the end of the file, -1 (errno 0: not a line). */
static int
next_line(struct manifest *m, struct span *line)
{
	const char *end;
	ssize_t n;

	for (;;) {
		end = m->len == m->at ? NULL :
		    memchr(m->window + m->at, '\n', m->len - m->at);
		if (end != NULL)
			break;
		if (m->len - m->at >= MANIFEST_LINE_MAX) {
			errno = 0;
			return -1;
		}
		n = fill(m);
		if (n == -1)
			return -1;
		if (n == 0) {
			errno = 0;
			return m->len == m->at ? 0 : -1;
		}
	}
	*line = (struct span){ m->window + m->at,
	    (size_t)(end - m->window) - m->at };
	m->line_len = line->n + 1;
	m->at += m->line_len;
	return 1;
}

static int
bad(const struct manifest *m, struct fault *f, const char *reason)
{
	return fault_input(f, span_of(m->shared->name), reason);
}

/* A pattern: a string, or {"base64":...}. */
static int
take_pattern(const struct json *j, size_t t, struct buf *text)
{
	buf_reset(text, 4096);
	if (json_type_of(j, t) == JSON_STRING) {
		json_unescape(text, json_raw(j, t));
		return 0;
	}
	if (json_type_of(j, t) != JSON_OBJECT || json_size(j, t) != 1 ||
	    !json_string_is(json_raw(j, t + 1), "base64") ||
	    json_type_of(j, t + 2) != JSON_STRING ||
	    !base64_is_canonical(json_raw(j, t + 2)))
		return -1;
	return base64_decode(text, json_raw(j, t + 2));
}

static int
take_patterns(const struct json *j, size_t t, struct scope *s,
    int (*add)(struct scope *, struct span))
{
	struct buf text = { .data = NULL };
	size_t i, n, at;
	int got, result = 0;

	if (json_type_of(j, t) != JSON_ARRAY)
		return -1;
	n = json_size(j, t);
	for (i = 0, at = t + 1; i < n && result == 0; i++) {
		got = take_pattern(j, at, &text);
		if (buf_failed(&text) || got == -1 ||
		    add(s, buf_span(&text)) == -1)
			result = -1;
		at = json_skip(j, at);
	}
	buf_free(&text);
	return result;
}

static int
take_header(struct manifest *m, struct span line)
{
	struct json *j = &m->json;
	struct scope *s = &m->shared->scope;
	bool version = false, exclude = false;
	size_t i, n, at;
	int64_t number;

	if (json_parse(j, line) == -1 || json_type_of(j, 0) != JSON_OBJECT)
		return -1;
	n = json_size(j, 0);
	for (i = 0, at = 1; i < n; i++, at = json_skip(j, at + 1)) {
		struct span key = json_raw(j, at);

		if (json_string_is(key, "manifest")) {
			version = json_integer(j, at + 1, 1, &number) == 0 &&
			    number == 1;
		} else if (json_string_is(key, "exclude")) {
			exclude = true;
			if (take_patterns(j, at + 1, s, scope_exclude) == -1)
				return -1;
		} else if (!json_string_is(key, "preserve") ||
		    take_patterns(j, at + 1, s, scope_preserve) == -1) {
			return -1;
		}
	}
	return version && exclude ? 0 : -1;
}

static struct manifest *
reader_new(struct shared *shared)
{
	struct manifest *m = calloc(1, sizeof(*m));

	if (m == NULL || (m->window = malloc(WINDOW)) == NULL) {
		free(m);
		return NULL;
	}
	m->shared = shared;
	shared->users++;
	return m;
}

/* Takes fd; a reader of it from its beginning, NULL with f. */
static struct manifest *
open_shared(int fd, const char *name, struct fault *f)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct manifest *m = NULL;

	if (shared != NULL)
		shared->name = strdup(name);
	if (shared != NULL && shared->name != NULL &&
	    (shared->fd = make_seekable(fd)) != -1 &&
	    (m = reader_new(shared)) != NULL)
		return m;
	fault_system(f, span_of(name));
	io_close(fd);
	if (shared != NULL)
		free(shared->name);
	free(shared);
	return NULL;
}

struct manifest *
manifest_open(int fd, const char *name, struct fault *f)
{
	struct manifest *m = open_shared(fd, name, f);
	struct span line;
	int got;

	if (m == NULL)
		return NULL;
	errno = 0;
	got = next_line(m, &line);
	if (got == 1) {
		errno = 0;
		if (take_header(m, line) == 0) {
			m->shared->first = m->window_at + (off_t)m->at;
			return m;
		}
	}
	if (errno == ENOMEM || (got == -1 && errno != 0))
		fault_system(f, span_of(name));
	else
		bad(m, f, "not a manifest");
	manifest_free(m);
	return NULL;
}

struct manifest *
manifest_open_lines(int fd, const char *name, struct fault *f)
{
	return open_shared(fd, name, f);
}

void
manifest_free(struct manifest *m)
{
	int saved = errno;

	if (m == NULL)
		return;
	if (--m->shared->users == 0) {
		io_close(m->shared->fd);
		scope_free(&m->shared->scope);
		free(m->shared->name);
		free(m->shared);
	}
	free(m->window);
	buf_free(&m->arena);
	buf_free(&m->order.last);
	json_free(&m->json);
	free(m);
	errno = saved;
}

const struct scope *
manifest_scope(const struct manifest *m)
{
	return &m->shared->scope;
}

int
manifest_id(struct manifest *m, char id[static MANIFEST_ID_SIZE],
    struct fault *f)
{
	uint8_t sum[SHA256_SIZE];

	if (lseek(m->shared->fd, 0, SEEK_SET) == -1 ||
	    sha256_fd(m->shared->fd, sum) == -1)
		return fault_system(f, span_of(m->shared->name));
	sha256_hex(sum, id);
	return 0;
}

/* What a line says, before it is known to be whole. */
struct seen {
	bool path, type, mode, size, mtime, sha256, target;
};

/* A string's bytes into arena; spans are set when it no longer grows. */
static int
take_bytes(const struct json *j, size_t t, bool base64, struct buf *arena,
    size_t *at, size_t *len)
{
	struct span raw = json_raw(j, t);

	if (json_type_of(j, t) != JSON_STRING)
		return -1;
	*at = arena->len;
	if (!base64)
		json_unescape(arena, raw);
	else if (!base64_is_canonical(raw) ||
	    base64_decode(arena, raw) == -1)
		return -1;
	*len = arena->len - *at;
	/* Only what is not UTF-8 is written as base64. */
	return base64 && utf8_is_valid((struct span){ arena->data + *at,
	    *len }) ? -1 : 0;
}

static int
take_type(struct span raw, struct entry *e)
{
	if (json_string_is(raw, "file"))
		e->type = ENTRY_FILE;
	else if (json_string_is(raw, "dir"))
		e->type = ENTRY_DIR;
	else if (json_string_is(raw, "link"))
		e->type = ENTRY_LINK;
	else
		return -1;
	return 0;
}

/* A decimal int64 in a string, as "-1500000000". */
static int
take_time(struct span raw, int64_t *out)
{
	char text[24];
	uint64_t value;
	bool negative = raw.n > 0 && raw.p[0] == '-';

	if (raw.n == 0 || raw.n >= sizeof(text))
		return -1;
	memcpy(text, raw.p, raw.n);
	text[raw.n] = '\0';
	if (units_parse_number(text + negative,
	    (uint64_t)INT64_MAX + negative, &value) == -1 ||
	    (text[negative] == '0' && raw.n > 1))
		return -1;
	*out = negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
	return 0;
}

static int
take_member(const struct json *j, size_t at, struct entry *e,
    struct seen *seen, struct buf *arena, size_t where[4])
{
	struct span key = json_raw(j, at), raw = json_raw(j, at + 1);
	bool text = json_type_of(j, at + 1) == JSON_STRING;
	int64_t number;

	if (json_string_is(key, "path") || json_string_is(key, "pathBase64")) {
		if (seen->path)
			return -1;
		seen->path = true;
		return take_bytes(j, at + 1, key.n > 4, arena, &where[0],
		    &where[1]);
	}
	if (json_string_is(key, "target") ||
	    json_string_is(key, "targetBase64")) {
		if (seen->target)
			return -1;
		seen->target = true;
		return take_bytes(j, at + 1, key.n > 6, arena, &where[2],
		    &where[3]);
	}
	if (json_string_is(key, "type") && text && !seen->type) {
		seen->type = true;
		return take_type(raw, e);
	}
	if (json_string_is(key, "mode") && !seen->mode) {
		seen->mode = true;
		if (json_integer(j, at + 1, 0777, &number) == -1)
			return -1;
		e->mode = (unsigned)number;
		return 0;
	}
	if (json_string_is(key, "size") && !seen->size) {
		seen->size = true;
		if (json_integer(j, at + 1, INT64_MAX, &number) == -1)
			return -1;
		e->size = (uint64_t)number;
		return 0;
	}
	if (json_string_is(key, "mtimeNs") && text && !seen->mtime) {
		seen->mtime = true;
		return take_time(raw, &e->mtime_ns);
	}
	if (json_string_is(key, "sha256") && text && !seen->sha256) {
		seen->sha256 = true;
		return sha256_from_hex(raw, e->sha256);
	}
	return -1;
}

static bool
is_whole(const struct entry *e, const struct seen *s)
{
	bool file = e->type == ENTRY_FILE, link = e->type == ENTRY_LINK;

	return s->path && s->type && s->mode == !link && s->size == file &&
	    s->mtime == file && s->sha256 == file && s->target == link &&
	    (!link || (e->target.n > 0 && e->target.n <= ENTRY_TARGET_MAX &&
	    memchr(e->target.p, '\0', e->target.n) == NULL));
}

static int
parse_entry(struct json *j, struct span line, struct entry *e,
    struct buf *arena)
{
	struct seen seen = { .path = false };
	size_t where[4] = { 0, 0, 0, 0 }, i, n, at;

	*e = (struct entry){ .type = ENTRY_FILE };
	buf_reset(arena, 65536);
	if (json_parse(j, line) == -1 || json_type_of(j, 0) != JSON_OBJECT)
		return -1;
	n = json_size(j, 0);
	for (i = 0, at = 1; i < n; i++, at = json_skip(j, at + 1))
		if (take_member(j, at, e, &seen, arena, where) == -1)
			return -1;
	if (buf_failed(arena) || arena->len == 0)
		return -1;
	e->path = (struct span){ arena->data + where[0], where[1] };
	e->target = (struct span){ arena->data + where[2], where[3] };
	if (e->type == ENTRY_LINK)
		e->mode = 0777;
	return is_whole(e, &seen) && path_check(e->path, BENEATH_PATH_MAX,
	    BENEATH_DEPTH_MAX) == PATH_OK ? 0 : -1;
}

int
manifest_follows(struct manifest_order *o, const struct entry *e,
    const char **why)
{
	struct span last = buf_span(&o->last), parent = path_parent(e->path);

	if (last.n > 0 && path_compare(last, e->path) >= 0) {
		*why = "entries are not in order";
		return 0;
	}
	/*
	 * In order, the parent is the last folder or one on the way to it;
	 * of those, every one was seen.
	 */
	last.n = o->folder;
	if (parent.n > 0 && !path_is_below(last, parent)) {
		*why = "an entry whose folder is missing";
		return 0;
	}
	o->folder = e->type == ENTRY_DIR ? e->path.n : parent.n;
	return buf_set(&o->last, e->path) == -1 ? -1 : 1;
}

/* NULL, or what is wrong with the entry where it stands (errno ENOMEM). */
static const char *
accept(struct manifest *m)
{
	const char *why = "memory";

	if (manifest_follows(&m->order, &m->entry, &why) != 1)
		return why;
	return scope_has_all(&m->shared->scope, m->entry.path) ? NULL :
	    "an entry outside the tree";
}

const struct entry *
manifest_peek(struct manifest *m, struct fault *f, bool *failed)
{
	const char *fault = NULL;
	struct span line;
	int got;

	*failed = false;
	if (m->have)
		return &m->entry;
	got = next_line(m, &line);
	if (got == 0)
		return NULL;
	if (got == -1 && errno != 0) {
		fault_system(f, span_of(m->shared->name));
		*failed = true;
		return NULL;
	}
	errno = 0;
	if (got == -1)
		fault = "cut short, or a line is too long";
	else if (parse_entry(&m->json, line, &m->entry, &m->arena) == -1)
		fault = "not a line of a manifest";
	else
		fault = accept(m);
	if (fault != NULL) {
		if (buf_failed(&m->arena) || errno == ENOMEM)
			fault_system(f, span_of(m->shared->name));
		else
			bad(m, f, fault);
		*failed = true;
		return NULL;
	}
	m->have = true;
	return &m->entry;
}

void
manifest_next(struct manifest *m)
{
	m->have = false;
}

struct span
manifest_line(const struct manifest *m)
{
	return (struct span){ m->window + m->at - m->line_len, m->line_len };
}

struct manifest *
manifest_fork(const struct manifest *m)
{
	struct manifest *fork = reader_new(m->shared);

	if (fork == NULL)
		return NULL;
	memcpy(fork->window, m->window, m->len);
	fork->len = m->len;
	fork->at = m->at;
	fork->line_len = m->line_len;
	fork->window_at = m->window_at;
	fork->order.folder = m->order.folder;
	if (buf_set(&fork->order.last, buf_span(&m->order.last)) == -1 ||
	    buf_set(&fork->arena, buf_span(&m->arena)) == -1) {
		manifest_free(fork);
		return NULL;
	}
	fork->have = m->have;
	fork->entry = m->entry;
	if (m->have) {
		fork->entry.path.p = fork->arena.data +
		    (m->entry.path.p - m->arena.data);
		fork->entry.target.p = fork->arena.data +
		    (m->entry.target.p - m->arena.data);
	}
	return fork;
}

void
manifest_rewind(struct manifest *m)
{
	m->len = m->at = 0;
	m->window_at = m->shared->first;
	m->have = false;
	m->order.folder = 0;
	buf_reset(&m->order.last, ENTRY_PATH_MAX);
}
