#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "io.h"
#include "journal.h"

#define MAGIC	0x31306c6a2d637070ULL
#define CHUNK	65536
#define RUN_MAX	64

/* The file: head, records, tail.  A record: its length, body, path, length. */
struct head {
	uint64_t magic, staging_ino;
	uint32_t manifest, run_len;
	char run[RUN_MAX];
};

struct body {
	struct seen seen;
	uint64_t staged_ino;
	uint32_t mode;
	uint8_t step, flags, action, reason, saved;
	uint8_t zero[7];
};

struct tail {
	uint64_t count, magic;
};

struct journal {
	int fd;
	struct head head;
	off_t end, at;		/* of the records; between two of them */
	uint64_t count, number;
	char path[BENEATH_PATH_MAX];
	char *window;		/* a part of the file, for reading forward */
	off_t window_at;
	size_t window_len;
};

static int
flush(struct journal_writer *w)
{
	if (buf_failed(&w->out)) {
		errno = ENOMEM;
		return -1;
	}
	if (io_write_all(w->fd, w->out.data, w->out.len) == -1)
		return -1;
	buf_reset(&w->out, 2 * CHUNK);
	return 0;
}

int
journal_begin(struct journal_writer *w, uint64_t staging_ino, bool manifest,
    struct span run)
{
	struct head h = { .magic = MAGIC, .staging_ino = staging_ino,
	    .manifest = manifest, .run_len = (uint32_t)run.n };

	if (run.n > sizeof(h.run)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (run.n > 0)
		memcpy(h.run, run.p, run.n);
	buf_add(&w->out, &h, sizeof(h));
	return 0;
}

int
journal_add(struct journal_writer *w, const struct journal_record *r)
{
	struct body b = { .seen = r->seen, .staged_ino = r->staged_ino,
	    .mode = r->mode, .step = (uint8_t)r->step,
	    .flags = (uint8_t)r->flags, .action = (uint8_t)r->action,
	    .reason = (uint8_t)r->reason, .saved = r->saved };
	uint32_t len = (uint32_t)(sizeof(b) + r->path.n);

	buf_add(&w->out, &len, sizeof(len));
	buf_add(&w->out, &b, sizeof(b));
	buf_add_span(&w->out, r->path);
	buf_add(&w->out, &len, sizeof(len));
	w->count++;
	return w->out.len < CHUNK && !buf_failed(&w->out) ? 0 : flush(w);
}

int
journal_end(struct journal_writer *w, bool sync)
{
	struct tail t = { .count = w->count, .magic = MAGIC };

	buf_add(&w->out, &t, sizeof(t));
	if (flush(w) == -1)
		return -1;
	return sync ? fsync(w->fd) : 0;
}

void
journal_writer_free(struct journal_writer *w)
{
	buf_free(&w->out);
}

/* Exactly len bytes at at, or -1 (EBADMSG when the file is shorter). */
static int
read_at(int fd, void *buf, size_t len, off_t at)
{
	ssize_t n = io_pread_full(fd, buf, len, at);

	if (n == -1)
		return -1;
	if ((size_t)n != len) {
		errno = EBADMSG;
		return -1;
	}
	return 0;
}

static int
check(struct journal *j)
{
	struct stat st;
	struct tail t;

	if (fstat(j->fd, &st) == -1 ||
	    read_at(j->fd, &j->head, sizeof(j->head), 0) == -1)
		return -1;
	j->end = st.st_size - (off_t)sizeof(t);
	if (j->end < (off_t)sizeof(j->head) || j->head.magic != MAGIC ||
	    j->head.run_len > RUN_MAX) {
		errno = EBADMSG;
		return -1;
	}
	if (read_at(j->fd, &t, sizeof(t), j->end) == -1)
		return -1;
	if (t.magic != MAGIC) {
		errno = EBADMSG;
		return -1;
	}
	j->count = t.count;
	return 0;
}

struct journal *
journal_open(int fd)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (j == NULL || (j->window = malloc(CHUNK)) == NULL) {
		free(j);
		io_close(fd);
		return NULL;
	}
	j->fd = fd;
	if (check(j) == -1) {
		journal_free(j);
		return NULL;
	}
	journal_to_start(j);
	return j;
}

void
journal_free(struct journal *j)
{
	int saved = errno;

	if (j == NULL)
		return;
	io_close(j->fd);
	free(j->window);
	free(j);
	errno = saved;
}

uint64_t
journal_staging_ino(const struct journal *j)
{
	return j->head.staging_ino;
}

bool
journal_has_manifest(const struct journal *j)
{
	return j->head.manifest != 0;
}

struct span
journal_run(const struct journal *j)
{
	return (struct span){ j->head.run, j->head.run_len };
}

void
journal_to_start(struct journal *j)
{
	j->at = sizeof(j->head);
	j->number = 0;
}

void
journal_to_end(struct journal *j)
{
	j->at = j->end;
	j->number = j->count;
}

/* len bytes at at, out of the window where it has them. */
static int
take(struct journal *j, void *out, size_t len, off_t at)
{
	ssize_t n;

	if (at < j->window_at || j->window_len == 0 ||
	    at + (off_t)len > j->window_at + (off_t)j->window_len) {
		n = io_pread_full(j->fd, j->window, CHUNK, at);
		if (n == -1)
			return -1;
		j->window_at = at;
		j->window_len = (size_t)n;
		if ((size_t)n < len) {
			errno = EBADMSG;
			return -1;
		}
	}
	memcpy(out, j->window + (at - j->window_at), len);
	return 0;
}

/* The record that lies at at; len is what its length says. */
static int
parse(struct journal *j, off_t at, uint32_t len, struct journal_record *r)
{
	struct body b;

	if (len < sizeof(b) || len - sizeof(b) > sizeof(j->path) ||
	    at + (off_t)(2 * sizeof(len)) + (off_t)len > j->end) {
		errno = EBADMSG;
		return -1;
	}
	if (take(j, &b, sizeof(b), at + (off_t)sizeof(len)) == -1 ||
	    take(j, j->path, len - sizeof(b),
	    at + (off_t)(sizeof(len) + sizeof(b))) == -1)
		return -1;
	*r = (struct journal_record){ .path = { j->path, len - sizeof(b) },
	    .step = b.step, .flags = b.flags, .mode = b.mode,
	    .staged_ino = b.staged_ino, .seen = b.seen, .action = b.action,
	    .reason = b.reason, .saved = b.saved, .number = j->number };
	return 1;
}

int
journal_next(struct journal *j, struct journal_record *r)
{
	uint32_t len;

	if (j->at >= j->end)
		return 0;
	if (take(j, &len, sizeof(len), j->at) == -1 ||
	    parse(j, j->at, len, r) == -1)
		return -1;
	j->at += (off_t)(2 * sizeof(len)) + (off_t)len;
	j->number++;
	return 1;
}

int
journal_previous(struct journal *j, struct journal_record *r)
{
	uint32_t len;
	off_t at;

	if (j->at <= (off_t)sizeof(j->head))
		return 0;
	if (read_at(j->fd, &len, sizeof(len),
	    j->at - (off_t)sizeof(len)) == -1)
		return -1;
	at = j->at - (off_t)(2 * sizeof(len)) - (off_t)len;
	if (at < (off_t)sizeof(j->head)) {
		errno = EBADMSG;
		return -1;
	}
	j->number--;
	if (parse(j, at, len, r) == -1)
		return -1;
	j->at = at;
	return 1;
}
