/*
 * pc-exec - run one program in the sandbox, as one JSON object says.
 *
 * Guarantees: nothing of the request is ever in an argument list or in the
 * environment of another process; whatever the program starts ends with it,
 * and it ends when the channel does, at its deadline, or by --kill.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "exec.h"
#include "execdir.h"
#include "id.h"
#include "init.h"
#include "io.h"
#include "output.h"
#include "process.h"
#include "program.h"
#include "runner.h"

#define REPORT_MS	1000	/* for it, when our reader may be gone */
#define REPORT_ROOM	4096	/* kept for it on a disk that gets full */

static const char help[] =
"usage: pc-exec [-C DIR] [--detach] < REQUEST\n"
"       pc-exec [-C DIR] --output ID [--offset N] [-w DURATION]\n"
"               [--max-bytes SIZE] [COMMAND [ARG...]]\n"
"       pc-exec [-C DIR] --kill ID [-t DURATION]\n"
"       pc-exec --become < REQUEST and the program's input\n"
"       pc-exec --probe [--scratch NAME]\n"
"       pc-exec --init [COMMAND [ARG...]]\n"
"Runs the program that the JSON object on standard input asks for.\n"
"  -C, --directory DIR    where ids are kept ($PC_EXEC_DIR)\n"
"  -h, --help             this text\n"
"  -t, --timeout DURATION --kill: then without grace (10s)\n"
"  -V, --version\n"
"  -w, --wait DURATION    --output: how long to wait for some (not at all)\n"
"      --become           be the program; the rest of stdin is its input\n"
"      --detach           print the id and return\n"
"      --init             be process 1: reap, until TERM or COMMAND's end\n"
"      --kill ID          end it, and forget it\n"
"      --max-bytes SIZE   --output: at most so many, whole lines (1M)\n"
"      --offset N         --output: from this byte on\n"
"      --output ID        what a detached one has said\n"
"      --probe            what there is here, as a line of JSON\n"
"      --scratch NAME     --probe: make that folder on a tmpfs, if there is one\n";

enum {
	OPT_BECOME = 256, OPT_DETACH, OPT_INIT, OPT_KILL, OPT_MAX_BYTES,
	OPT_OFFSET, OPT_OUTPUT, OPT_PROBE, OPT_SCRATCH
};

static const struct option options[] = {
	{ "become", no_argument, NULL, OPT_BECOME },
	{ "detach", no_argument, NULL, OPT_DETACH },
	{ "directory", required_argument, NULL, 'C' },
	{ "help", no_argument, NULL, 'h' },
	{ "init", no_argument, NULL, OPT_INIT },
	{ "kill", required_argument, NULL, OPT_KILL },
	{ "max-bytes", required_argument, NULL, OPT_MAX_BYTES },
	{ "offset", required_argument, NULL, OPT_OFFSET },
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "probe", no_argument, NULL, OPT_PROBE },
	{ "scratch", required_argument, NULL, OPT_SCRATCH },
	{ "timeout", required_argument, NULL, 't' },
	{ "version", no_argument, NULL, 'V' },
	{ "wait", required_argument, NULL, 'w' },
	{ NULL, 0, NULL, 0 }
};

static void
set_mode(struct options *o, enum mode mode)
{
	if (o->mode != MODE_RUN)
		cli_usage("only one of --become, --detach, --init, --kill, "
		    "--output, --probe");
	o->mode = mode;
}

/* Of two durations the sum is one still. */
static int64_t
or_for_ever(int64_t ms)
{
	return ms > 0 ? ms : INT64_MAX / 4;
}

static void
parse_options(struct options *o, int argc, char *argv[])
{
	bool for_output = false, for_kill = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "+:C:ht:Vw:", options,
	    NULL)) != -1)
		switch (opt) {
		case 'C':
			o->dir = optarg;
			break;
		case 'h':
			cli_help(help);
		case 't':
			for_kill = true;
			o->kill_ms = or_for_ever(cli_duration("-t", optarg));
			break;
		case 'V':
			cli_version();
		case 'w':
			for_output = true;
			o->wait_ms = or_for_ever(cli_duration("-w", optarg));
			break;
		case OPT_BECOME:
			set_mode(o, MODE_BECOME);
			break;
		case OPT_DETACH:
			set_mode(o, MODE_DETACH);
			break;
		case OPT_INIT:
			set_mode(o, MODE_INIT);
			break;
		case OPT_KILL:
			set_mode(o, MODE_KILL);
			o->id = cli_id(optarg);
			break;
		case OPT_MAX_BYTES:
			for_output = true;
			o->max_bytes = cli_size("--max-bytes", optarg);
			if (o->max_bytes < EXEC_LINE_ROOM ||
			    o->max_bytes > 256 << 20)
				cli_fail(EXIT_NEVER, "--max-bytes",
				    "64K to 256M");
			break;
		case OPT_OFFSET:
			for_output = true;
			o->offset = cli_number("--offset", optarg,
			    INT64_MAX);
			break;
		case OPT_OUTPUT:
			set_mode(o, MODE_OUTPUT);
			o->id = cli_id(optarg);
			break;
		case OPT_PROBE:
			set_mode(o, MODE_PROBE);
			break;
		case OPT_SCRATCH:
			o->scratch = cli_id(optarg);
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	if (for_output && o->mode != MODE_OUTPUT)
		cli_usage("--offset, --max-bytes and -w go with --output");
	if (for_kill && o->mode != MODE_KILL)
		cli_usage("-t goes with --kill");
	if (o->scratch != NULL && o->mode != MODE_PROBE)
		cli_usage("--scratch goes with --probe");
	if (optind < argc)
		o->command = argv + optind;
	if (o->command != NULL && o->mode != MODE_INIT &&
	    o->mode != MODE_OUTPUT)
		cli_usage("no operands: the request comes on standard input");
}

/* --- running ---------------------------------------------------------------- */

/* A pipe, socket or terminal can close; anything else only ends. */
static int
lifeline_fd(const struct command *c)
{
	struct stat st;

	if (!c->lifeline || fstat(STDIN_FILENO, &st) == -1)
		return -1;
	return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
	    isatty(STDIN_FILENO) ? STDIN_FILENO : -1;
}

/* The folders that it is in; what fails here is seen when it is opened. */
static void
make_above(const char *path)
{
	char *copy = strdup(path), *slash;

	if (copy != NULL && (slash = strrchr(copy, '/')) != NULL) {
		*slash = '\0';
		(void)cli_make_folders(copy, 0755);
	}
	free(copy);
}

int
exec_open_dir(const struct options *o, bool make)
{
	const char *path = o->dir != NULL ? o->dir : getenv("PC_EXEC_DIR");
	char usual[64];
	int fd;

	if (path == NULL || *path == '\0') {
		snprintf(usual, sizeof(usual), "/tmp/pc-exec-%ld",
		    (long)geteuid());
		path = usual;
	}
	if (make)
		make_above(path);
	fd = execdir_open(path, make);
	if (fd == -1 && errno == EPERM)
		cli_fail(EXIT_NEVER, path, "not ours alone");
	if (fd == -1 && errno == ENOENT && !make)
		cli_fail(EXIT_NO, path, strerror(errno));
	if (fd == -1)
		cli_fail_errno(path);
	return fd;
}

static int
claim_id(int dir, const char *id)
{
	int lock = execdir_claim(dir, id);

	if (lock == -1 && errno == EAGAIN)
		cli_fail(EXIT_NO, id, "is running");
	if (lock == -1)
		cli_fail_errno(id);
	return lock;
}

/*
 * Its end as a line; after what may end anywhere, with a newline before it.
 * A reader has ms for it, or -1: as long as it likes.
 */
static int
report(const struct command *c, const struct runner_end *end, int fd,
    bool newline, int ms)
{
	int64_t deadline = ms == -1 ? -1 : clock_mono_ms() + ms;
	struct pollfd p = { .events = POLLOUT };
	struct output out;
	int result = -1;

	output_open(&out, fd);
	if (newline)
		buf_add_char(&out.lines, '\n');
	runner_put_report(&out.lines, c, end);
	p.fd = out.fd;
	while ((result = output_flush(&out)) == 0 && output_pending(&out) > 0)
		if (poll(&p, 1, clock_poll_timeout(deadline)) == 0) {
			errno = ETIMEDOUT;
			result = -1;
			break;
		}
	output_close(&out);
	return result;
}

/* It has ended, and who does not read its report must not keep us. */
static void
let_stop(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int
run(const struct options *o)
{
	struct runner_io io = { .out = STDOUT_FILENO, .err = STDERR_FILENO,
	    .asked = -1 };
	char mark[EXECDIR_MARK_SIZE];
	struct runner_end end;
	struct command c;
	int dir = -1;

	exec_read_request(&c, 65536);
	io.lifeline = lifeline_fd(&c);
	if (c.id != NULL) {
		dir = exec_open_dir(o, true);
		(void)claim_id(dir, c.id);
		execdir_mark(dir, c.id, io.mark = mark);
	}
	if (runner_run(&c, &io, &end) == -1)
		cli_fail_errno("running");
	if (dir != -1)
		(void)execdir_forget(dir, c.id);
	let_stop();
	/* Output that nobody got is no success; what got lost was half a line. */
	if (report(&c, &end, STDOUT_FILENO, !c.lines || end.lost > 0,
	    end.cause == RUNNER_KILLED || end.cause == RUNNER_CLOSED ||
	    end.lost > 0 ? REPORT_MS : -1) == -1 && end.status == 0)
		cli_fail(EXIT_LATER, "stdout", strerror(errno));
	return end.status;
}

/* What it needs of a channel is a fixed line: all else is in the request. */
static int
become(void)
{
	struct command c;
	struct program p;

	exec_read_request(&c, 1);
	/* Before it is looked for: its name may be relative. */
	if (c.cwd != NULL && chdir(c.cwd) == -1)
		cli_fail(126, c.cwd, strerror(errno));
	switch (program_find(&p, &c, NULL)) {
	case PROGRAM_FOUND:
		break;
	case PROGRAM_FAILED:
		cli_fail_errno("request");
	case PROGRAM_DENIED:
		cli_fail(126, c.argv.argv.v[0], "not executable");
	case PROGRAM_NO_SHELL:
		cli_fail(127, "argv", "a line for a shell, and there is none");
	default:
		cli_fail(127, c.argv.argv.v[0], "not found");
	}
	process_default_signals();
	execve(p.file, p.argv, p.env);
	cli_fail(errno == ENOENT ? 127 : 126, p.file, strerror(errno));
}

/* In the child: as long as the command, and away from the caller. */
static _Noreturn void
run_detached(struct command *c, int dir, int started)
{
	static const char kept[REPORT_ROOM];
	struct runner_io io = { .lifeline = -1, .spool = true };
	char mark[EXECDIR_MARK_SIZE];
	struct runner_end end;
	int null, i;

	(void)setsid();
	io.asked = claim_id(dir, c->id);
	(void)!pwrite(io.asked, kept, sizeof(kept), 0);
	execdir_mark(dir, c->id, io.mark = mark);
	io.out = io.err = execdir_spool(dir, c->id);
	if (io.out == -1)
		cli_fail_errno(c->id);
	if (io_write_all(started, "", 1) == -1)
		cli_fail_errno(c->id);
	close(started);
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) != -1) {
		for (i = 0; i < 3; i++)
			(void)dup2(null, i);
		close(null);
	} else {
		for (i = 0; i < 3; i++)
			close(i);
	}
	if (runner_run(c, &io, &end) == -1) {
		end = (struct runner_end){ .status = EXIT_LATER };
		buf_add_str(&end.error, strerror(errno));
	}
	/* A full disk may have taken half a line; what we kept is enough. */
	if (report(c, &end, io.out, end.lost > 0, -1) == -1) {
		(void)!ftruncate(io.asked, 0);
		(void)report(c, &end, io.out, true, -1);
	}
	exit(EXIT_YES);
}

/*
 * What the caller has open is not kept by what outlives it: a channel ends
 * when the last has closed it.  Before anything of ours is open.
 */
static void
close_inherited(void)
{
	struct rlimit limit;
	int fd, last = 65536;

	if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur < (rlim_t)last)
		last = (int)limit.rlim_cur;
	for (fd = 3; fd < last; fd++)
		close(fd);
}

static int
detach(const struct options *o)
{
	char made[ID_NEW_SIZE], byte;
	struct buf line = { 0 };
	struct command c;
	int ends[2], dir, status;
	ssize_t told;
	pid_t pid;

	close_inherited();
	exec_read_request(&c, 65536);
	c.lines = true;
	if (c.id == NULL && id_make(ID_PLAIN, made) == -1)
		cli_fail_errno("random numbers");
	if (c.id == NULL)
		c.id = made;
	dir = exec_open_dir(o, true);
	if (pipe2(ends, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		cli_fail_errno("fork");
	if (pid == 0) {
		close(ends[0]);
		run_detached(&c, dir, ends[1]);
	}
	close(ends[1]);
	told = io_read_full(ends[0], &byte, 1);
	if (told == -1)
		cli_fail_errno(c.id);
	if (told == 0) {
		/* It has said why. */
		while (waitpid(pid, &status, 0) == -1)
			if (errno != EINTR)
				cli_fail_errno(c.id);
		if (WIFEXITED(status) && WEXITSTATUS(status) != EXIT_YES)
			return WEXITSTATUS(status);
		cli_fail(EXIT_LATER, c.id, "killed before it began");
	}
	buf_add_str(&line, "{\"id\":");
	json_put_string(&line, span_of(c.id));
	buf_add_str(&line, "}\n");
	cli_out_buf(&line);
	buf_free(&line);
	return EXIT_YES;
}

/* --- the others -------------------------------------------------------------- */

static int
kill_id(const struct options *o)
{
	switch (execdir_kill(exec_open_dir(o, false), o->id, o->kill_ms)) {
	case EXECDIR_ENDED:
		return EXIT_YES;
	case EXECDIR_NONE:
		cli_fail(EXIT_NO, o->id, "no such id");
	default:
		cli_fail_errno(o->id);
	}
}

int
main(int argc, char *argv[])
{
	struct options o = { .mode = MODE_RUN, .kill_ms = 10000,
	    .max_bytes = 1 << 20 };
	int status;

	cli_start("pc-exec");
	/* Ignored, as some leave it, children would end without a status. */
	signal(SIGCHLD, SIG_DFL);
	parse_options(&o, argc, argv);
	switch (o.mode) {
	case MODE_BECOME:
		return become();
	case MODE_DETACH:
		return detach(&o);
	case MODE_INIT:
		if ((status = init_run(o.command)) == -1)
			cli_fail_errno("fork");
		return status;
	case MODE_KILL:
		return kill_id(&o);
	case MODE_OUTPUT:
		return exec_output(&o);
	case MODE_PROBE:
		return exec_probe(&o);
	default:
		return run(&o);
	}
}
