/*
 * at LOG COMMAND...                 what system calls COMMAND makes
 * at LOG POINT FAULT COMMAND...     with a fault at one of them
 *
 * POINT is PROCESS/CALL/NUMBER as LOG has it: 0 is COMMAND, 0.1 the first
 * process that it forks; the number counts that call of that process.
 * FAULT: KILL instead of the call; the name of an error that it returns,
 * undone; with "+", so do all later ones of its kind, of all processes;
 * short: as if one byte had been asked for.
 *
 * Counts from where a tool guards its descriptors 0 to 2, its first step; a
 * process that becomes another program is left alone from there on.  Waits
 * for all of them, and exits like COMMAND, 128 + n for signal n.
 *
 * LOG has a line each, fields separated by tabs:
 *	pid PROCESS PID		exit PROCESS STATUS	hit
 *	call PROCESS CALL NUMBER FLAGS LENGTH OBJECT
 */
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROCESSES 256
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | \
    PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)

/* Its first argument, unless what says otherwise, is a descriptor. */
enum kind { DESCRIPTOR, PATH, BENEATH, NOTHING };
/* For "+": what the error is about. */
enum about { SMALL, DISK, DESCRIPTORS, MEMORY };

static const struct call {
	long nr;
	const char *name;
	enum kind kind;
	enum about about;
} calls[] = {
#define CALL(name, kind, about) { SYS_ ## name, #name, kind, about }
	CALL(read, DESCRIPTOR, SMALL), CALL(pread64, DESCRIPTOR, SMALL),
	CALL(write, DESCRIPTOR, DISK), CALL(pwrite64, DESCRIPTOR, DISK),
	CALL(readv, DESCRIPTOR, SMALL), CALL(writev, DESCRIPTOR, DISK),
	CALL(open, PATH, DESCRIPTORS), CALL(openat, BENEATH, DESCRIPTORS),
	CALL(openat2, BENEATH, DESCRIPTORS), CALL(close, DESCRIPTOR, SMALL),
	CALL(fstat, DESCRIPTOR, SMALL), CALL(stat, PATH, SMALL),
	CALL(lstat, PATH, SMALL), CALL(newfstatat, BENEATH, SMALL),
	CALL(statx, BENEATH, SMALL), CALL(getdents64, DESCRIPTOR, SMALL),
	CALL(lseek, DESCRIPTOR, SMALL), CALL(readlink, PATH, SMALL),
	CALL(readlinkat, BENEATH, SMALL), CALL(mkdir, PATH, DISK),
	CALL(mkdirat, BENEATH, DISK), CALL(rmdir, PATH, SMALL),
	CALL(unlink, PATH, SMALL), CALL(unlinkat, BENEATH, SMALL),
	CALL(rename, PATH, SMALL), CALL(renameat, BENEATH, SMALL),
	CALL(renameat2, BENEATH, SMALL), CALL(link, PATH, DISK),
	CALL(linkat, BENEATH, DISK), CALL(symlink, PATH, DISK),
	CALL(symlinkat, PATH, DISK), CALL(chmod, PATH, SMALL),
	CALL(fchmod, DESCRIPTOR, SMALL), CALL(fchmodat, BENEATH, SMALL),
	CALL(chown, PATH, SMALL), CALL(fchown, DESCRIPTOR, SMALL),
	CALL(utimensat, BENEATH, SMALL), CALL(ftruncate, DESCRIPTOR, DISK),
	CALL(fallocate, DESCRIPTOR, DISK), CALL(fsync, DESCRIPTOR, SMALL),
	CALL(fdatasync, DESCRIPTOR, SMALL), CALL(flock, DESCRIPTOR, SMALL),
	CALL(fcntl, DESCRIPTOR, SMALL), CALL(copy_file_range, DESCRIPTOR, DISK),
	CALL(sendfile, DESCRIPTOR, DISK), CALL(ioctl, DESCRIPTOR, SMALL),
	CALL(pipe2, NOTHING, DESCRIPTORS), CALL(pipe, NOTHING, DESCRIPTORS),
	CALL(dup, DESCRIPTOR, DESCRIPTORS), CALL(dup2, DESCRIPTOR, SMALL),
	CALL(dup3, DESCRIPTOR, SMALL), CALL(socket, NOTHING, DESCRIPTORS),
	CALL(socketpair, NOTHING, DESCRIPTORS),
	CALL(bind, DESCRIPTOR, SMALL), CALL(listen, DESCRIPTOR, SMALL),
	CALL(accept4, DESCRIPTOR, DESCRIPTORS),
	CALL(accept, DESCRIPTOR, DESCRIPTORS),
	CALL(connect, DESCRIPTOR, SMALL), CALL(sendto, DESCRIPTOR, SMALL),
	CALL(sendmsg, DESCRIPTOR, SMALL), CALL(recvfrom, DESCRIPTOR, SMALL),
	CALL(recvmsg, DESCRIPTOR, SMALL), CALL(shutdown, DESCRIPTOR, SMALL),
	CALL(getsockname, DESCRIPTOR, SMALL),
	CALL(setsockopt, DESCRIPTOR, SMALL),
	CALL(getsockopt, DESCRIPTOR, SMALL),
	CALL(poll, NOTHING, SMALL), CALL(ppoll, NOTHING, SMALL),
	CALL(epoll_create1, NOTHING, DESCRIPTORS),
	CALL(epoll_ctl, DESCRIPTOR, SMALL), CALL(epoll_wait, DESCRIPTOR, SMALL),
	CALL(epoll_pwait, DESCRIPTOR, SMALL),
	CALL(eventfd2, NOTHING, DESCRIPTORS),
	CALL(signalfd4, NOTHING, DESCRIPTORS),
	CALL(timerfd_create, NOTHING, DESCRIPTORS),
	CALL(timerfd_settime, DESCRIPTOR, SMALL),
	CALL(inotify_init1, NOTHING, DESCRIPTORS),
	CALL(inotify_add_watch, DESCRIPTOR, DISK),
	CALL(pidfd_open, NOTHING, DESCRIPTORS),
	CALL(memfd_create, NOTHING, DESCRIPTORS),
	CALL(mmap, NOTHING, MEMORY), CALL(brk, NOTHING, MEMORY),
	CALL(mremap, NOTHING, MEMORY), CALL(clone, NOTHING, MEMORY),
	CALL(clone3, NOTHING, MEMORY), CALL(fork, NOTHING, MEMORY),
	CALL(vfork, NOTHING, MEMORY), CALL(execve, PATH, MEMORY),
	CALL(wait4, NOTHING, SMALL), CALL(waitid, NOTHING, SMALL),
	CALL(kill, NOTHING, SMALL), CALL(setsid, NOTHING, SMALL),
	CALL(prctl, NOTHING, SMALL), CALL(chdir, PATH, SMALL),
	CALL(fchdir, DESCRIPTOR, SMALL), CALL(getcwd, NOTHING, SMALL),
	CALL(getrandom, NOTHING, SMALL), CALL(nanosleep, NOTHING, SMALL),
	CALL(clock_nanosleep, NOTHING, SMALL), CALL(mount, NOTHING, SMALL),
	CALL(exit_group, NOTHING, SMALL),
};
#define CALLS (sizeof(calls) / sizeof(*calls))

static const struct {
	const char *name;
	int number;
} errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EINTR", EINTR },
	{ "EMFILE", EMFILE }, { "ENOMEM", ENOMEM }, { "ENOSYS", ENOSYS },
	{ "EACCES", EACCES }, { "EAGAIN", EAGAIN }
};

struct process {
	pid_t pid;		/* 0: free */
	char name[64];		/* "": its parent has not told yet */
	int children;
	bool execed, begun;
	bool faked;		/* at its exit the call has this result */
	long result;
	bool is_brk;		/* it asks for memory, which ends at: */
	long brk;
	unsigned int count[CALLS];
};

static struct process processes[PROCESSES];
static int logfd;
static const char *point, *fault = "";
static bool hit, go_on;
static int error;

static void
note(const char *format, ...)
{
	char line[4096];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n >= (int)sizeof(line))
		n = (int)sizeof(line) - 1;
	if (write(logfd, line, (size_t)n) != n)
		_exit(99);
}

static struct process *
find(pid_t pid, bool make)
{
	struct process *p;

	for (p = processes; p < processes + PROCESSES; p++)
		if (p->pid == pid)
			return p;
	if (!make)
		return NULL;
	for (p = processes; p < processes + PROCESSES; p++)
		if (p->pid == 0) {
			memset(p, 0, sizeof(*p));
			p->pid = pid;
			return p;
		}
	_exit(98);
}

static void
go(const struct process *p, int signo)
{
	ptrace(PTRACE_SYSCALL, p->pid, 0, (void *)(intptr_t)signo);
}

/* A string of the process, with what a field cannot have replaced. */
static void
text_at(pid_t pid, uint64_t address, char *to, size_t size)
{
	size_t i = 0;
	long word;
	char c;

	while (i < size - 1) {
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, (void *)(address + i), 0);
		if (errno != 0)
			break;
		do {
			c = (char)(word & 0xff);
			word = (long)((unsigned long)word >> 8);
			if (c == '\0') {
				to[i] = '\0';
				return;
			}
			to[i++] = c < ' ' ? '?' : c;
		} while (i % 8 != 0 && i < size - 1);
	}
	to[i] = '\0';
}

static void
object_of(const struct process *p, const struct call *c,
    const struct ptrace_syscall_info *info, char *to, size_t size)
{
	const __u64 *arg = info->entry.args;
	char path[64];
	ssize_t n = 0;

	switch (c->kind) {
	case PATH:
		text_at(p->pid, arg[0], to, size);
		return;
	case BENEATH:
		text_at(p->pid, arg[1], to, size);
		return;
	case DESCRIPTOR:
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)p->pid,
		    (int)arg[0]);
		n = readlink(path, to, size - 1);
		break;
	case NOTHING:
		break;
	}
	to[n > 0 ? n : 0] = '\0';
}

static void
set_register(pid_t pid, bool number, long value)
{
	struct user_regs_struct regs;

	ptrace(PTRACE_GETREGS, pid, 0, &regs);
	if (number)
		regs.orig_rax = (unsigned long long)value;
	else
		regs.rax = (unsigned long long)value;
	ptrace(PTRACE_SETREGS, pid, 0, &regs);
}

static void
shorten(pid_t pid)
{
	struct user_regs_struct regs;

	ptrace(PTRACE_GETREGS, pid, 0, &regs);
	regs.rdx = 1;
	ptrace(PTRACE_SETREGS, pid, 0, &regs);
}

/* Whether a fault that goes on concerns this call. */
static bool
concerns(const struct call *c, const char *object, uint64_t flags)
{
	enum about about = error == ENOMEM ? MEMORY :
	    error == EMFILE ? DESCRIPTORS : DISK;

	if (about == DISK && (c->nr == SYS_openat || c->nr == SYS_open))
		return (flags & O_CREAT) != 0;
	if (c->about != about)
		return false;
	/* What is full is a disk, not a pipe. */
	return about != DISK || c->kind != DESCRIPTOR ||
	    (object[0] == '/' && strncmp(object, "/dev/", 5) != 0);
}

static void
enter(struct process *p, const struct ptrace_syscall_info *info)
{
	const __u64 *arg = info->entry.args;
	char object[1024], name[128];
	const struct call *c;
	uint64_t flags = 0;
	unsigned int n;

	p->is_brk = info->entry.nr == SYS_brk;
	for (c = calls; c < calls + CALLS; c++)
		if ((uint64_t)c->nr == info->entry.nr)
			break;
	if (c == calls + CALLS)
		return;
	object_of(p, c, info, object, sizeof(object));
	if (!p->begun) {
		p->begun = p->execed &&
		    (c->nr == SYS_openat || c->nr == SYS_open) &&
		    strcmp(object, "/dev/null") == 0;
		if (!p->begun)
			return;
	}
	if (c->nr == SYS_openat)
		flags = arg[2];
	else if (c->nr == SYS_waitid)
		flags = arg[3];
	else if (c->nr == SYS_wait4)
		flags = arg[2];
	else if (c->nr == SYS_brk)
		flags = arg[0];
	else if (c->nr == SYS_open || c->nr == SYS_fcntl ||
	    c->nr == SYS_prctl)
		flags = arg[1];
	n = ++p->count[c - calls];
	note("call\t%s\t%s\t%u\t%llu\t%lld\t%s\n", p->name, c->name, n,
	    (unsigned long long)flags, (long long)arg[2], object);
	if (point == NULL)
		return;
	snprintf(name, sizeof(name), "%s/%s/%u", p->name, c->name, n);
	if (!hit && strcmp(name, point) == 0) {
		hit = true;
		note("hit\n");
		if (strcmp(fault, "KILL") == 0) {
			kill(p->pid, SIGKILL);
			return;
		}
		if (strcmp(fault, "short") == 0) {
			shorten(p->pid);
			return;
		}
	} else if (!hit || !go_on || !concerns(c, object, flags)) {
		return;
	}
	set_register(p->pid, true, -1);
	/* Where memory ends is all that this one says. */
	p->result = c->nr == SYS_brk ? p->brk : -error;
	p->faked = true;
}

static void
leave(struct process *p, const struct ptrace_syscall_info *info)
{
	if (p->faked)
		set_register(p->pid, false, p->result);
	else if (p->is_brk)
		p->brk = (long)info->exit.rval;
	p->faked = false;
}

static void
on_call(struct process *p)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, p->pid, (void *)sizeof(info),
	    &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		enter(p, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		leave(p, &info);
}

static void
on_fork(struct process *p)
{
	unsigned long pid = 0;
	struct process *child;
	bool waits;

	ptrace(PTRACE_GETEVENTMSG, p->pid, 0, &pid);
	waits = find((pid_t)pid, false) != NULL;
	child = find((pid_t)pid, true);
	snprintf(child->name, sizeof(child->name), "%.40s.%d", p->name,
	    ++p->children);
	child->execed = p->execed;
	child->begun = p->begun;
	child->brk = p->brk;
	note("pid\t%s\t%d\n", child->name, (int)pid);
	if (waits)
		go(child, 0);
}

/* Another program: false when it is none of ours. */
static bool
on_exec(struct process *p)
{
	if (p->begun) {
		ptrace(PTRACE_DETACH, p->pid, 0, 0);
		return false;
	}
	p->execed = true;
	return true;
}

static void
on_stop(pid_t pid, int status)
{
	struct process *p = find(pid, false);
	int signo = WSTOPSIG(status), event = status >> 16;

	if (p == NULL) {
		/* A child before its parent's word: it waits. */
		find(pid, true);
		return;
	}
	switch (event) {
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_fork(p);
		go(p, 0);
		return;
	case PTRACE_EVENT_EXEC:
		if (on_exec(p))
			go(p, 0);
		else if (p->pid != processes[0].pid)
			p->pid = 0;
		return;
	case PTRACE_EVENT_STOP:
		if (signo == SIGTRAP)
			go(p, 0);
		else
			ptrace(PTRACE_LISTEN, pid, 0, 0);
		return;
	}
	if (signo == (SIGTRAP | 0x80)) {
		on_call(p);
		go(p, 0);
	} else {
		go(p, signo);
	}
}

static int
follow(pid_t root)
{
	int status, result = 97, code;
	struct process *p;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		if (pid == -1) {
			if (errno == EINTR)
				continue;
			return result;
		}
		if (WIFSTOPPED(status)) {
			on_stop(pid, status);
			continue;
		}
		code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
		    WEXITSTATUS(status);
		p = find(pid, false);
		if (p != NULL)
			note("exit\t%s\t%d\n", p->name, code);
		if (pid == root)
			result = code;
		else if (p != NULL)
			p->pid = 0;
	}
}

static pid_t
start(char *argv[])
{
	struct process *p;
	int hold[2];
	pid_t pid;
	char c;

	if (pipe2(hold, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		_exit(99);
	if (pid == 0) {
		close(hold[1]);
		if (read(hold[0], &c, 1) != 0)
			_exit(99);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(hold[0]);
	if (ptrace(PTRACE_SEIZE, pid, 0, (void *)OPTIONS) == -1 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1) {
		perror("ptrace");
		_exit(99);
	}
	p = find(pid, true);
	snprintf(p->name, sizeof(p->name), "0");
	note("pid\t0\t%d\n", (int)pid);
	close(hold[1]);
	return pid;
}

static int
read_fault(const char *name)
{
	size_t i, n = strcspn(name, "+");

	fault = name;
	go_on = name[n] == '+';
	for (i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strlen(errors[i].name) == n &&
		    strncmp(errors[i].name, name, n) == 0)
			error = errors[i].number;
	return error != 0 || strcmp(name, "KILL") == 0 ||
	    strcmp(name, "short") == 0 ? 0 : -1;
}

int
main(int argc, char *argv[])
{
	int first = 2;
	pid_t root;

	if (argc < 3)
		return 100;
	logfd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
	    O_TRUNC, 0600);
	if (logfd == -1)
		return 100;
	if (argc > 4 && strchr(argv[2], '/') != NULL && argv[2][0] == '0') {
		point = argv[2];
		if (read_fault(argv[3]) == -1)
			return 100;
		first = 4;
	}
	root = start(argv + first);
	/* It is not the one that is to be ended. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	return follow(root);
}
