/*
 * pc-exec - run one program in the sandbox, as one JSON object says.
 *
 * Guarantees: nothing of the request is ever in an argument list or in the
 * environment of another process; whatever the program starts ends with it,
 * and it ends when the channel does, at its deadline, or by --kill.
 */
#include <sys/auxv.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "execdir.h"
#include "id.h"
#include "io.h"
#include "process.h"
#include "program.h"
#include "runner.h"
#include "sha256.h"

#define LINE_ROOM	65536		/* the longest line of ID.out fits */
#define LOOK_MS		500		/* whether a killed one is still there */
#define POLL_MS		50		/* where nothing notifies */
#define END_MS		2000		/* for COMMAND, when output has come */

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
"  -w, --wait DURATION    --output: how long to wait for some (0)\n"
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

enum mode { MODE_RUN, MODE_BECOME, MODE_DETACH, MODE_INIT, MODE_KILL, MODE_OUTPUT,
	MODE_PROBE };

struct options {
	enum mode mode;
	const char *dir, *id, *scratch;
	char **command;		/* NULL: none */
	int64_t wait_ms, kill_ms;
	uint64_t offset, max_bytes;
};

static void
set_mode(struct options *o, enum mode mode)
{
	if (o->mode != MODE_RUN)
		cli_usage("only one of --become, --detach, --init, --kill, "
		    "--output, --probe");
	o->mode = mode;
}

static void
parse_options(struct options *o, int argc, char *argv[])
{
	int opt;

	while ((opt = getopt_long(argc, argv, "+C:ht:Vw:", options,
	    NULL)) != -1)
		switch (opt) {
		case 'C':
			o->dir = optarg;
			break;
		case 'h':
			cli_help(help);
		case 't':
			o->kill_ms = cli_duration("-t", optarg);
			break;
		case 'V':
			cli_version();
		case 'w':
			o->wait_ms = cli_duration("-w", optarg);
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
			o->max_bytes = cli_size("--max-bytes", optarg);
			if (o->max_bytes < LINE_ROOM ||
			    o->max_bytes > 256 << 20)
				cli_fail(EXIT_NEVER, "--max-bytes",
				    "64K to 256M");
			break;
		case OPT_OFFSET:
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
			exit(EXIT_NEVER);
		}
	if (optind < argc)
		o->command = argv + optind;
	if (o->command != NULL && o->mode != MODE_INIT &&
	    o->mode != MODE_OUTPUT)
		cli_usage("no operands: the request comes on standard input");
}

/* --- running ---------------------------------------------------------------- */

/* Follows the text of an object to its end: how much of it that took, or 0. */
struct object_end {
	size_t at, depth;
	bool string, escape;
};

static size_t
find_end(struct object_end *e, struct span text)
{
	for (; e->at < text.n; e->at++) {
		char c = text.p[e->at];

		if (e->escape)
			e->escape = false;
		else if (e->string && c == '\\')
			e->escape = true;
		else if (c == '"')
			e->string = !e->string;
		else if (e->string)
			continue;
		else if (c == '{' || c == '[')
			e->depth++;
		else if ((c == '}' || c == ']') && (e->depth == 0 ||
		    --e->depth == 0))
			return ++e->at;
		else if (e->depth == 0 && c != ' ' && c != '\n' &&
		    c != '\t' && c != '\r')
			return text.n;	/* no object: the parser says so */
	}
	return 0;
}

/*
 * The object; what follows it on stdin is no part of the request, and is not
 * read when it is for somebody else (chunk 1).
 */
static void
read_request(struct command *c, size_t chunk)
{
	struct fault f = { .kind = FAULT_NONE };
	struct object_end end = { 0 };
	struct buf text = { 0 };
	char end_of_line = '\0';	/* also at the end of file */
	ssize_t n;
	size_t len;

	while ((len = find_end(&end, buf_span(&text))) == 0) {
		if (text.len > COMMAND_SIZE_MAX)
			cli_fail(EXIT_NEVER, "stdin", "a request over 4M");
		n = io_read_some(STDIN_FILENO, &text, chunk);
		if (n == -1)
			cli_fail_errno("stdin");
		if (n == 0)
			cli_fail(EXIT_NEVER, "stdin", text.len == 0 ?
			    "no request" : "the request is cut short");
	}
	if (chunk == 1 && (io_read_full(STDIN_FILENO, &end_of_line, 1) == -1 ||
	    (end_of_line != '\n' && end_of_line != '\0')))
		cli_fail(EXIT_NEVER, "stdin", "no newline after the request");
	if (command_parse(c, (struct span){ text.data, len }, &f) == -1)
		cli_fail_fault(&f);
	/* The values were copied. */
	buf_free(&text);
}

/* A pipe, socket or terminal can close; a file or device only ends. */
static int
lifeline_fd(const struct command *c)
{
	struct stat st;

	if (!c->lifeline || fstat(STDIN_FILENO, &st) == -1 ||
	    S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) &&
	    !isatty(STDIN_FILENO)))
		return -1;
	return STDIN_FILENO;
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

static int
open_dir(const struct options *o, bool make)
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

/* Its end as a line; after what may end anywhere, with a newline before it. */
static int
report(const struct command *c, const struct runner_end *end, int out,
    bool newline)
{
	struct buf line = { 0 };

	if (newline)
		buf_add_char(&line, '\n');
	runner_put_report(&line, c, end);
	if (buf_failed(&line)) {
		errno = ENOMEM;
		return -1;
	}
	return io_write_all(out, line.data, line.len);
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

	read_request(&c, 65536);
	io.lifeline = lifeline_fd(&c);
	if (c.id != NULL) {
		dir = open_dir(o, true);
		(void)claim_id(dir, c.id);
		execdir_mark(dir, c.id, io.mark = mark);
	}
	if (runner_run(&c, &io, &end) == -1)
		cli_fail_errno("running");
	if (dir != -1)
		execdir_forget(dir, c.id);
	/* Output that nobody got is no success. */
	if (report(&c, &end, STDOUT_FILENO, !c.lines) == -1 && end.status == 0)
		cli_fail(EXIT_LATER, "stdout", strerror(errno));
	return end.status;
}

/* What it needs of a channel is a fixed line: all else is in the request. */
static int
become(void)
{
	struct command c;
	struct program p;

	read_request(&c, 1);
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
	if (c.cwd != NULL && chdir(c.cwd) == -1)
		cli_fail(126, c.cwd, strerror(errno));
	process_default_signals();
	execve(p.file, p.argv, p.env);
	cli_fail(errno == ENOENT ? 127 : 126, p.file, strerror(errno));
}

/* In the child: as long as the command, and away from the caller. */
static _Noreturn void
run_detached(struct command *c, int dir, int started)
{
	struct runner_io io = { .lifeline = -1, .spool = true };
	char mark[EXECDIR_MARK_SIZE];
	struct runner_end end;
	int null, i;

	(void)setsid();
	io.asked = claim_id(dir, c->id);
	execdir_mark(dir, c->id, io.mark = mark);
	io.out = io.err = execdir_spool(dir, c->id);
	if (io.out == -1)
		cli_fail_errno(c->id);
	if (io_write_all(started, "", 1) == -1)
		exit(EXIT_LATER);
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
	/* A full disk may have taken half a line. */
	(void)report(c, &end, io.out, end.lost > 0);
	exit(EXIT_YES);
}

static int
detach(const struct options *o)
{
	char made[ID_NEW_SIZE], byte;
	struct buf line = { 0 };
	struct command c;
	int ends[2], dir, status;
	pid_t pid;

	read_request(&c, 65536);
	c.lines = true;
	if (c.id == NULL && id_make(ID_PLAIN, made) == -1)
		cli_fail_errno("random numbers");
	if (c.id == NULL)
		c.id = made;
	dir = open_dir(o, true);
	if (pipe2(ends, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		cli_fail_errno("fork");
	if (pid == 0) {
		close(ends[0]);
		run_detached(&c, dir, ends[1]);
	}
	close(ends[1]);
	if (io_read_full(ends[0], &byte, 1) != 1) {
		/* It has said why. */
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
			return WEXITSTATUS(status);
		return EXIT_LATER;
	}
	buf_add_str(&line, "{\"id\":");
	json_put_string(&line, span_of(c.id));
	buf_add_str(&line, "}\n");
	cli_out(buf_span(&line));
	buf_free(&line);
	return EXIT_YES;
}

/* --- its output ------------------------------------------------------------- */

struct asking {
	const struct options *o;
	int dir, file, events;
	pid_t pid;		/* of COMMAND; 0 when there is none left */
	int64_t deadline;
	off_t size;
};

/* A descriptor that tells when the file grows; -1 where there is none. */
static int
watch_file(int file)
{
	char path[64];
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (fd != -1 && inotify_add_watch(fd, path, IN_MODIFY) == -1) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool
has_grown(struct asking *a)
{
	struct stat st;

	if (fstat(a->file, &st) == 0)
		a->size = st.st_size;
	return a->size > (off_t)a->o->offset;
}

static bool
command_ended(struct asking *a)
{
	if (a->pid > 0 && waitpid(a->pid, NULL, WNOHANG) != 0)
		a->pid = 0;
	return a->pid == 0;
}

/* COMMAND's end is CHLD, which is let through here only. */
static void
wait_a_little(struct asking *a, const sigset_t *unblocked)
{
	struct pollfd p = { .fd = a->events, .events = POLLIN };
	int64_t now = clock_mono_ms();
	int64_t ms = a->events != -1 ? LOOK_MS : POLL_MS;
	struct timespec ts;
	char events[4096];

	if (a->deadline - now < ms)
		ms = a->deadline > now ? a->deadline - now : 0;
	ts = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
	if (ppoll(&p, 1, &ts, unblocked) > 0)
		(void)!read(a->events, events, sizeof(events));
}

/*
 * Until there is output, the command has ended, COMMAND has, or the time is
 * up.  Whether the command still ran before the file's size was looked at.
 */
static bool
wait_output(struct asking *a, const sigset_t *unblocked)
{
	bool command = a->pid > 0, running;

	for (;;) {
		running = execdir_is_running(a->dir, a->o->id, true);
		if (has_grown(a) || !running || cli_stop ||
		    (command ? command_ended(a) :
		    clock_mono_ms() >= a->deadline))
			return running;
		wait_a_little(a, unblocked);
	}
}

static void
note_child(int signo)
{
	(void)signo;
}

/* It writes to our stdout: all it has to say comes before ours. */
static void
start_command(struct asking *a)
{
	struct sigaction sa = { .sa_handler = note_child };
	sigset_t set, none;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGCHLD, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if ((a->pid = fork()) == -1)
		cli_fail_errno("fork");
	if (a->pid > 0)
		return;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execvp(a->o->command[0], a->o->command);
	cli_fail(errno == ENOENT ? 127 : 126, a->o->command[0],
	    strerror(errno));
}

static void
end_command(struct asking *a)
{
	int64_t until = clock_mono_ms() + END_MS;

	if (!command_ended(a))
		kill(a->pid, SIGTERM);
	while (!command_ended(a)) {
		if (clock_mono_ms() >= until)
			kill(a->pid, SIGKILL);
		poll(NULL, 0, 2);
	}
}

/* Prints whole lines from the offset on: the offset after them. */
static uint64_t
print_lines(struct asking *a)
{
	uint64_t offset = a->o->offset;
	size_t room = a->o->max_bytes;
	struct buf text = { 0 };
	char *p, *end;
	ssize_t n;

	if (a->size <= (off_t)offset)
		return offset;
	if ((uint64_t)a->size - offset < room)
		room = (size_t)((uint64_t)a->size - offset);
	if ((p = buf_reserve(&text, room)) == NULL)
		cli_fail_errno(a->o->id);
	do
		n = pread(a->file, p, room, (off_t)offset);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		cli_fail_errno(a->o->id);
	if ((end = memrchr(p, '\n', (size_t)n)) != NULL) {
		cli_out((struct span){ p, (size_t)(end + 1 - p) });
		offset += (uint64_t)(end + 1 - p);
	}
	buf_free(&text);
	return offset;
}

static int
show_output(const struct options *o)
{
	struct asking a = { .o = o, .pid = 0 };
	struct buf line = { 0 };
	sigset_t unblocked;
	uint64_t next;
	bool running;

	a.dir = open_dir(o, false);
	if ((a.file = execdir_read(a.dir, o->id)) == -1)
		cli_fail(errno == ENOENT ? EXIT_NO : EXIT_NEVER, o->id,
		    errno == ENOENT ? "no such id" : strerror(errno));
	cli_catch_stop(&unblocked);
	sigdelset(&unblocked, SIGCHLD);
	a.events = watch_file(a.file);
	a.deadline = clock_mono_ms() + o->wait_ms;
	/* What was read before need not be kept; not every system can. */
	if (o->offset >= 4096)
		(void)fallocate(a.file, FALLOC_FL_PUNCH_HOLE |
		    FALLOC_FL_KEEP_SIZE, 0, (off_t)(o->offset & ~4095ULL));
	if (o->command != NULL)
		start_command(&a);
	running = wait_output(&a, &unblocked);
	end_command(&a);
	next = print_lines(&a);
	buf_add_str(&line, "{\"next\":");
	buf_add_int(&line, (int64_t)next);
	/* What is left when it has ended may be half a line. */
	buf_add_str(&line, running || (next < (uint64_t)a.size &&
	    next > o->offset) ? ",\"running\":true}\n" :
	    ",\"running\":false}\n");
	cli_out(buf_span(&line));
	buf_free(&line);
	return EXIT_YES;
}

static int
kill_id(const struct options *o)
{
	switch (execdir_kill(open_dir(o, false), o->id, o->kill_ms)) {
	case EXECDIR_ENDED:
		return EXIT_YES;
	case EXECDIR_NONE:
		cli_fail(EXIT_NO, o->id, "no such id");
	default:
		cli_fail_errno(o->id);
	}
}

/* --- what there is ---------------------------------------------------------- */

/* The folder of a tmpfs that we may write to, where a publish is cheapest. */
static const char *
find_tmpfs(void)
{
	static const char *const usual[] = { "/dev/shm", "/run", "/tmp" };
	struct statfs fs;
	size_t i;

	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (statfs(usual[i], &fs) == 0 && fs.f_type == TMPFS_MAGIC &&
		    access(usual[i], W_OK | X_OK) == 0)
			return usual[i];
	return NULL;
}

static void
put_text(struct buf *out, const char *key, const char *text)
{
	json_put_key(out, key);
	if (text != NULL && utf8_is_valid(span_of(text)))
		json_put_string(out, span_of(text));
	else
		buf_add_str(out, "null");
}

/* Of this very program, so that a caller knows whether it is the right one. */
static void
put_own_sum(struct buf *out)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint8_t sum[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];

	/* Without /proc, the name that we were executed by. */
	if (fd == -1)
		fd = open((const char *)getauxval(AT_EXECFN),
		    O_RDONLY | O_CLOEXEC);
	if (fd != -1 && sha256_fd(fd, sum) == 0) {
		sha256_hex(sum, hex);
		put_text(out, "sha256", hex);
	} else {
		put_text(out, "sha256", NULL);
	}
	io_close(fd);
}

/* A folder of our own there, or NULL. */
static char *
make_scratch(const char *tmpfs, const char *name)
{
	char *path;
	int fd;

	if (tmpfs == NULL || name == NULL ||
	    asprintf(&path, "%s/%s", tmpfs, name) == -1)
		return NULL;
	if ((fd = execdir_open(path, true)) != -1) {
		close(fd);
		return path;
	}
	free(path);
	return NULL;
}

static int
probe(const struct options *o)
{
	const char *tmpfs = find_tmpfs();
	char *cwd = getcwd(NULL, 0), *scratch = make_scratch(tmpfs, o->scratch);
	struct buf out = { 0 };

	buf_add_char(&out, '{');
	put_text(&out, "version", PC_VERSION);
	put_own_sum(&out);
	put_text(&out, "cwd", cwd);
	put_text(&out, "home", getenv("HOME"));
	put_text(&out, "tmpfs", tmpfs);
	put_text(&out, "scratch", scratch);
	buf_add_str(&out, "}\n");
	cli_out(buf_span(&out));
	buf_free(&out);
	free(cwd);
	free(scratch);
	return EXIT_YES;
}

int
main(int argc, char *argv[])
{
	struct options o = { .mode = MODE_RUN, .kill_ms = 10000,
	    .max_bytes = 1 << 20 };
	int status;

	cli_start("pc-exec");
	parse_options(&o, argc, argv);
	switch (o.mode) {
	case MODE_BECOME:
		return become();
	case MODE_DETACH:
		return detach(&o);
	case MODE_INIT:
		if ((status = runner_init(o.command)) == -1)
			cli_fail_errno("fork");
		return status;
	case MODE_KILL:
		return kill_id(&o);
	case MODE_OUTPUT:
		return show_output(&o);
	case MODE_PROBE:
		return probe(&o);
	default:
		return run(&o);
	}
}
