#include <sys/prctl.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "io.h"
#include "offspring.h"
#include "units.h"

#define ENVIRON_MAX (4 << 20)

void
offspring_adopt(void)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* Calls each with every pid of /proc. */
static void
each_process(void (*each)(void *arg, pid_t pid), void *arg)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	uint64_t pid;

	if (dir == NULL)
		return;
	while ((e = readdir(dir)) != NULL)
		if (units_parse_number(e->d_name, INT32_MAX, &pid) == 0)
			each(arg, (pid_t)pid);
	closedir(dir);
}

/* A file of /proc/PID into b, with a NUL after it; false if unreadable. */
static bool
read_proc(pid_t pid, const char *name, struct buf *b)
{
	char path[64];
	int fd, result;

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return false;
	buf_reset(b, b->cap);
	result = io_read_to_end(fd, b, ENVIRON_MAX);
	io_close(fd);
	buf_add_char(b, '\0');
	return result == 0 && !buf_failed(b);
}

struct hunt {
	struct buf text;
	const char *pair;
	int signo, count;
};

static void
signal_child(void *arg, pid_t pid)
{
	struct hunt *h = arg;
	const char *p;

	/* The name, in brackets, may hold anything; then state and parent. */
	if (!read_proc(pid, "stat", &h->text) ||
	    (p = strrchr(h->text.data, ')')) == NULL || strlen(p) < 4)
		return;
	if (strtol(p + 4, NULL, 10) == getpid())
		kill(pid, h->signo);
}

/* The kernel's own list of our children; false when it has none. */
static bool
signal_listed(int signo)
{
	struct buf list = { 0 };
	char name[64], *p, *end;
	bool read;
	long pid;

	snprintf(name, sizeof(name), "task/%ld/children", (long)getpid());
	if ((read = read_proc(getpid(), name, &list)))
		for (p = list.data; (pid = strtol(p, &end, 10)) > 0; p = end)
			kill((pid_t)pid, signo);
	buf_free(&list);
	return read;
}

void
offspring_signal(int group, int signo)
{
	struct hunt h = { .signo = signo };

	if (group > 0)
		kill(-group, signo);
	if (!signal_listed(signo))
		each_process(signal_child, &h);
	buf_free(&h.text);
}

static void
signal_marked(void *arg, pid_t pid)
{
	struct hunt *h = arg;
	const char *p, *end;

	if (pid == getpid() || !read_proc(pid, "environ", &h->text))
		return;
	end = h->text.data + h->text.len;
	for (p = h->text.data; p < end; p += strlen(p) + 1)
		if (strcmp(p, h->pair) == 0) {
			if (kill(pid, h->signo) == 0)
				h->count++;
			return;
		}
}

int
offspring_signal_marked(const char *pair, int signo)
{
	struct hunt h = { .signo = signo, .pair = pair };

	each_process(signal_marked, &h);
	buf_free(&h.text);
	return h.count;
}
