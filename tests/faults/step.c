/*
 * step DIR TICKET - one increment of the counter in DIR, as somebody does it
 * who has it for himself: read, let others run, write.  Tells in the journal
 * what it is about to write, and that it has; and who else is there, "!".
 * With a third argument it takes a millisecond over it.
 */
#include <sys/mman.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int journal;
static const char *ticket;

static void
fail(const char *what)
{
	perror(what);
	_exit(99);
}

static void
note(const char *what, long number)
{
	char line[80];
	int n = snprintf(line, sizeof(line), "%s %ld %s\n", what, number,
	    ticket);

	/* Appended in one write: whole, and in the order of the system. */
	if (write(journal, line, (size_t)n) != n)
		fail("journal");
}

/* Not one that has been killed and only has its end before it. */
static int
is_running(long pid)
{
	char path[64], stat[512] = "", *p, state = 'Z';
	unsigned int flags = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return 0;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	if (n <= 0 || (p = strrchr(stat, ')')) == NULL ||
	    sscanf(p + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
		return 0;
	return state != 'Z' && state != 'X' && (flags & 4) == 0;
}

static long
read_counter(int fd)
{
	char text[32] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		fail("counter");
	return strtol(text, NULL, 10);
}

int
main(int argc, char *argv[])
{
	struct timespec pause = { 0, 1000000 };
	long number, *inside, before;
	char text[32];
	int fd, counter;

	if (argc < 3 || chdir(argv[1]) == -1)
		return 100;
	ticket = argv[2];
	journal = open("journal", O_WRONLY | O_APPEND | O_CLOEXEC);
	counter = open("counter", O_RDWR | O_CLOEXEC);
	fd = open("inside", O_RDWR | O_CLOEXEC);
	if (journal == -1 || counter == -1 || fd == -1)
		fail(argv[1]);
	inside = mmap(NULL, sizeof(*inside), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	if (inside == MAP_FAILED)
		fail("inside");
	before = __atomic_exchange_n(inside, (long)getpid(), __ATOMIC_SEQ_CST);
	if (before != 0 && is_running(before))
		note("!", before);
	number = read_counter(counter) + 1;
	note("will", number);
	if (argc > 3)
		nanosleep(&pause, NULL);
	sched_yield();
	snprintf(text, sizeof(text), "%020ld\n", number);
	if (pwrite(counter, text, strlen(text), 0) != (ssize_t)strlen(text))
		fail("counter");
	note("did", number);
	before = (long)getpid();
	if (!__atomic_compare_exchange_n(inside, &before, 0, 0,
	    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		note("!", before);
	return 0;
}
