/*
 * pc-lock - run a program under a lock that dies with its holder.
 *
 * Guarantees: the lock is the kernel's, on a file that is never removed; the
 * program has it from its first instruction to its end, whatever happens to
 * pc-lock.  Without --dir and --no-inherit pc-lock becomes the program.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "child.h"
#include "cli.h"
#include "clock.h"
#include "lockstatus.h"

#define HIGH_FD 100		/* where COMMAND has the lock, or above */

static const char help[] =
"usage: pc-lock [-n | -t DURATION] [-s] [--busy-status N] [--no-inherit]\n"
"               [--dir] LOCK COMMAND [ARG...]\n"
"       pc-lock --status [--json] [--dir] LOCK\n"
"       pc-lock --break [--dir] LOCK\n"
"Runs COMMAND while it has the lock on the file LOCK.\n"
"  -h, --help             this text\n"
"  -n, --no-wait          busy is exit 1 at once\n"
"  -s, --shared           together with others that share it\n"
"  -t, --timeout DURATION how long to wait (30s); 0 is for ever\n"
"  -V, --version\n"
"      --break            remove what a dead holder has left\n"
"      --busy-status N    instead of pc-lock's own 1\n"
"      --dir              LOCK is a folder with a pid, as peers make it\n"
"      --json             --status as JSON\n"
"      --no-inherit       COMMAND's children do not keep the lock\n"
"      --status           who has the lock\n"
"Exit: COMMAND's own; 1 busy; 100 usage; 111 not in time, or a system error;\n"
"126 COMMAND cannot be run, 127 is not found. --status: 0 free, 1 held.\n";

enum {
	OPT_BREAK = 256, OPT_BUSY_STATUS, OPT_DIR, OPT_JSON, OPT_NO_INHERIT,
	OPT_STATUS
};

static const struct option options[] = {
	{ "break", no_argument, NULL, OPT_BREAK },
	{ "busy-status", required_argument, NULL, OPT_BUSY_STATUS },
	{ "dir", no_argument, NULL, OPT_DIR },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "no-inherit", no_argument, NULL, OPT_NO_INHERIT },
	{ "no-wait", no_argument, NULL, 'n' },
	{ "shared", no_argument, NULL, 's' },
	{ "status", no_argument, NULL, OPT_STATUS },
	{ "timeout", required_argument, NULL, 't' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct command {
	const char *lock;
	char **argv;
	enum lock_kind kind;
	int64_t wait_ms;		/* -1: not given */
	int busy_status;
	bool no_wait, dir, no_inherit, status, do_break, json;
	struct sigaction on_pipe;	/* the caller's, for COMMAND */
	int fd;				/* the lock, for COMMAND */
};

static void
check_options(const struct command *c, int operands)
{
	bool looks = c->status || c->do_break;

	if (c->status && c->do_break)
		cli_usage("--status or --break");
	if (c->json && !c->status)
		cli_usage("--json goes with --status");
	if (looks && (c->no_wait || c->wait_ms != -1 || c->no_inherit ||
	    c->kind == LOCK_SHARED))
		cli_usage("-n, -s, -t and --no-inherit go with a COMMAND");
	if (c->no_wait && c->wait_ms != -1)
		cli_usage("-n or -t");
	if (c->dir && c->kind == LOCK_SHARED)
		cli_usage("peers know no shared lock: not -s with --dir");
	if (looks ? operands != 1 : operands < 2)
		cli_usage(looks ? "LOCK alone" : "LOCK and COMMAND");
}

static void
parse_options(struct command *c, int argc, char *argv[])
{
	int opt;

	while ((opt = getopt_long(argc, argv, "+:hnst:V", options,
	    NULL)) != -1)
		switch (opt) {
		case 'h':
			cli_help(help);
		case 'n':
			c->no_wait = true;
			break;
		case 's':
			c->kind = LOCK_SHARED;
			break;
		case 't':
			c->wait_ms = cli_duration("-t", optarg);
			break;
		case 'V':
			cli_version();
		case OPT_BREAK:
			c->do_break = true;
			break;
		case OPT_BUSY_STATUS:
			c->busy_status = (int)cli_number("--busy-status",
			    optarg, 255);
			break;
		case OPT_DIR:
			c->dir = true;
			break;
		case OPT_JSON:
			c->json = true;
			break;
		case OPT_NO_INHERIT:
			c->no_inherit = true;
			break;
		case OPT_STATUS:
			c->status = true;
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	check_options(c, argc - optind);
	c->lock = argv[optind];
	c->argv = argv + optind + 1;
}

static int64_t
deadline_of(const struct command *c)
{
	if (c->no_wait)
		return 0;
	if (c->wait_ms == 0)
		return -1;
	return clock_mono_ms() + (c->wait_ms == -1 ? 30000 : c->wait_ms);
}

/* What is wrong with LOCK, for somebody who may have meant another. */
static _Noreturn void
fail_lock(const struct command *c)
{
	if (errno == EISDIR)
		cli_fail(EXIT_NEVER, c->lock, "a folder, and not --dir");
	if (errno == EEXIST)
		cli_fail(EXIT_NEVER, c->lock,
		    "not a lock: there are other files in it");
	if (errno == ENOTSUP || errno == ENOLCK)
		cli_fail(EXIT_NEVER, c->lock,
		    "locks do not exclude on this file system");
	cli_fail_errno(c->lock);
}

static _Noreturn void
fail_text(int status, const char *object, struct buf *text)
{
	buf_add_char(text, '\0');
	cli_fail(status, object, buf_failed(text) ? "busy" : text->data);
}

static _Noreturn void
fail_busy(const struct command *c)
{
	struct lockstatus s;
	struct buf text = { 0 };

	if (c->no_wait)
		exit(c->busy_status);
	if (lockstatus_look(&s, c->lock, c->dir) == -1)
		s.holder = (struct holder){ .since = -1 };
	buf_add_str(&text, "Timed out acquiring lock: ");
	buf_add_str(&text, c->lock);
	buf_add_str(&text, " (held by ");
	lockstatus_put_holder(&text, &s.holder);
	buf_add_char(&text, ')');
	fail_text(EXIT_LATER, NULL, &text);
}

static _Noreturn void
exec_command(void *arg)
{
	const struct command *c = arg;

	sigaction(SIGPIPE, &c->on_pipe, NULL);
	/* Out of the way of a script's "exec 3>file". */
	if (!c->no_inherit && fcntl(c->fd, F_DUPFD, HIGH_FD) == -1 &&
	    fcntl(c->fd, F_SETFD, 0) == -1)
		cli_fail_errno(c->lock);
	execvp(c->argv[0], c->argv);
	cli_fail(errno == ENOENT ? 127 : 126, c->argv[0], strerror(errno));
}

/* Lets COMMAND, which waits below us, run; what pc-lock is to return. */
static int
run_child(const struct command *c, struct child *child)
{
	if (c->no_inherit && child_guard(child) == -1) {
		cli_warn("cannot guard the lock", strerror(errno));
		child_abandon(child);
		return EXIT_LATER;
	}
	if (child_start(child) == -1)
		cli_warn(c->argv[0], strerror(errno));
	return child_wait(child);
}

static int
lock_file(struct command *c)
{
	char command[HOLDER_COMMAND_SIZE];
	struct child child;
	int status;

	switch (lock_acquire(AT_FDCWD, c->lock, c->kind, deadline_of(c),
	    &c->fd)) {
	case LOCK_TAKEN:
		break;
	case LOCK_BUSY:
		fail_busy(c);
	default:
		fail_lock(c);
	}
	process_join(c->argv, command, sizeof(command));
	holder_note(c->fd, command);
	if (!c->no_inherit)
		exec_command(c);
	if (child_fork(&child, exec_command, c) == -1)
		cli_fail_errno("fork");
	status = run_child(c, &child);
	lock_release(c->fd);
	child_reap(&child);
	return status;
}

/* The lock, and COMMAND as the process that peers see in it. */
static void
take_folder(struct command *c, struct lockdir *l, struct child *child)
{
	char command[HOLDER_COMMAND_SIZE];
	int64_t deadline = deadline_of(c);
	enum lock_result result;

	process_join(c->argv, command, sizeof(command));
	for (;;) {
		result = lockdir_take(l, deadline);
		if (result == LOCK_BUSY)
			fail_busy(c);
		if (result == LOCK_FAILED)
			fail_lock(c);
		c->fd = l->fd;
		if (child_fork(child, exec_command, c) == -1)
			cli_fail_errno("fork");
		result = lockdir_publish(l, child->pid, command);
		if (result == LOCK_TAKEN)
			return;
		child_abandon(child);
		if (result == LOCK_FAILED)
			fail_lock(c);
	}
}

static int
lock_folder(struct command *c)
{
	struct child child;
	struct lockdir l;
	int status;

	if (lockdir_open(&l, c->lock) == -1)
		fail_lock(c);
	take_folder(c, &l, &child);
	status = run_child(c, &child);
	if (lockdir_release(&l) == -1)
		cli_warn(c->lock, "a peer had taken the lock away");
	child_reap(&child);
	lockdir_close(&l);
	return status;
}

static int
show_status(const struct command *c)
{
	struct lockstatus s;
	struct buf out = { 0 };

	if (lockstatus_look(&s, c->lock, c->dir) == -1)
		fail_lock(c);
	if (c->json)
		lockstatus_put_json(&out, &s);
	else
		lockstatus_put_text(&out, &s);
	cli_out_buf(&out);
	buf_free(&out);
	return lockstatus_is_free(&s) ? EXIT_YES : c->busy_status;
}

/* A file's lock has nothing to break; a folder's is taken, and given back. */
static int
break_lock(const struct command *c)
{
	enum lock_result result = LOCK_TAKEN;
	struct buf text = { 0 };
	struct lockstatus s;
	struct lockdir l;

	if (lockstatus_look(&s, c->lock, c->dir) == -1)
		fail_lock(c);
	if (c->dir && s.state == LOCKDIR_LEFT) {
		if (lockdir_open(&l, c->lock) == -1 ||
		    (result = lockdir_take(&l, 0)) == LOCK_FAILED)
			fail_lock(c);
		lockdir_close(&l);
	}
	if (result == LOCK_TAKEN && lockstatus_is_free(&s))
		return EXIT_YES;
	buf_add_str(&text, "held by ");
	lockstatus_put_holder(&text, &s.holder);
	fail_text(c->busy_status, c->lock, &text);
}

int
main(int argc, char *argv[])
{
	struct command c = { .kind = LOCK_EXCLUSIVE, .wait_ms = -1,
	    .busy_status = EXIT_NO, .fd = -1 };
	struct stat st;

	sigaction(SIGPIPE, NULL, &c.on_pipe);
	cli_start("pc-lock");
	parse_options(&c, argc, argv);
	if ((c.status || c.do_break) && !c.dir)
		c.dir = stat(c.lock, &st) == 0 && S_ISDIR(st.st_mode);
	if (c.status)
		return show_status(&c);
	if (c.do_break)
		return break_lock(&c);
	return c.dir ? lock_folder(&c) : lock_file(&c);
}
