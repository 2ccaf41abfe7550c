#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "holder.h"
#include "io.h"

#define MARK "pc-lock "		/* "pc-lock PID MILLISECONDS COMMAND\n" */
#define NOTE_SIZE (HOLDER_COMMAND_SIZE + 64)

/* Nothing, or a note: anything else is somebody's file. */
static bool
may_write(int fd)
{
	char mark[sizeof(MARK) - 1];
	ssize_t n = io_pread_full(fd, mark, sizeof(mark), 0);

	return n == 0 || (n == (ssize_t)sizeof(mark) &&
	    memcmp(mark, MARK, sizeof(mark)) == 0);
}

void
holder_note(int fd, const char *command)
{
	char note[NOTE_SIZE];
	int n;

	if (!may_write(fd))
		return;
	n = snprintf(note, sizeof(note), MARK "%ld %lld %.*s\n",
	    (long)getpid(), (long long)clock_wall_ms(),
	    HOLDER_COMMAND_SIZE - 1, command);
	/* One write; what an older, longer note leaves comes after the line. */
	(void)!pwrite(fd, note, (size_t)n, 0);
}

static void
read_note(int fd, struct holder *h)
{
	char note[NOTE_SIZE + 1], *end, *p = note + strlen(MARK);
	ssize_t n = io_pread_full(fd, note, sizeof(note) - 1, 0);
	long long since;
	long pid;

	note[n > 0 ? n : 0] = '\0';
	if (strncmp(note, MARK, strlen(MARK)) != 0 ||
	    (end = strchr(note, '\n')) == NULL)
		return;
	*end = '\0';
	pid = strtol(p, &p, 10);
	since = strtoll(p, &p, 10);
	if (pid <= 0 || pid > INT32_MAX || since <= 0 || *p != ' ')
		return;
	h->pid = (pid_t)pid;
	h->since = since;
	snprintf(h->command, sizeof(h->command), "%s", p + 1);
}

/*
 * The kernel's list, which leaves out what another pid namespace holds.  The
 * note counts if its process is in it; else the first that is.
 */
static void
read_kernel_list(const struct stat *st, struct holder *h)
{
	FILE *f = fopen("/proc/locks", "re");
	unsigned int major_no, minor_no;
	unsigned long long inode;
	pid_t first = 0;
	bool noted = false;
	char line[256], mode[16];
	long pid;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%*s FLOCK %*s %15s %ld %x:%x:%llu", mode,
		    &pid, &major_no, &minor_no, &inode) != 5 ||
		    makedev(major_no, minor_no) != st->st_dev ||
		    inode != st->st_ino)
			continue;
		h->shared = strcmp(mode, "READ") == 0;
		if (first == 0 && pid > 0)
			first = (pid_t)pid;
		noted |= pid == h->pid;
	}
	if (f != NULL)
		fclose(f);
	if (first == 0)
		return;
	if (!noted) {
		h->pid = first;
		h->since = -1;
		process_command(first, h->command, sizeof(h->command));
	}
	h->alive = process_is_alive(h->pid, 0);
}

enum holder_state
holder_look(int dirfd, const char *name, struct holder *h)
{
	enum holder_state state = HOLDER_UNSEEN;
	struct stat st;
	int fd;

	*h = (struct holder){ .since = -1, .alive = true };
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT ? HOLDER_NONE : HOLDER_UNSEEN;
	errno = EINVAL;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		/* errno says what */
	} else if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		state = HOLDER_NONE;
	} else if (errno == EWOULDBLOCK) {
		read_note(fd, h);
		read_kernel_list(&st, h);
		state = HOLDER_THERE;
	}
	io_close(fd);
	return state;
}
