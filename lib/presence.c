#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "io.h"
#include "presence.h"
#include "recordlock.h"
#include "units.h"

#define LOCK_FILE "gateway.lock"
#define PID_FILE "server.pid"
#define READY_FILE "ready.json"
#define READY_MAX 4096

/* A small file of the queue's own directory, as text. */
static int
read_small(const struct queue *q, const char *name, struct buf *b)
{
	int fd = queue_open_file(q, name, O_RDONLY), result;

	if (fd == -1)
		return -1;
	result = io_read_to_end(fd, b, READY_MAX);
	io_close(fd);
	return result;
}

/* The pid in server.pid; 0 for none, -1 with errno when it cannot be read. */
static pid_t
written_pid(const struct queue *q)
{
	struct buf b = { 0 };
	uint64_t pid = 0;
	int failed = 0;

	if (read_small(q, PID_FILE, &b) == -1) {
		if (errno != ENOENT && errno != ELOOP && errno != EINVAL &&
		    errno != EFBIG && errno != EACCES)
			failed = errno;
		buf_free(&b);
		errno = failed;
		return failed != 0 ? -1 : 0;
	}
	if (b.len > 0) {
		if (b.data[b.len - 1] == '\n')
			b.len--;
		buf_add_char(&b, '\0');
		if (buf_failed(&b) ||
		    units_parse_number(b.data, INT32_MAX, &pid) == -1)
			pid = 0;
	}
	buf_free(&b);
	return (pid_t)pid;
}

static bool
is_alive(pid_t pid)
{
	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

static bool
is_there(const struct queue *q, const char *name)
{
	struct stat st;

	return fstatat(q->root, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Who holds the lock: 1, 0 for nobody, -1 with errno when it is not known. */
static int
lock_holder(const struct queue *q, pid_t *pid)
{
	int fd = queue_open_file(q, LOCK_FILE, O_RDWR), held;

	if (fd == -1)
		return errno == ENOENT || errno == ELOOP || errno == EINVAL ||
		    errno == EISDIR || errno == EACCES || errno == ENXIO ?
		    0 : -1;
	held = recordlock_holder(fd, pid);
	io_close(fd);
	return held;
}

int
presence_look(const struct queue *q, struct presence *p)
{
	int held;

	*p = (struct presence){ .up = false };
	if (q->root == -1)
		return 0;
	held = lock_holder(q, &p->pid);
	if (held == 1)
		p->up = p->ours = true;
	if (held != 0)
		return held == 1 ? 0 : -1;
	p->pid = written_pid(q);
	if (p->pid == -1)
		return -1;
	p->up = is_alive(p->pid) && is_there(q, READY_FILE);
	return 0;
}

int
presence_claim(const struct queue *q)
{
	int fd = queue_open_file(q, LOCK_FILE, O_RDWR | O_CREAT);

	if (fd == -1 || recordlock_take(fd) == 0)
		return fd;
	io_close(fd);
	return -1;
}

bool
presence_is_left(const struct queue *q)
{
	return is_there(q, PID_FILE);
}

static int
replace_file(const struct queue *q, const char *name, struct span text)
{
	char tmp[64];
	int fd, saved;

	snprintf(tmp, sizeof(tmp), "%s.%ld.tmp", name, (long)getpid());
	unlinkat(q->root, tmp, 0);
	fd = queue_open_file(q, tmp, O_WRONLY | O_CREAT | O_EXCL);
	if (fd == -1)
		return -1;
	if (io_write_all(fd, text.p, text.n) == -1) {
		io_close(fd);
		goto fail;
	}
	if (close(fd) == 0 && renameat(q->root, tmp, q->root, name) == 0)
		return 0;
fail:
	saved = errno;
	unlinkat(q->root, tmp, 0);
	errno = saved;
	return -1;
}

int
presence_write_pid(const struct queue *q, pid_t pid)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld\n", (long)pid);
	return replace_file(q, PID_FILE, span_of(text));
}

int
presence_write_ready(const struct queue *q, struct span ready)
{
	return replace_file(q, READY_FILE, ready);
}

int
presence_read_ready(const struct queue *q, struct buf *b)
{
	return read_small(q, READY_FILE, b);
}

void
presence_withdraw(const struct queue *q)
{
	unlinkat(q->root, READY_FILE, 0);
	unlinkat(q->root, PID_FILE, 0);
}

/* 0 when nobody holds the lock any more, else -1 with errno. */
static int
stop_holder(const struct queue *q, int64_t kill_ms, pid_t *pid)
{
	int fd = queue_open_file(q, LOCK_FILE, O_RDWR), result, held = 0;
	pid_t next;

	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	/* Who has taken it meanwhile is stopped, too. */
	do
		result = recordlock_stop(fd, kill_ms, pid);
	while (result == 0 && (held = recordlock_holder(fd, &next)) == 1);
	io_close(fd);
	return held == -1 ? -1 : result;
}

enum presence_stop
presence_stop(const struct queue *q, int64_t kill_ms, struct presence *was)
{
	pid_t pid;

	if (presence_look(q, was) == -1)
		return PRESENCE_STUCK;
	if (was->up && !was->ours)
		return PRESENCE_FOREIGN;
	if (was->up) {
		if (stop_holder(q, kill_ms, &was->pid) == -1)
			return PRESENCE_STUCK;
	} else if ((pid = written_pid(q)) == -1) {
		return PRESENCE_STUCK;
	} else if (is_alive(pid)) {
		was->pid = pid;
		return PRESENCE_FOREIGN;
	}
	presence_withdraw(q);
	return PRESENCE_STOPPED;
}
