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

#define ENVIRON_MAX (16 << 20)	/* more than execve(2) takes */

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

/* A process, its parent, and its process group. */
struct relative {
	pid_t pid, parent, group;
};

/* Those of /proc, by pid. */
struct family {
	struct buf text, all;
};

static struct relative *
members(const struct family *f, size_t *n)
{
	*n = f->all.len / sizeof(struct relative);
	return (struct relative *)(void *)f->all.data;
}

static void
add_process(void *arg, pid_t pid)
{
	struct relative one = { .pid = pid };
	struct family *f = arg;
	char *p;

	/* The name, in brackets, may hold anything. */
	if (!read_proc(pid, "stat", &f->text) ||
	    (p = strrchr(f->text.data, ')')) == NULL || strlen(p) < 4 ||
	    p[2] == 'Z' || p[2] == 'X')
		return;
	one.parent = (pid_t)strtol(p + 3, &p, 10);
	one.group = (pid_t)strtol(p, NULL, 10);
	buf_add(&f->all, &one, sizeof(one));
}

/* The kernel's own list, which has those that /proc may hide. */
static void
add_children(struct family *f)
{
	struct buf list = { 0 };
	char name[64], *p, *end;
	struct relative one = { .parent = getpid() };

	snprintf(name, sizeof(name), "task/%ld/children", (long)getpid());
	if (read_proc(getpid(), name, &list))
		for (p = list.data; (one.pid = (pid_t)strtol(p, &end, 10)) > 0;
		    p = end) {
			one.group = getpgid(one.pid);
			buf_add(&f->all, &one, sizeof(one));
		}
	buf_free(&list);
}

static int
compare(const void *a, const void *b)
{
	const struct relative *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool
descends(const struct family *f, const struct relative *one)
{
	struct relative parent = { .pid = 0 };
	const struct relative *all;
	size_t n, steps;

	all = members(f, &n);
	/* Never round in a circle, whatever changed while it was read. */
	for (steps = 0; one != NULL && steps < n; steps++) {
		if (one->parent == getpid())
			return true;
		parent.pid = one->parent;
		one = bsearch(&parent, all, n, sizeof(*all), compare);
	}
	return false;
}

/* Whether pid is new among those that were told, where it is from now on. */
static bool
is_new(struct buf *told, pid_t pid)
{
	size_t i;
	pid_t old;

	for (i = 0; i + sizeof(old) <= told->len; i += sizeof(old)) {
		memcpy(&old, told->data + i, sizeof(old));
		if (old == pid)
			return false;
	}
	buf_add(told, &pid, sizeof(pid));
	return true;
}

/* Whether it descends from here, and was not told: then it is. */
static bool
tell(const struct family *f, const struct relative *one, struct buf *told,
    int signo)
{
	return descends(f, one) && (told == NULL || is_new(told, one->pid)) &&
	    kill(one->pid, signo) == 0;
}

size_t
offspring_signal(struct buf *told, pid_t group, int signo)
{
	bool first = told == NULL || told->len == 0;
	struct family f = { .all = { 0 } };
	struct relative *all;
	size_t n, i, grouped = 0, count = 0;
	pid_t where;

	each_process(add_process, &f);
	add_children(&f);
	all = members(&f, &n);
	if (n > 0)
		qsort(all, n, sizeof(*all), compare);
	for (i = 0; i < n; i++)
		if (group > 0 && all[i].group == group)
			grouped += descends(&f, &all[i]);
		else
			count += tell(&f, &all[i], told, signo);
	/* An empty group's number may be somebody else's by now. */
	if (group > 0 && first && (grouped > 0 || n == 0)) {
		if (kill(-group, signo) == 0) {
			if (told != NULL)
				(void)is_new(told, group);
			count += grouped > 0 ? grouped : 1;
		}
		/* Who was in it when looked for, and has left it since. */
		for (i = 0; i < n; i++)
			if (all[i].group == group &&
			    (where = getpgid(all[i].pid)) != -1 &&
			    where != group)
				count += tell(&f, &all[i], told, signo);
	}
	buf_free(&f.text);
	buf_free(&f.all);
	return count;
}

struct hunt {
	struct buf text;
	const char *pair;
	int signo, count;
};

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
