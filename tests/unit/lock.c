/*
 * lock FILE FOLDER - the locks as other tools take them, in one process after
 * the other: processes increment a counter with each kind.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "lockdir.h"

#define PROCESSES 8
#define TIMES 50

static volatile int *counter;
static int failed;

static void
check(const char *what, int holds)
{
	printf("%s - %s\n", holds ? "ok" : "not ok", what);
	failed |= !holds;
}

static void
increment(void)
{
	int was = *counter;

	sched_yield();
	*counter = was + 1;
}

static void
by_file(const char *path)
{
	int fd;

	if (lock_acquire(AT_FDCWD, path, LOCK_EXCLUSIVE,
	    clock_mono_ms() + 30000, &fd) != LOCK_TAKEN)
		_exit(1);
	increment();
	lock_release(fd);
}

static void
by_folder(const char *path)
{
	struct lockdir l;

	if (lockdir_open(&l, path) == -1 || lockdir_acquire(&l, "unit",
	    clock_mono_ms() + 30000) != LOCK_TAKEN)
		_exit(1);
	increment();
	if (lockdir_release(&l) == -1)
		_exit(1);
	lockdir_close(&l);
}

static void
by_many(const char *what, void (*one)(const char *), const char *path)
{
	int i, status, good = 0;

	*counter = 0;
	for (i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			for (i = 0; i < TIMES; i++)
				one(path);
			_exit(0);
		}
	while (wait(&status) > 0)
		good += status == 0;
	check(what, good == PROCESSES && *counter == PROCESSES * TIMES);
}

static void
ignore(int signo)
{
	(void)signo;
}

/* What lock_take borrows for its limit is given back. */
static void
limits(const char *path)
{
	struct sigaction mine = { .sa_handler = ignore }, after;
	int64_t begin = clock_mono_ms();
	int fd, other;

	sigaction(SIGALRM, &mine, NULL);
	check("taken", lock_acquire(AT_FDCWD, path, LOCK_EXCLUSIVE, 0, &fd) ==
	    LOCK_TAKEN);
	check("busy at once", lock_acquire(AT_FDCWD, path, LOCK_SHARED, 0,
	    &other) == LOCK_BUSY && other == -1);
	check("busy in time", lock_acquire(AT_FDCWD, path, LOCK_SHARED,
	    begin + 30, &other) == LOCK_BUSY &&
	    clock_mono_ms() >= begin + 30 && clock_mono_ms() < begin + 5000);
	sigaction(SIGALRM, NULL, &after);
	check("the caller's handler", after.sa_handler == ignore);
	lock_release(fd);
	check("free again", lock_acquire(AT_FDCWD, path, LOCK_SHARED, 0,
	    &fd) == LOCK_TAKEN);
	close(fd);
}

int
main(int argc, char *argv[])
{
	struct lockdir l;

	if (argc != 3)
		return 100;
	counter = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counter == MAP_FAILED)
		return 111;
	setvbuf(stdout, NULL, _IOLBF, 0);
	by_many("a file excludes", by_file, argv[1]);
	by_many("a folder excludes", by_folder, argv[2]);
	limits(argv[1]);
	check("no folder above", lockdir_open(&l, "nowhere/lock") == -1 &&
	    errno == ENOENT);
	check("no name", lockdir_open(&l, "..") == -1 && errno == EINVAL);
	return failed;
}
