#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "io.h"
#include "manifest.h"
#include "manifest_parse.h"

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
		if (manifest_parse_header(&m->json, line,
		    &m->shared->scope) == 0) {
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
	const char *why = "no memory";

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
	else if (manifest_parse_entry(&m->json, line, &m->entry,
	    &m->arena) == -1)
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
