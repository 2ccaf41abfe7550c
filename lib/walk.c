#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "beneath.h"
#include "buf.h"
#include "io.h"
#include "mode.h"
#include "walk.h"

#define DENTS_SIZE	65536
#define NAMES_ROOM	(8 * 1024 * 1024)	/* for those of one folder */

/*
 * A folder on the way down.  Each name is a byte for its type and a string.
 * What has no room is read again when its turn comes: always the names that
 * are next in order are held.
 */
struct level {
	int fd;
	dev_t dev;
	ino_t ino;
	size_t path_len;	/* of the folder itself */
	struct buf names;
	const char **sorted;
	size_t n, next;
	struct buf after;	/* a string: names up to it had their turn */
	struct buf before;	/* a string: those from it on are not held */
};

struct walk {
	const struct scope *scope;
	bool follow, show_excluded, open_up;
	bool entered;		/* the last entry's folder is the top level */
	size_t depth;
	struct level *levels[BENEATH_DEPTH_MAX + 1];
	struct buf path;
	char *dents;
};

static int
by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a + 1,
	    *(const char *const *)b + 1);
}

/* One getdents64(2) record; the C library's struct has the same form. */
struct dent {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

static int
sort_names(struct level *l)
{
	const char *p = l->names.data;
	size_t i;

	free(l->sorted);
	l->sorted = NULL;
	if (l->n == 0)
		return 0;
	if ((l->sorted = malloc(l->n * sizeof(*l->sorted))) == NULL)
		return -1;
	for (i = 0; i < l->n; i++, p += strlen(p) + 1)
		l->sorted[i] = p;
	qsort(l->sorted, l->n, sizeof(*l->sorted), by_bytes);
	return 0;
}

/* Only the first half stays. */
static int
drop_half(struct level *l)
{
	struct buf kept = { .data = NULL };
	const char *dropped;
	size_t i;
	int got;

	if (sort_names(l) == -1)
		return -1;
	l->n /= 2;
	for (i = 0; i < l->n; i++)
		buf_add(&kept, l->sorted[i], strlen(l->sorted[i]) + 1);
	dropped = l->sorted[l->n] + 1;
	got = buf_set(&l->before, (struct span){ dropped,
	    strlen(dropped) + 1 });
	buf_free(&l->names);
	l->names = kept;
	return buf_failed(&l->names) ? -1 : got;
}

static bool
has_turn(const struct level *l, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	return (l->after.len == 0 || strcmp(name, l->after.data) > 0) &&
	    (l->before.len == 0 || strcmp(name, l->before.data) < 0);
}

static int
add_names(struct level *l, const char *dents, size_t len)
{
	const struct dent *d;
	size_t at;

	for (at = 0; at < len; at += d->reclen) {
		d = (const void *)(dents + at);
		if (!has_turn(l, d->name))
			continue;
		buf_add_char(&l->names, (char)(d->type + 1));
		buf_add(&l->names, d->name, strlen(d->name) + 1);
		l->n++;
		/* To sort takes two pointers a name. */
		if (l->names.len + l->n * 2 * sizeof(*l->sorted) >
		    NAMES_ROOM && drop_half(l) == -1)
			return -1;
	}
	return buf_failed(&l->names) ? -1 : 0;
}

static int
read_names(struct walk *w, struct level *l)
{
	long n;

	l->n = l->next = 0;
	buf_reset(&l->names, NAMES_ROOM);
	buf_reset(&l->before, DENTS_SIZE);
	for (;;) {
		n = syscall(SYS_getdents64, l->fd, w->dents, DENTS_SIZE);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (add_names(l, w->dents, (size_t)n) == -1)
			return -1;
	}
	return n == -1 ? -1 : sort_names(l);
}

/* Those that had no room: 1, 0 when there are none, -1. */
static int
read_more(struct walk *w, struct level *l)
{
	const char *last;

	if (l->before.len == 0)
		return 0;
	last = l->sorted[l->n - 1] + 1;
	if (buf_set(&l->after, (struct span){ last, strlen(last) + 1 }) == -1)
		return -1;
	return lseek(l->fd, 0, SEEK_SET) == -1 || read_names(w, l) == -1 ?
	    -1 : 1;
}

static void
level_free(struct level *l)
{
	if (l == NULL)
		return;
	io_close(l->fd);
	buf_free(&l->names);
	buf_free(&l->after);
	buf_free(&l->before);
	free(l->sorted);
	free(l);
}

/* Takes fd, a folder whose path is w->path. */
static int
push(struct walk *w, int fd, const struct stat *st)
{
	struct level *l;

	if (w->depth == BENEATH_DEPTH_MAX) {
		io_close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	if ((l = calloc(1, sizeof(*l))) == NULL) {
		io_close(fd);
		return -1;
	}
	l->fd = fd;
	l->dev = st->st_dev;
	l->ino = st->st_ino;
	l->path_len = w->path.len;
	w->levels[w->depth++] = l;
	return read_names(w, l);
}

static void
pop(struct walk *w)
{
	level_free(w->levels[--w->depth]);
	w->levels[w->depth] = NULL;
}

struct walk *
walk_open(int root, struct span prefix, const struct scope *s, bool follow)
{
	struct walk *w = calloc(1, sizeof(*w));
	struct stat st;
	int fd;

	if (w == NULL)
		return NULL;
	w->scope = s;
	w->follow = follow;
	buf_add_span(&w->path, prefix);
	w->dents = malloc(DENTS_SIZE);
	if (w->dents == NULL || buf_failed(&w->path)) {
		walk_free(w);
		errno = ENOMEM;
		return NULL;
	}
	/* A description of its own: reading moves its offset. */
	fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1 || push(w, fd, &st) == -1) {
		walk_free(w);
		return NULL;
	}
	return w;
}

void
walk_free(struct walk *w)
{
	int saved = errno;

	if (w == NULL)
		return;
	while (w->depth > 0)
		pop(w);
	buf_free(&w->path);
	free(w->dents);
	free(w);
	errno = saved;
}

void
walk_show_excluded(struct walk *w)
{
	w->show_excluded = true;
}

void
walk_open_up(struct walk *w)
{
	w->open_up = true;
}

static enum walk_type
type_of_mode(mode_t mode)
{
	return S_ISREG(mode) ? WALK_FILE : S_ISDIR(mode) ? WALK_DIR :
	    S_ISLNK(mode) ? WALK_LINK : WALK_OTHER;
}

int
walk_stat(struct walk *w, struct walk_entry *e)
{
	if (e->has_stat)
		return 0;
	if (fstatat(e->dir, e->name, &e->st,
	    w->follow ? 0 : AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	e->has_stat = true;
	e->type = type_of_mode(e->st.st_mode);
	return 0;
}

/* A folder that is one of its own parents would never end. */
static bool
is_loop(const struct walk *w, const struct stat *st)
{
	size_t i;

	for (i = 0; i < w->depth; i++)
		if (w->levels[i]->dev == st->st_dev &&
		    w->levels[i]->ino == st->st_ino)
			return true;
	return false;
}

/* Gives the folder its owner's bits; *mode is what it had. */
static int
open_up(const struct walk_entry *e, mode_t *mode)
{
	struct stat st;

	if (fstatat(e->dir, e->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	*mode = st.st_mode;
	/* Who may not set it may yet be let in. */
	if (S_ISDIR(st.st_mode) && (st.st_mode & 0700) != 0700)
		(void)mode_set_at(e->dir, e->name,
		    (st.st_mode & 07777) | 0700);
	return 0;
}

static int
enter(struct walk *w, struct walk_entry *e)
{
	mode_t before = 0;
	int fd;

	if (w->open_up && open_up(e, &before) == -1)
		return -1;
	fd = openat(e->dir, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
	    (w->follow ? 0 : O_NOFOLLOW));
	if (fd == -1)
		return -1;
	if (fstat(fd, &e->st) == -1) {
		io_close(fd);
		return -1;
	}
	if (w->follow && is_loop(w, &e->st)) {
		io_close(fd);
		errno = ELOOP;
		return -1;
	}
	e->has_stat = true;
	if (push(w, fd, &e->st) == -1)
		return -1;
	if (w->open_up)
		e->st.st_mode = before;
	w->entered = true;
	return 0;
}

/* The type as the folder said it, where it did. */
static int
settle_type(struct walk *w, struct walk_entry *e, unsigned char type)
{
	if (type == DT_UNKNOWN || (type == DT_LNK && w->follow))
		return walk_stat(w, e);
	e->type = type == DT_REG ? WALK_FILE : type == DT_DIR ? WALK_DIR :
	    type == DT_LNK ? WALK_LINK : WALK_OTHER;
	return 0;
}

static bool
has_gone(int error, bool follow)
{
	return error == ENOENT && !follow;
}

/* Looks at the top level's next name: 1, 0 when it is not an entry, -1. */
static int
take_name(struct walk *w, struct level *l, struct walk_entry *e)
{
	const char *name = l->sorted[l->next++];
	unsigned char type = (unsigned char)(name[0] - 1);

	w->path.len = l->path_len;
	if (l->path_len > 0)
		buf_add_char(&w->path, '/');
	buf_add(&w->path, name + 1, strlen(name + 1));
	if (buf_failed(&w->path))
		return -1;
	*e = (struct walk_entry){ .path = buf_span(&w->path), .dir = l->fd,
	    .name = name + 1 };
	e->excluded = !scope_has(w->scope, e->path);
	if (e->excluded && !w->show_excluded)
		return 0;
	if (settle_type(w, e, type) == -1)
		return has_gone(errno, w->follow) ? 0 : -1;
	if (e->type != WALK_DIR || e->excluded)
		return 1;
	if (enter(w, e) == -1)
		return has_gone(errno, w->follow) ? 0 : -1;
	return 1;
}

enum walk_result
walk_next(struct walk *w, struct walk_entry *e)
{
	struct level *l;
	int got;

	w->entered = false;
	while (w->depth > 0) {
		l = w->levels[w->depth - 1];
		if (l->next == l->n) {
			got = read_more(w, l);
			if (got == -1) {
				w->path.len = l->path_len;
				*e = (struct walk_entry){
				    .path = buf_span(&w->path) };
				return WALK_FAILED;
			}
			if (got == 0)
				pop(w);
			continue;
		}
		got = take_name(w, l, e);
		if (got != 0)
			return got == 1 ? WALK_ENTRY : WALK_FAILED;
	}
	return WALK_END;
}

void
walk_skip(struct walk *w)
{
	if (w->entered)
		pop(w);
	w->entered = false;
}

int
walk_open_file(struct walk *w, const struct walk_entry *e)
{
	/* What was a file may be a FIFO by now: never wait for its writer. */
	int fd = openat(e->dir, e->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
	    O_NOCTTY | (w->follow ? 0 : O_NOFOLLOW));

	if (fd == -1 && errno == ELOOP)
		errno = EAGAIN;
	return fd;
}

ssize_t
walk_read_link(const struct walk_entry *e, char out[static ENTRY_TARGET_MAX])
{
	char all[ENTRY_TARGET_MAX + 1];
	ssize_t n = readlinkat(e->dir, e->name, all, sizeof(all));

	if (n == (ssize_t)sizeof(all)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (n > 0)
		memcpy(out, all, (size_t)n);
	return n;
}

int
walk_has_excluded(int folder, struct span path, const struct scope *s)
{
	struct walk_entry e;
	struct walk *w;
	enum walk_result r;

	if (s->npatterns == 0)
		return 0;
	if ((w = walk_open(folder, path, s, false)) == NULL)
		return -1;
	walk_show_excluded(w);
	while ((r = walk_next(w, &e)) == WALK_ENTRY)
		if (e.excluded)
			break;
	walk_free(w);
	return r == WALK_FAILED ? -1 : r == WALK_ENTRY;
}
