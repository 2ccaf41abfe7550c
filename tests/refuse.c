/*
 * refuse.c - refuse NAME=ERROR,... PROGRAM [ARGUMENT...]: runs PROGRAM where
 * the kernel fails those calls, as an old one or gVisor does, for it and all
 * that it starts; "tmpfile" is open(2) with O_TMPFILE.  Unlike strace(1) it
 * leaves timing and signals alone.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALLS_MAX 32
#define TMPFILE 0xffff

static const struct {
	const char *name;
	unsigned number;
} calls[] = {
	{ "copy_file_range", SYS_copy_file_range },
	{ "faccessat2", 439 },
	{ "fchmodat2", 452 },
	{ "getrandom", SYS_getrandom },
	{ "inotify_add_watch", SYS_inotify_add_watch },
	{ "inotify_init1", SYS_inotify_init1 },
	{ "memfd_create", SYS_memfd_create },
	{ "openat2", 437 },
	{ "pidfd_open", 434 },
	{ "pidfd_send_signal", 424 },
	{ "renameat2", SYS_renameat2 },
	{ "statx", SYS_statx },
	{ "syncfs", SYS_syncfs },
	{ "tmpfile", TMPFILE },
};

static const struct {
	const char *name;
	unsigned number;
} errors[] = {
	{ "EINVAL", EINVAL },
	{ "ENOSYS", ENOSYS },
	{ "EOPNOTSUPP", EOPNOTSUPP },
	{ "EPERM", EPERM },
};

static struct sock_filter code[8 + 6 * CALLS_MAX];
static unsigned short length;

static void
add(unsigned op, unsigned char yes, unsigned char no, unsigned value)
{
	code[length++] = (struct sock_filter)
	    { (unsigned short)op, yes, no, value };
}

static void
die(const char *what)
{
	fprintf(stderr, "refuse: %s: %s\n", what, strerror(errno));
	exit(100);
}

static void
refuse(const char *name, const char *error)
{
	size_t c, e;

	for (c = 0; strcmp(name, calls[c].name) != 0; )
		if (++c == sizeof(calls) / sizeof(calls[0]))
			die(name);
	for (e = 0; strcmp(error, errors[e].name) != 0; )
		if (++e == sizeof(errors) / sizeof(errors[0]))
			die(error);
	if (calls[c].number == TMPFILE) {
		add(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_openat);
		add(BPF_LD | BPF_W | BPF_ABS, 0, 0,
		    offsetof(struct seccomp_data, args[2]));
		/* Besides O_DIRECTORY, which O_TMPFILE has, too. */
		add(BPF_JMP | BPF_JSET | BPF_K, 0, 1,
		    O_TMPFILE & ~O_DIRECTORY);
		add(BPF_RET | BPF_K, 0, 0,
		    SECCOMP_RET_ERRNO | errors[e].number);
		add(BPF_LD | BPF_W | BPF_ABS, 0, 0,
		    offsetof(struct seccomp_data, nr));
		return;
	}
	add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, calls[c].number);
	add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | errors[e].number);
}

int
main(int argc, char *argv[])
{
	struct sock_fprog program = { .filter = code };
	char *name, *error;
	int n;

	if (argc < 3)
		die("usage: refuse NAME=ERROR,... PROGRAM [ARGUMENT...]");
	add(BPF_LD | BPF_W | BPF_ABS, 0, 0,
	    offsetof(struct seccomp_data, nr));
	for (n = 0, name = strtok(argv[1], ","); name != NULL;
	    name = strtok(NULL, ",")) {
		if ((error = strchr(name, '=')) == NULL || n++ == CALLS_MAX)
			die(name);
		*error++ = '\0';
		refuse(name, error);
	}
	add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	program.len = length;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1)
		die("seccomp");
	execvp(argv[2], argv + 2);
	die(argv[2]);
}
