#include <sys/file.h>
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "id.h"
#include "io.h"
#include "queue.h"
#include "rename.h"

#define LOCK_TRIES 20		/* of a millisecond each */
#define SUFFIX ".json"
#define NAME_SIZE (ID_MAX + sizeof(SUFFIX))

static const char *const folder_names[QUEUE_FOLDERS] = {
	"requests", "claimed", "responses"
};

const char *
queue_folder_name(enum queue_folder where)
{
	return folder_names[where];
}

struct entry_name {
	char text[NAME_SIZE];
};

static struct entry_name
name_of(const char *id)
{
	struct entry_name name;

	snprintf(name.text, sizeof(name.text), "%s" SUFFIX, id);
	return name;
}

/* openat(2), which a file system over a network may interrupt. */
static int
open_at(int dir, const char *name, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dir, name, flags | O_CLOEXEC, mode);
	while (fd == -1 && errno == EINTR);
	return fd;
}

static mode_t
directory_mode(int flags)
{
	return flags & QUEUE_GROUP ? 0770 : 0700;
}

static mode_t
file_mode(int flags)
{
	return flags & QUEUE_GROUP ? 0660 : 0600;
}

static char *
absolute_path(const char *dir)
{
	char cwd[PATH_MAX], *path;

	if (*dir == '/')
		return strdup(dir);
	if (getcwd(cwd, sizeof(cwd)) == NULL ||
	    asprintf(&path, "%s/%s", cwd, dir) == -1)
		return NULL;
	return path;
}

/* mkdir -p; what is there already is not looked at. */
static int
make_path(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t i, n = strlen(path);

	if (n >= sizeof(part)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	for (i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) == -1 && errno != EEXIST &&
		    errno != EROFS && errno != EACCES)
			return -1;
	}
	return 0;
}

static int
open_folder(const struct queue *q, int root, enum queue_folder which)
{
	const char *name = folder_names[which];
	struct stat st, root_st;
	int fd, flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

	fd = open_at(root, name, flags, 0);
	if (fd == -1 && errno == ENOENT && !(q->flags & QUEUE_LOOK)) {
		if (mkdirat(root, name, directory_mode(q->flags)) == -1 &&
		    errno != EEXIST)
			return -1;
		fd = open_at(root, name, flags, 0);
	}
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || fstat(root, &root_st) == -1)
		goto fail;
	if (st.st_uid != geteuid() && st.st_uid != root_st.st_uid) {
		errno = EPERM;
		goto fail;
	}
	return fd;
fail:
	io_close(fd);
	return -1;
}

static void
close_all(int root, const int folder[static QUEUE_FOLDERS])
{
	int i;

	for (i = 0; i < QUEUE_FOLDERS; i++)
		io_close(folder[i]);
	io_close(root);
}

int
queue_reopen(struct queue *q)
{
	int folder[QUEUE_FOLDERS] = { -1, -1, -1 };
	int root, i;

	if ((q->flags & QUEUE_CREATE) &&
	    make_path(q->dir, directory_mode(q->flags)) == -1)
		return -1;
	root = open_at(AT_FDCWD, q->dir, O_RDONLY | O_DIRECTORY, 0);
	if (root == -1)
		return -1;
	for (i = 0; i < QUEUE_FOLDERS; i++) {
		folder[i] = open_folder(q, root, (enum queue_folder)i);
		if (folder[i] == -1 &&
		    !(errno == ENOENT && (q->flags & QUEUE_LOOK))) {
			close_all(root, folder);
			return -1;
		}
	}
	close_all(q->root, q->folder);
	q->root = root;
	memcpy(q->folder, folder, sizeof(folder));
	return 0;
}

int
queue_open(struct queue *q, const char *dir, int flags)
{
	struct timespec ts;

	memset(q, 0, sizeof(*q));
	q->flags = flags;
	q->root = -1;
	memset(q->folder, -1, sizeof(q->folder));
	clock_gettime(CLOCK_REALTIME, &ts);
	q->serial = (uint64_t)ts.tv_sec << 30 ^ (uint64_t)ts.tv_nsec;
	if ((q->dir = absolute_path(dir)) == NULL)
		return -1;
	umask(0);
	if (queue_reopen(q) == -1) {
		free(q->dir);
		q->dir = NULL;
		return -1;
	}
	return 0;
}

void
queue_close(struct queue *q)
{
	close_all(q->root, q->folder);
	free(q->dir);
	memset(q, 0, sizeof(*q));
	q->root = -1;
	memset(q->folder, -1, sizeof(q->folder));
}

bool
queue_is_current(const struct queue *q)
{
	struct stat held, named;
	int i;

	if (stat(q->dir, &named) == -1 || fstat(q->root, &held) == -1 ||
	    named.st_ino != held.st_ino || named.st_dev != held.st_dev)
		return false;
	for (i = 0; i < QUEUE_FOLDERS; i++)
		if (fstat(q->folder[i], &held) == -1 ||
		    fstatat(q->root, folder_names[i], &named,
		    AT_SYMLINK_NOFOLLOW) == -1 ||
		    named.st_ino != held.st_ino || named.st_dev != held.st_dev)
			return false;
	return true;
}

/* Gives the finished temporary its name, unless that is taken (EEXIST). */
static int
publish_name(struct queue *q, int from, const char *tmp, int to,
    const char *name)
{
	if (!q->no_rename_flags) {
		if (rename_noreplace(from, tmp, to, name) == 0)
			return 0;
		if (errno != ENOSYS)
			return -1;
		q->no_rename_flags = true;
	}
	if (linkat(from, tmp, to, name, 0) == -1)
		return -1;
	/* It is published; a sweep may have been faster. */
	(void)unlinkat(from, tmp, 0);
	return 0;
}

static int
open_temporary(struct queue *q, int dir, char *tmp, size_t size)
{
	int fd, tries;

	for (tries = 0; tries < 100; tries++) {
		snprintf(tmp, size, "%lx-%llx.tmp", (unsigned long)getpid(),
		    (unsigned long long)q->serial++);
		fd = open_at(dir, tmp, O_WRONLY | O_CREAT | O_EXCL |
		    O_NOFOLLOW, file_mode(q->flags));
		if (fd != -1 || errno != EEXIST)
			return fd;
	}
	return -1;
}

/*
 * A complete new file, or nothing: EEXIST when the name is taken.  Written in
 * claimed/, where nobody waits for arrivals: who does would be woken twice.
 */
static int
publish(struct queue *q, enum queue_folder where, const char *id,
    struct span content)
{
	int from = q->folder[QUEUE_CLAIMED], to = q->folder[where], fd, saved;
	struct entry_name name = name_of(id);
	char tmp[64];

	fd = open_temporary(q, from, tmp, sizeof(tmp));
	if (fd == -1)
		return -1;
	if (io_write_all(fd, content.p, content.n) == -1 ||
	    ((q->flags & QUEUE_SYNC) && fsync(fd) == -1)) {
		io_close(fd);
		goto fail;
	}
	if (close(fd) == -1 || publish_name(q, from, tmp, to, name.text) == -1)
		goto fail;
	return 0;
fail:
	saved = errno;
	unlinkat(from, tmp, 0);
	errno = saved;
	return -1;
}

static int
sync_folder(const struct queue *q, enum queue_folder where)
{
	return q->flags & QUEUE_SYNC ? fsync(q->folder[where]) : 0;
}

int
queue_submit(struct queue *q, const char *id, struct span record)
{
	int saved;

	if (publish(q, QUEUE_REQUESTS, id, record) == -1)
		return -1;
	if (sync_folder(q, QUEUE_REQUESTS) == 0)
		return 0;
	/* It may be claimed by now: only a withdrawal makes it not so. */
	saved = errno;
	if (queue_withdraw(q, id) == -1)
		return 0;
	errno = saved;
	return -1;
}

int
queue_claim(struct queue *q, const char *id)
{
	struct entry_name name = name_of(id);
	int from = q->folder[QUEUE_REQUESTS], to = q->folder[QUEUE_CLAIMED];

	if (!q->no_rename_flags) {
		if (rename_noreplace(from, name.text, to, name.text) == 0)
			return 0;
		if (errno != ENOSYS)
			return -1;
		q->no_rename_flags = true;
	}
	/* Ids are used once, so the flag only guards against hostile reuse. */
	if (queue_has(q, QUEUE_CLAIMED, id)) {
		errno = EEXIST;
		return -1;
	}
	return renameat(from, name.text, to, name.text);
}

static int
unlink_entry(struct queue *q, enum queue_folder where, const char *id)
{
	struct entry_name name = name_of(id);

	return unlinkat(q->folder[where], name.text, 0);
}

int
queue_withdraw(struct queue *q, const char *id)
{
	return unlink_entry(q, QUEUE_REQUESTS, id);
}

bool
queue_has(const struct queue *q, enum queue_folder where, const char *id)
{
	struct entry_name name = name_of(id);
	struct stat st;

	return fstatat(q->folder[where], name.text, &st,
	    AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int64_t
mtime_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000 +
	    st->st_mtim.tv_nsec / 1000000;
}

int
queue_mtime(const struct queue *q, enum queue_folder where, const char *id,
    int64_t *mtime_ms)
{
	struct entry_name name = name_of(id);
	struct stat st;

	if (fstatat(q->folder[where], name.text, &st,
	    AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = ENOENT;
		return -1;
	}
	*mtime_ms = mtime_of(&st);
	return 0;
}

static int
read_regular(int fd, size_t max, struct buf *b, int64_t *mtime_ms)
{
	struct stat st;
	ssize_t n;
	char *to;

	if (fstat(fd, &st) == -1)
		return -1;
	*mtime_ms = mtime_of(&st);
	errno = ENOENT;
	if (!S_ISREG(st.st_mode))
		return -1;
	errno = EFBIG;
	if ((uintmax_t)st.st_size > max)
		return -1;
	errno = ENOMEM;
	if ((to = buf_reserve(b, (size_t)st.st_size + 1)) == NULL)
		return -1;
	n = io_read_full(fd, to, (size_t)st.st_size);
	if (n == -1)
		return -1;
	b->len += (size_t)n;
	return 0;
}

int
queue_read(const struct queue *q, enum queue_folder where, const char *id,
    size_t max, struct buf *b, int64_t *mtime_ms)
{
	struct entry_name name = name_of(id);
	int fd, result;

	b->len = 0;
	fd = open_at(q->folder[where], name.text,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -1) {
		if (errno == ELOOP || errno == ENXIO)
			errno = ENOENT;
		return -1;
	}
	result = read_regular(fd, max, b, mtime_ms);
	io_close(fd);
	return result;
}

/*
 * Sees to it that the request is claimed, by whomever.  A request only moves
 * from requests/ to claimed/, so looking there last cannot miss it.
 */
static bool
request_is_claimed(struct queue *q, const char *id)
{
	if (queue_has(q, QUEUE_CLAIMED, id))
		return true;
	if (queue_has(q, QUEUE_REQUESTS, id) && queue_claim(q, id) == 0)
		return true;
	return queue_has(q, QUEUE_CLAIMED, id);
}

/*
 * Responders answer one at a time.  Else one that had seen the claim could
 * publish when another's answer has been collected; and as a response is
 * removed by its name, this one would be taken for that one.  A descriptor, or
 * -1: ENOENT when the claim has gone, EAGAIN while another has it, which is
 * waited for no longer than an answer takes.
 */
static int
lock_claim(const struct queue *q, const char *id)
{
	struct entry_name name = name_of(id);
	struct stat st;
	int fd, tries = 0, got;

	fd = open_at(q->folder[QUEUE_CLAIMED], name.text, O_RDONLY |
	    O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -1)
		return -1;
	while ((got = flock(fd, LOCK_EX | LOCK_NB)) == -1 &&
	    errno == EAGAIN && tries++ < LOCK_TRIES)
		poll(NULL, 0, 1);
	if (got == 0 && fstat(fd, &st) == 0) {
		if (st.st_nlink > 0)
			return fd;
		errno = ENOENT;
	}
	io_close(fd);
	return -1;
}

/* With the claim locked. */
static enum queue_delivery
deliver(struct queue *q, const char *id, struct span response)
{
	if (publish(q, QUEUE_RESPONSES, id, response) == -1)
		return errno == EEXIST ? QUEUE_ANSWERED : QUEUE_FAILED;
	if (sync_folder(q, QUEUE_RESPONSES) == -1)
		return QUEUE_FAILED;
	/* The second look: a requester that left took its claim with it. */
	if (unlink_entry(q, QUEUE_CLAIMED, id) == 0)
		return QUEUE_DELIVERED;
	if (errno != ENOENT)
		return QUEUE_FAILED;
	if (unlink_entry(q, QUEUE_RESPONSES, id) == 0)
		return QUEUE_TAKEN_BACK;
	return errno == ENOENT ? QUEUE_DELIVERED : QUEUE_FAILED;
}

enum queue_delivery
queue_respond(struct queue *q, const char *id, struct span response)
{
	enum queue_delivery d;
	int claim = -1;

	if (request_is_claimed(q, id) &&
	    (claim = lock_claim(q, id)) == -1 && errno != ENOENT)
		return QUEUE_FAILED;
	if (claim == -1)
		return queue_has(q, QUEUE_RESPONSES, id) ? QUEUE_ANSWERED :
		    QUEUE_UNKNOWN;
	d = deliver(q, id, response);
	io_close(claim);
	return d;
}

const char *
queue_delivery_reason(enum queue_delivery d)
{
	switch (d) {
	case QUEUE_DELIVERED:
		return "delivered";
	case QUEUE_TAKEN_BACK:
		return "the requester has left";
	case QUEUE_ANSWERED:
		return "already answered";
	case QUEUE_UNKNOWN:
		return "no such request";
	default:
		return "not written";
	}
}

int
queue_collect(struct queue *q, const char *id, size_t max, struct buf *b)
{
	int64_t mtime;
	int error = 0;

	if (queue_read(q, QUEUE_RESPONSES, id, max, b, &mtime) == -1)
		error = errno;
	/*
	 * Out of descriptors, say: it is still there for the next try.  A bad
	 * disk does not even tell whether there is one.
	 */
	if (error == ENOENT || error == EMFILE || error == ENFILE ||
	    error == ENOMEM || error == EIO) {
		errno = error == ENOENT ? ENOENT : EAGAIN;
		return -1;
	}
	unlink_entry(q, QUEUE_REQUESTS, id);
	unlink_entry(q, QUEUE_CLAIMED, id);
	unlink_entry(q, QUEUE_RESPONSES, id);
	errno = error;
	return error == 0 ? 0 : -1;
}

enum queue_withdrawal
queue_give_up(struct queue *q, const char *id)
{
	if (queue_withdraw(q, id) == 0)
		return QUEUE_WITHDRAWN;
	unlink_entry(q, QUEUE_CLAIMED, id);
	return QUEUE_WAS_CLAIMED;
}

const char *
queue_entry_id(char *name)
{
	size_t n = strlen(name), suffix = sizeof(SUFFIX) - 1;

	if (n <= suffix || strcmp(name + n - suffix, SUFFIX) != 0)
		return NULL;
	name[n - suffix] = '\0';
	return id_is_valid((struct span){ name, n - suffix }) ? name : NULL;
}

/* Calls visit for every plausible entry of a folder until it returns false. */
static int
walk(int folder, bool (*visit)(void *ctx, int dir, char *name), void *ctx)
{
	struct dirent *entry;
	DIR *dir;
	int fd, saved;

	if (folder == -1)
		return 0;
	/* A stream of its own: dup() would share the offset. */
	fd = open_at(folder, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd == -1)
		return -1;
	if ((dir = fdopendir(fd)) == NULL) {
		io_close(fd);
		return -1;
	}
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN)
			continue;
		if (!visit(ctx, fd, entry->d_name))
			break;
	}
	saved = entry == NULL ? errno : 0;
	closedir(dir);
	errno = saved;
	return saved == 0 ? 0 : -1;
}

struct id_visit {
	bool (*each)(void *ctx, const char *id);
	void *ctx;
};

static bool
visit_id(void *ctx, int dir, char *name)
{
	struct id_visit *v = ctx;
	const char *id = queue_entry_id(name);

	(void)dir;
	return id == NULL || v->each(v->ctx, id);
}

int
queue_each(const struct queue *q, enum queue_folder where,
    bool (*each)(void *ctx, const char *id), void *ctx)
{
	struct id_visit v = { each, ctx };

	return walk(q->folder[where], visit_id, &v);
}

struct temporary_visit {
	int64_t before_ms;
	size_t removed;
};

static bool
visit_temporary(void *ctx, int dir, char *name)
{
	struct temporary_visit *v = ctx;
	size_t n = strlen(name);
	struct stat st;

	if (n > 4 && strcmp(name + n - 4, ".tmp") == 0 &&
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) &&
	    (int64_t)st.st_mtim.tv_sec * 1000 < v->before_ms &&
	    unlinkat(dir, name, 0) == 0)
		v->removed++;
	return true;
}

size_t
queue_remove_temporaries(struct queue *q, int64_t before_ms)
{
	struct temporary_visit v = { before_ms, 0 };
	int i;

	for (i = 0; i < QUEUE_FOLDERS; i++)
		(void)walk(q->folder[i], visit_temporary, &v);
	/* Of server.pid and ready.json. */
	(void)walk(q->root, visit_temporary, &v);
	return v.removed;
}

int
queue_open_file(const struct queue *q, const char *name, int flags)
{
	struct stat st;
	int fd;

	fd = open_at(q->root, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
	    file_mode(q->flags));
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0) {
		if (S_ISREG(st.st_mode))
			return fd;
		errno = EINVAL;
	}
	io_close(fd);
	return -1;
}

int
queue_remove(struct queue *q, enum queue_folder where, const char *id)
{
	return unlink_entry(q, where, id);
}
