/*
 * limits - what this machine can do at best, for the bench to compare with.
 *
 * Each is one message there and one back between two processes, as the median
 * of many, in us: over pipes, over loopback TCP, and, in each DIR given,
 * through two folders: the one writes a file under another name and renames
 * it, the other is woken by inotify, reads it, removes it and answers alike.
 *
 * Prints WHAT, WHERE, the time with both on one CPU, and with each on its own
 * ("-" without a second).  The two differ much where waking an idle CPU costs
 * more than the message, as it does on virtual machines.
 */
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "units.h"

#define MESSAGE_SIZE	300	/* about one record */
#define ROUNDS_MAX	1000000

static cpu_set_t all_cpus;

/* One end of a connection between the two processes. */
struct end {
	int in, out;		/* descriptors, or folders */
	int watch;		/* of the folder in */
	int (*send)(const struct end *e);
	int (*receive)(const struct end *e);
};

static int
send_bytes(const struct end *e)
{
	char message[MESSAGE_SIZE] = { 0 };

	return write(e->out, message, sizeof(message)) == sizeof(message) ?
	    0 : -1;
}

static int
receive_bytes(const struct end *e)
{
	char message[MESSAGE_SIZE];
	size_t got = 0;
	ssize_t n;

	while (got < sizeof(message)) {
		n = read(e->in, message + got, sizeof(message) - got);
		if (n <= 0)
			return -1;
		got += (size_t)n;
	}
	return 0;
}

static int
send_file(const struct end *e)
{
	char message[MESSAGE_SIZE] = { 0 };
	int fd;

	fd = openat(e->out, "m.tmp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
	    0600);
	if (fd == -1)
		return -1;
	if (write(fd, message, sizeof(message)) != sizeof(message)) {
		close(fd);
		return -1;
	}
	if (close(fd) == -1)
		return -1;
	return renameat(e->out, "m.tmp", e->out, "m.json");
}

static int
receive_file(const struct end *e)
{
	char message[MESSAGE_SIZE];
	char events[sizeof(struct inotify_event) + NAME_MAX + 1]
	    __attribute__((aligned(__alignof__(struct inotify_event))));
	int fd;

	if (read(e->watch, events, sizeof(events)) <= 0)
		return -1;
	fd = openat(e->in, "m.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (read(fd, message, sizeof(message)) != sizeof(message)) {
		close(fd);
		return -1;
	}
	close(fd);
	return unlinkat(e->in, "m.json", 0);
}

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1000;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The which-th (0 or 1) CPU that we may use; false: there is no such one. */
static bool
use_cpu(size_t which)
{
	cpu_set_t one;
	size_t cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all_cpus) || which-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return sched_setaffinity(0, sizeof(one), &one) == 0;
	}
	return false;
}

/*
 * A child answers at far, on the CPU named, until it is killed; the median
 * time at near, on CPU 0, in us.
 */
static double
measure(const struct end *near, const struct end *far, size_t cpu,
    size_t rounds)
{
	double *us = calloc(rounds, sizeof(*us)), median;
	pid_t child;
	size_t i;

	child = fork();
	if (us == NULL || child == -1)
		err(111, NULL);
	if (child == 0) {
		use_cpu(cpu);
		while (far->receive(far) == 0 && far->send(far) == 0)
			continue;
		_exit(111);
	}
	use_cpu(0);
	for (i = 0; i < rounds; i++) {
		us[i] = now_us();
		if (near->send(near) == -1 || near->receive(near) == -1) {
			kill(child, SIGKILL);
			err(111, "round %zu", i);
		}
		us[i] = now_us() - us[i];
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	qsort(us, rounds, sizeof(*us), compare);
	median = us[rounds / 2];
	free(us);
	return median;
}

/* A child that was killed while it received leaves nothing under way. */
static void
report(const char *what, const char *where, const struct end *near,
    const struct end *far, size_t rounds)
{
	printf("%s\t%s\t%.1f\t", what, where,
	    measure(near, far, 0, rounds));
	if (CPU_COUNT(&all_cpus) > 1)
		printf("%.1f\n", measure(near, far, 1, rounds));
	else
		printf("-\n");
}

static void
measure_pipe(size_t rounds)
{
	int to[2], from[2];
	struct end near, far;

	if (pipe2(to, O_CLOEXEC) == -1 || pipe2(from, O_CLOEXEC) == -1)
		err(111, "pipe");
	near = (struct end){ from[0], to[1], -1, send_bytes, receive_bytes };
	far = (struct end){ to[0], from[1], -1, send_bytes, receive_bytes };
	report("pipe", "-", &near, &far, rounds);
}

static void
measure_tcp(size_t rounds)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *address = (struct sockaddr *)&in;
	socklen_t len = sizeof(in);
	struct end near, far;
	int listener, a, b, one = 1;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener == -1 || a == -1 || bind(listener, address, len) == -1 ||
	    listen(listener, 1) == -1 ||
	    getsockname(listener, address, &len) == -1 ||
	    connect(a, address, len) == -1 ||
	    (b = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) == -1)
		err(111, "loopback");
	setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	near = (struct end){ a, a, -1, send_bytes, receive_bytes };
	far = (struct end){ b, b, -1, send_bytes, receive_bytes };
	report("tcp", "-", &near, &far, rounds);
	close(listener);
	close(a);
	close(b);
}

/* A folder made in dir, and its descriptor. */
static int
make_folder(const char *dir, const char *name, char path[static PATH_MAX])
{
	int fd, n;

	n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
	if (n < 0 || n >= PATH_MAX)
		errx(100, "%s: too long", dir);
	if (mkdir(path, 0700) == -1 ||
	    (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		err(111, "%s", path);
	return fd;
}

static int
watch_folder(const char *path)
{
	int fd = inotify_init1(IN_CLOEXEC);

	if (fd == -1 || inotify_add_watch(fd, path, IN_MOVED_TO) == -1)
		err(111, "%s: inotify", path);
	return fd;
}

static void
measure_queue(const char *where, size_t rounds)
{
	static const char *const rest[] = { "m.tmp", "m.json" };
	char dir[PATH_MAX], there[PATH_MAX], back[PATH_MAX];
	struct end near, far;
	int to, from, n;
	size_t i;

	n = snprintf(dir, sizeof(dir), "%s/limits.XXXXXX", where);
	if (n < 0 || (size_t)n >= sizeof(dir) || mkdtemp(dir) == NULL)
		err(111, "%s", where);
	to = make_folder(dir, "there", there);
	from = make_folder(dir, "back", back);
	near = (struct end){ from, to, watch_folder(back), send_file,
	    receive_file };
	far = (struct end){ to, from, watch_folder(there), send_file,
	    receive_file };
	report("queue", where, &near, &far, rounds);
	for (i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
		unlinkat(to, rest[i], 0);
		unlinkat(from, rest[i], 0);
	}
	close(to);
	close(from);
	close(near.watch);
	close(far.watch);
	if (rmdir(there) == -1 || rmdir(back) == -1 || rmdir(dir) == -1)
		warn("%s", dir);
}

int
main(int argc, char *argv[])
{
	uint64_t rounds = 5000;
	int c, i;

	while ((c = getopt(argc, argv, "n:")) != -1)
		if (c != 'n' || units_parse_number(optarg, ROUNDS_MAX,
		    &rounds) == -1 || rounds == 0)
			errx(100, "usage: limits [-n ROUNDS] [DIR]...");
	if (sched_getaffinity(0, sizeof(all_cpus), &all_cpus) == -1)
		err(111, "sched_getaffinity");
	measure_pipe(rounds);
	measure_tcp(rounds);
	for (i = optind; i < argc; i++)
		measure_queue(argv[i], rounds);
	return fflush(stdout) == EOF ? 111 : 0;
}
