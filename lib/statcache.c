#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"
#include "io.h"
#include "statcache.h"

#define MAGIC		"pc-statcache 1\n"
#define MAGIC_SIZE	(sizeof(MAGIC) - 1)
#define CHUNK		65536
#define WINDOW		(2 * CHUNK)

/* Before each path in the file. */
struct head {
	uint64_t ino, size;
	int64_t mtime_ns, ctime_ns;
	uint8_t sha256[SHA256_SIZE];
	uint16_t path_len;
	uint8_t settled;
	uint8_t zero[5];
};

struct shared {
	int fd;
	size_t users;
	off_t end;		/* of the records */
};

struct statcache {
	struct shared *shared;
	char *window;
	size_t len, at;
	off_t window_at;
	bool have;
	struct head head;	/* of the record that is next */
};

int64_t
statcache_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Within so much, two changes may have the same time. */
static int64_t
clock_step(void)
{
	struct timespec ts;

	if (clock_getres(CLOCK_REALTIME_COARSE, &ts) == -1 || ts.tv_sec > 0)
		return 2000000000;
	return 2 * (int64_t)ts.tv_nsec;
}

/* --- reading --- */

/* The sum at the end is that of all before it. */
static bool
is_whole(int fd, off_t *end)
{
	struct sha256 sum;
	uint8_t want[SHA256_SIZE], got[SHA256_SIZE];
	static const size_t least = MAGIC_SIZE + SHA256_SIZE;
	char block[CHUNK / 4];
	struct stat st;
	off_t at;
	size_t n;

	if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_size < (off_t)least)
		return false;
	*end = st.st_size - SHA256_SIZE;
	if (io_pread_full(fd, want, sizeof(want), *end) !=
	    (ssize_t)sizeof(want) ||
	    io_pread_full(fd, block, MAGIC_SIZE, 0) != (ssize_t)MAGIC_SIZE ||
	    memcmp(block, MAGIC, MAGIC_SIZE) != 0)
		return false;
	sha256_init(&sum);
	for (at = 0; at < *end; at += (off_t)n) {
		n = *end - at < (off_t)sizeof(block) ?
		    (size_t)(*end - at) : sizeof(block);
		if (io_pread_full(fd, block, n, at) != (ssize_t)n)
			return false;
		sha256_add(&sum, block, n);
	}
	sha256_end(&sum, got);
	return memcmp(want, got, sizeof(want)) == 0;
}

static struct statcache *
reader_new(struct shared *shared)
{
	struct statcache *c = calloc(1, sizeof(*c));

	if (c == NULL || (c->window = malloc(WINDOW)) == NULL) {
		free(c);
		return NULL;
	}
	c->shared = shared;
	shared->users++;
	statcache_rewind(c);
	return c;
}

struct statcache *
statcache_open(int fd)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct statcache *c;

	if (shared == NULL) {
		io_close(fd);
		return NULL;
	}
	shared->fd = fd;
	if (!is_whole(fd, &shared->end))
		shared->end = 0;
	if ((c = reader_new(shared)) == NULL) {
		io_close(fd);
		free(shared);
	}
	return c;
}

struct statcache *
statcache_fork(const struct statcache *c)
{
	struct statcache *fork = reader_new(c->shared);

	if (fork == NULL)
		return NULL;
	memcpy(fork->window, c->window, c->len);
	fork->len = c->len;
	fork->at = c->at;
	fork->window_at = c->window_at;
	fork->have = c->have;
	fork->head = c->head;
	return fork;
}

void
statcache_rewind(struct statcache *c)
{
	c->len = c->at = 0;
	c->window_at = MAGIC_SIZE;
	c->have = false;
}

void
statcache_free(struct statcache *c)
{
	int saved = errno;

	if (c == NULL)
		return;
	if (--c->shared->users == 0) {
		io_close(c->shared->fd);
		free(c->shared);
	}
	free(c->window);
	free(c);
	errno = saved;
}

/* n bytes at c->at of the window; false at the end. */
static bool
need(struct statcache *c, size_t n)
{
	off_t at;
	ssize_t got;
	size_t room;

	while (c->len - c->at < n) {
		memmove(c->window, c->window + c->at, c->len - c->at);
		c->window_at += (off_t)c->at;
		c->len -= c->at;
		c->at = 0;
		at = c->window_at + (off_t)c->len;
		if (at >= c->shared->end)
			return false;
		room = WINDOW - c->len;
		if ((off_t)room > c->shared->end - at)
			room = (size_t)(c->shared->end - at);
		got = pread(c->shared->fd, c->window + c->len, room, at);
		if (got == 0 || (got == -1 && errno != EINTR))
			return false;
		if (got > 0)
			c->len += (size_t)got;
	}
	return true;
}

/* The record that is next, with its path; false at the end. */
static bool
peek(struct statcache *c, struct span *path)
{
	if (!c->have) {
		if (!need(c, sizeof(c->head)))
			return false;
		memcpy(&c->head, c->window + c->at, sizeof(c->head));
		c->have = true;
	}
	if (!need(c, sizeof(c->head) + c->head.path_len))
		return false;
	*path = (struct span){ c->window + c->at + sizeof(c->head),
	    c->head.path_len };
	return true;
}

bool
statcache_find(struct statcache *c, struct span path, const struct stat *st,
    uint8_t sha256[static SHA256_SIZE])
{
	const struct head *h = &c->head;
	struct span at;
	int order = -1;

	while (order < 0 && peek(c, &at)) {
		order = path_compare(at, path);
		if (order < 0) {
			c->at += sizeof(*h) + at.n;
			c->have = false;
		}
	}
	if (order != 0 || !h->settled || h->ino != st->st_ino ||
	    h->size != (uint64_t)st->st_size ||
	    h->mtime_ns != stat_mtime_ns(st) ||
	    h->ctime_ns != stat_ctime_ns(st))
		return false;
	memcpy(sha256, h->sha256, SHA256_SIZE);
	return true;
}

/* --- writing --- */

static int
flush(struct statcache_writer *w)
{
	if (buf_failed(&w->out))
		return -1;
	sha256_add(&w->sum, w->out.data, w->out.len);
	if (io_write_all(w->fd, w->out.data, w->out.len) == -1)
		return -1;
	buf_reset(&w->out, 2 * CHUNK);
	return 0;
}

static void
start(struct statcache_writer *w)
{
	if (w->started)
		return;
	w->started = true;
	w->step_ns = clock_step();
	sha256_init(&w->sum);
	buf_add_str(&w->out, MAGIC);
}

int
statcache_add(struct statcache_writer *w, struct span path,
    const struct stat *st, int64_t read_ns,
    const uint8_t sha256[static SHA256_SIZE])
{
	struct head h = { .ino = st->st_ino, .size = (uint64_t)st->st_size,
	    .mtime_ns = stat_mtime_ns(st), .ctime_ns = stat_ctime_ns(st),
	    .path_len = (uint16_t)path.n };
	int64_t step;

	start(w);
	if (path.n > BENEATH_PATH_MAX)
		return 0;
	/* A file system that keeps whole seconds only has a wider step. */
	step = st->st_ctim.tv_nsec == 0 ? 2000000000 : w->step_ns;
	h.settled = h.ctime_ns + step < read_ns;
	memcpy(h.sha256, sha256, SHA256_SIZE);
	buf_add(&w->out, &h, sizeof(h));
	buf_add_span(&w->out, path);
	return w->out.len < CHUNK && !buf_failed(&w->out) ? 0 : flush(w);
}

int
statcache_copy(struct statcache_writer *w, struct statcache *c,
    struct span path)
{
	struct span at;
	int order;

	start(w);
	while (peek(c, &at)) {
		order = path.n == 0 ? -1 : path_compare(at, path);
		if (order > 0)
			break;
		if (order < 0) {
			buf_add(&w->out, &c->head, sizeof(c->head));
			buf_add_span(&w->out, at);
			if ((w->out.len >= CHUNK || buf_failed(&w->out)) &&
			    flush(w) == -1)
				return -1;
		}
		c->at += sizeof(c->head) + at.n;
		c->have = false;
	}
	return 0;
}

int
statcache_step_ms(void)
{
	return (int)(clock_step() / 1000000) + 1;
}

int
statcache_end(struct statcache_writer *w)
{
	uint8_t sum[SHA256_SIZE];

	start(w);
	if (flush(w) == -1)
		return -1;
	sha256_end(&w->sum, sum);
	return io_write_all(w->fd, sum, sizeof(sum));
}

void
statcache_writer_free(struct statcache_writer *w)
{
	buf_free(&w->out);
}
