/* What the commands of pc-tarsync share. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "io.h"
#include "statcache.h"
#include "tarsync.h"

#define OUTFILES_MAX	4

static struct outfile *outfiles[OUTFILES_MAX];

int
tarsync_root(const struct tarsync *t, const char *path, bool make)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *copy;

	if (fd == -1 && errno == ENOENT && make && path[0] != '\0') {
		if ((copy = strdup(path)) != NULL &&
		    cli_make_folders(copy, 0777 & ~t->umask) == 0)
			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		free(copy);
	}
	if (fd == -1 && (errno == ENOENT || errno == EACCES))
		cli_fail(EXIT_NEVER, path, strerror(errno));
	if (fd == -1)
		cli_fail_errno(path);
	return fd;
}

struct manifest *
tarsync_manifest(const char *path)
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest *m;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1 && (errno == ENOENT || errno == EACCES ||
	    errno == EPERM))
		cli_fail(EXIT_NEVER, path, strerror(errno));
	if (fd == -1)
		cli_fail_errno(path);
	if ((m = manifest_open(fd, path, &f)) == NULL)
		cli_fail_fault(&f);
	return m;
}

struct statcache *
tarsync_cache(const char *path, const char *suffix)
{
	struct buf name = { .data = NULL };
	struct statcache *c;
	int fd;

	buf_add_str(&name, path);
	buf_add_str(&name, suffix);
	buf_add_char(&name, '\0');
	if (buf_failed(&name))
		cli_fail_memory(EXIT_LATER);
	fd = open(name.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if ((c = statcache_open(fd)) == NULL)
		cli_fail_errno(name.data);
	buf_free(&name);
	return c;
}

const struct scope *
tarsync_scope(const struct tarsync *t, const struct manifest *m)
{
	const struct scope *s = manifest_scope(m);

	if (t->scope_given && !scope_equal(s, &t->scope))
		cli_fail(EXIT_NEVER, t->before,
		    "made with other patterns (-x, -p)");
	return s;
}

static void
say(void *arg, enum notice_kind kind, struct span path, const char *text)
{
	const struct tarsync *t = arg;
	struct buf name = { .data = NULL };

	if (kind == NOTICE_NAME && !t->verbose)
		return;
	buf_add_span(&name, path);
	buf_add_char(&name, '\0');
	if (buf_failed(&name))
		return;
	if (kind == NOTICE_NAME)
		cli_name(name.data, text);
	else
		cli_warn(name.data, text);
	buf_free(&name);
}

const struct notices *
tarsync_notices(const struct tarsync *t)
{
	static struct notices n;

	n.say = say;
	n.arg = (void *)(uintptr_t)t;
	return &n;
}

int64_t
tarsync_deadline(const struct tarsync *t)
{
	return t->timeout_ms == 0 ? -1 : clock_mono_ms() + t->timeout_ms;
}

/* The folder that path is in, and its name there. */
static int
open_folder_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char *folder;
	int fd;

	*name = slash == NULL ? path : slash + 1;
	if (slash == NULL)
		return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (folder == NULL)
		return -1;
	fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	return fd;
}

static void
remember(struct outfile *o)
{
	static bool at_exit;
	size_t i;

	if (!at_exit && atexit(outfile_abandon_all) != 0)
		cli_fail_memory(EXIT_LATER);
	at_exit = true;
	for (i = 0; i < OUTFILES_MAX; i++)
		if (outfiles[i] == NULL) {
			outfiles[i] = o;
			return;
		}
}

void
outfile_open(struct outfile *o, const char *path, mode_t mask)
{
	const char *name;
	struct stat st;

	*o = (struct outfile){ .path = path, .dir = -1, .fd = -1 };
	if (stat(path, &st) == 0)
		o->direct = !S_ISREG(st.st_mode);
	else if (errno != ENOENT)
		cli_fail_errno(path);
	if (o->direct && S_ISDIR(st.st_mode))
		cli_fail(EXIT_NEVER, path, strerror(EISDIR));
	if (o->direct) {
		if ((o->fd = open(path, O_WRONLY | O_CLOEXEC)) == -1)
			cli_fail_errno(path);
		return;
	}
	if ((o->dir = open_folder_of(path, &name)) == -1)
		cli_fail_errno(path);
	remember(o);
	if (put_open(&o->put, o->dir, name, 0666 & ~mask) == -1)
		cli_fail_errno(path);
	o->fd = put_fd(&o->put);
}

void
outfile_commit(struct outfile *o)
{
	size_t i;
	int got;

	if (o->path == NULL)
		return;
	got = o->direct ? close(o->fd) : put_commit(&o->put, false);
	if (got == -1)
		cli_fail_errno(o->path);
	for (i = 0; i < OUTFILES_MAX; i++)
		if (outfiles[i] == o)
			outfiles[i] = NULL;
	io_close(o->dir);
	o->path = NULL;
}

void
outfile_abandon_all(void)
{
	size_t i;

	for (i = 0; i < OUTFILES_MAX; i++)
		if (outfiles[i] != NULL) {
			put_abort(&outfiles[i]->put);
			outfiles[i] = NULL;
		}
}
