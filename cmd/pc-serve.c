/*
 * pc-serve - an HTTP gateway on loopback in front of the queue.
 *
 * Guarantees: one gateway per queue; ready.json appears once the socket
 * listens; nothing but a gateway of this queue is ever killed.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "io.h"
#include "presence.h"
#include "supervise.h"
#include "token.h"

static const char help[] =
"usage: pc-serve [-q DIR] [-l HOST:PORT|unix:PATH] [--token-file FILE]\n"
"                [--daemon]\n"
"       pc-serve [-q DIR] [OPTION...] -- COMMAND [ARG...]\n"
"       pc-serve [-q DIR] --stop | --status\n"
"Serves HTTP/1.1 on loopback: every request goes through the queue.\n"
"With COMMAND, as long as that runs, which finds the gateway in its\n"
"environment.\n"
"  -h, --help               this text\n"
"  -l, --listen ADDRESS     HOST:PORT or unix:PATH (127.0.0.1:0)\n"
"  -m, --max-body SIZE      limit of a body (256K)\n"
"  -q, --queue DIR          the queue ($PAPERCLIP_BRIDGE_QUEUE_DIR)\n"
"  -t, --timeout DURATION   how long an answer is waited for (30s)\n"
"  -V, --version\n"
"      --accept TYPE        bodies of this type too, not only JSON\n"
"      --any-address        listen elsewhere than on loopback\n"
"      --claims             every drain of this queue claims (pc-drain does)\n"
"      --daemon             return when ready, with ready.json on stdout\n"
"      --existing           the queue must be there already, or exit 1\n"
"      --expect-host NAME   refuse every other Host with 421\n"
"      --group              folders and files for a group of users\n"
"      --max-connections N  clients at once (4096)\n"
"      --max-depth N        requests pending and claimed (64)\n"
"      --new-token          write a fresh token to the token file first\n"
"      --status             is a gateway up: print ready.json, else exit 1\n"
"      --stop               end the queue's gateway: TERM, KILL after 2s\n"
"      --sync               fsync every request\n"
"      --token-file FILE    the bearer token ($PAPERCLIP_BRIDGE_TOKEN)\n";

enum {
	OPT_ACCEPT = 256, OPT_ANY_ADDRESS, OPT_CLAIMS, OPT_DAEMON,
	OPT_EXISTING, OPT_EXPECT_HOST, OPT_GROUP, OPT_MAX_CONNECTIONS,
	OPT_MAX_DEPTH, OPT_NEW_TOKEN, OPT_STATUS, OPT_STOP, OPT_SYNC,
	OPT_TOKEN_FILE
};

static const struct option options[] = {
	{ "accept", required_argument, NULL, OPT_ACCEPT },
	{ "any-address", no_argument, NULL, OPT_ANY_ADDRESS },
	{ "claims", no_argument, NULL, OPT_CLAIMS },
	{ "daemon", no_argument, NULL, OPT_DAEMON },
	{ "existing", no_argument, NULL, OPT_EXISTING },
	{ "expect-host", required_argument, NULL, OPT_EXPECT_HOST },
	{ "group", no_argument, NULL, OPT_GROUP },
	{ "help", no_argument, NULL, 'h' },
	{ "listen", required_argument, NULL, 'l' },
	{ "max-body", required_argument, NULL, 'm' },
	{ "max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS },
	{ "max-depth", required_argument, NULL, OPT_MAX_DEPTH },
	{ "new-token", no_argument, NULL, OPT_NEW_TOKEN },
	{ "queue", required_argument, NULL, 'q' },
	{ "status", no_argument, NULL, OPT_STATUS },
	{ "stop", no_argument, NULL, OPT_STOP },
	{ "sync", no_argument, NULL, OPT_SYNC },
	{ "timeout", required_argument, NULL, 't' },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct command {
	struct gateway_options gateway;
	const char *dir, *listen, *token_file;
	char **argv;		/* COMMAND, or NULL */
	int queue_flags;
	bool any_address, daemon, existing, new_token, status, stop;
	int standard[3];	/* what COMMAND gets, as it was given to us */
	mode_t mask;
};

static void
read_environment(struct command *c)
{
	struct gateway_options *o = &c->gateway;
	const char *mode = getenv("PAPERCLIP_API_BRIDGE_MODE");

	if (mode != NULL && *mode != '\0' && strcmp(mode, "queue_v1") != 0)
		cli_fail(EXIT_NEVER, "PAPERCLIP_API_BRIDGE_MODE",
		    "only queue_v1 is known");
	o->body_max = cli_env_body_max();
	o->depth_max = (int64_t)cli_env_number(
	    "PAPERCLIP_BRIDGE_MAX_QUEUE_DEPTH", QUEUE_DEPTH_MAX, 1 << 30);
	o->response_ms = (int64_t)cli_env_number(
	    "PAPERCLIP_BRIDGE_RESPONSE_TIMEOUT_MS", GATEWAY_RESPONSE_MS,
	    RECORD_TIMEOUT_MAX);
	o->poll_ms = cli_env_poll_ms();
	o->claims = cli_env_claims();
	o->connections_max = GATEWAY_CONNECTIONS_MAX;
	o->warn = cli_warn;
}

static void
add_name(const char *names[static GATEWAY_NAMES_MAX], size_t *n,
    const char *option)
{
	if (*n == GATEWAY_NAMES_MAX)
		cli_fail(EXIT_NEVER, option, "too many of them");
	names[(*n)++] = optarg;
}

static void
parse_options(struct command *c, int argc, char *argv[])
{
	struct gateway_options *o = &c->gateway;
	int opt;

	while ((opt = getopt_long(argc, argv, ":hl:m:q:t:V", options,
	    NULL)) != -1)
		switch (opt) {
		case 'h':
			cli_help(help);
		case 'l':
			c->listen = optarg;
			break;
		case 'm':
			o->body_max = cli_body_max(optarg);
			break;
		case 'q':
			c->dir = optarg;
			break;
		case 't':
			o->response_ms = cli_request_timeout(optarg);
			break;
		case 'V':
			cli_version();
		case OPT_ACCEPT:
			add_name(o->accept, &o->naccept, "--accept");
			break;
		case OPT_ANY_ADDRESS:
			c->any_address = true;
			break;
		case OPT_CLAIMS:
			o->claims = true;
			break;
		case OPT_DAEMON:
			c->daemon = true;
			break;
		case OPT_EXISTING:
			c->existing = true;
			break;
		case OPT_EXPECT_HOST:
			add_name(o->host, &o->nhost, "--expect-host");
			break;
		case OPT_GROUP:
			c->queue_flags |= QUEUE_GROUP;
			break;
		case OPT_MAX_CONNECTIONS:
			o->connections_max = cli_count("--max-connections",
			    optarg, 1 << 20);
			break;
		case OPT_MAX_DEPTH:
			o->depth_max = (int64_t)cli_count("--max-depth",
			    optarg, 1 << 30);
			break;
		case OPT_NEW_TOKEN:
			c->new_token = true;
			break;
		case OPT_STATUS:
			c->status = true;
			break;
		case OPT_STOP:
			c->stop = true;
			break;
		case OPT_SYNC:
			c->queue_flags |= QUEUE_SYNC;
			break;
		case OPT_TOKEN_FILE:
			c->token_file = optarg;
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	/*
	 * COMMAND comes after "--" only: an existing peer starts us with an
	 * operand, as it would start its own script.
	 */
	if (optind != argc && strcmp(argv[optind - 1], "--") == 0)
		c->argv = argv + optind;
	else if (optind != argc && getenv("PAPERCLIP_API_BRIDGE_MODE") == NULL)
		cli_usage("no operands");
	if (c->stop && c->status)
		cli_usage("only one of --stop, --status");
	if (c->argv != NULL && (c->daemon || c->stop || c->status))
		cli_usage("no COMMAND with --daemon, --status, --stop");
	if (c->new_token && c->token_file == NULL)
		cli_usage("--new-token goes with --token-file");
	c->dir = cli_queue_dir(c->dir);
}

static void
find_token(struct command *c)
{
	static struct buf token;
	const char *env = getenv("PAPERCLIP_BRIDGE_TOKEN");

	if (c->new_token && (token_make(&token) == -1 ||
	    token_write(c->token_file, buf_span(&token)) == -1))
		cli_fail_errno(c->token_file);
	if (c->token_file != NULL) {
		if (token_read(c->token_file, &token) == -1) {
			if (errno == EINVAL)
				cli_fail(EXIT_NEVER, c->token_file,
				    "no token in it");
			cli_fail_input(c->token_file);
		}
		c->gateway.token = token.data;
		return;
	}
	/* A command is told; so nobody else needs to know it. */
	if (env == NULL && c->argv != NULL) {
		if (token_make(&token) == -1)
			cli_fail_errno("random numbers");
		c->gateway.token = token.data;
		return;
	}
	if (env == NULL || !token_is_valid(span_of(env)))
		cli_usage("no token: give --token-file or "
		    "set PAPERCLIP_BRIDGE_TOKEN");
	c->gateway.token = env;
}

static void
find_address(const struct command *c, struct address *a)
{
	const char *host = getenv("PAPERCLIP_BRIDGE_HOST");
	const char *shown = c->listen;
	int result;

	if (c->listen != NULL) {
		result = address_parse(a, c->listen);
	} else {
		shown = host == NULL || *host == '\0' ? "127.0.0.1" : host;
		result = address_make(a, shown, (unsigned int)
		    cli_env_number("PAPERCLIP_BRIDGE_PORT", 0, 65535));
	}
	if (result == -1)
		cli_fail(EXIT_NEVER, shown, "not HOST:PORT or unix:PATH");
	if (!c->any_address && !address_is_loopback(a))
		cli_fail(EXIT_NEVER, shown,
		    "not a loopback address (see --any-address)");
}

/* Every connection is a descriptor: as many as the system lets us have. */
static void
raise_descriptors(struct gateway_options *o)
{
	struct rlimit rl;
	size_t spare = 64;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		return;
	if (rl.rlim_cur < o->connections_max + spare) {
		rl.rlim_cur = o->connections_max + spare < rl.rlim_max ?
		    o->connections_max + spare : rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
		(void)getrlimit(RLIMIT_NOFILE, &rl);
	}
	if (rl.rlim_cur < o->connections_max + spare)
		o->connections_max = rl.rlim_cur > 2 * spare ?
		    (size_t)rl.rlim_cur - spare : (size_t)rl.rlim_cur / 2;
}

static void
set_env(const char *name, const char *value)
{
	if (setenv(name, value, 1) == -1)
		cli_fail_errno(name);
}

/* In a process of its own: what an agent finds in its environment. */
static void
become_command(void *arg, const char *url)
{
	const struct command *c = arg;
	char *dir = realpath(c->dir, NULL);
	int i, error;

	for (i = 0; i < 3; i++)
		if (dup2(c->standard[i], i) == -1)
			cli_fail_errno("stdout");
	if (dir == NULL)
		cli_fail_errno(c->dir);
	umask(c->mask);
	unsetenv("PAPERCLIP_BRIDGE_TOKEN");
	set_env("PAPERCLIP_API_URL", url);
	set_env("PAPERCLIP_API_KEY", c->gateway.token);
	set_env("PAPERCLIP_API_BRIDGE_MODE", "queue_v1");
	set_env("PAPERCLIP_BRIDGE_QUEUE_DIR", dir);
	execvp(c->argv[0], c->argv);
	error = errno;
	cli_warn(c->argv[0], strerror(error));
	_exit(error == ENOENT ? 127 : 126);
}

static int
serve(struct command *c, struct queue *q, struct address *a, int ready)
{
	int status = EXIT_YES;
	struct supervise s = { .q = q, .gateway = &c->gateway, .address = a,
	    .socket_mode = c->queue_flags & QUEUE_GROUP ? 0660 : 0600,
	    .ready_fd = ready, .command_arg = c, .command_status = &status,
	    .command = c->argv != NULL ? become_command : NULL };
	sigset_t unblocked;
	const char *what;

	cli_catch_stop(&unblocked);
	if (supervise_run(&s, &cli_stop, &unblocked, &what) == 0)
		return status;
	/* The caller is to see why, not the log. */
	if (c->argv != NULL)
		(void)dup2(c->standard[2], STDERR_FILENO);
	/* Of its lock; that of a fork is too many processes. */
	if (errno == EAGAIN && what != NULL)
		cli_fail(EXIT_NO, c->dir, "another gateway serves this queue");
	if (errno == ECHILD)
		cli_fail(EXIT_LATER, c->dir, "the server keeps crashing");
	cli_fail_errno(what != NULL ? what : c->dir);
}

/* logs/bridge.log, appended to; never through a link. */
static int
open_log(const struct queue *q)
{
	int dir, fd;

	(void)mkdirat(q->root, "logs", q->flags & QUEUE_GROUP ? 0770 : 0700);
	dir = openat(q->root, "logs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	if (dir == -1)
		return -1;
	fd = openat(dir, "bridge.log", O_RDWR | O_APPEND | O_CREAT |
	    O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
	    q->flags & QUEUE_GROUP ? 0660 : 0600);
	io_close(dir);
	return fd;
}

/* What the log says from there on, which is why it did not start. */
static void
show_log(int log, off_t from)
{
	char text[4096];
	ssize_t n = pread(log, text, sizeof(text), from);

	if (n > 0)
		(void)io_write_all(STDERR_FILENO, text, (size_t)n);
}

/* From here on it is the log that is written to, and nothing is read. */
static void
leave_standard(int log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null != -1)
		(void)dup2(null, STDIN_FILENO);
	(void)dup2(log, STDOUT_FILENO);
	(void)dup2(log, STDERR_FILENO);
	io_close(null);
	io_close(log);
}

/* In the child: away from the caller's session and descriptors. */
static int
become_daemon(struct command *c, struct queue *q, struct address *a, int log,
    int ready)
{
	(void)setsid();
	leave_standard(log);
	return serve(c, q, a, ready);
}

/* The caller's descriptors are COMMAND's; the gateway has a log. */
static int
serve_command(struct command *c, struct queue *q, struct address *a)
{
	int log = open_log(q), i;

	if (log == -1)
		cli_fail_errno("logs/bridge.log");
	for (i = 0; i < 3; i++)
		if ((c->standard[i] = fcntl(i, F_DUPFD_CLOEXEC, 3)) == -1)
			cli_fail_errno("stdout");
	leave_standard(log);
	return serve(c, q, a, -1);
}

static int
start_daemon(struct command *c, struct queue *q, struct address *a)
{
	struct buf ready = { 0 };
	int log = open_log(q), ends[2];
	int status;
	off_t from;
	pid_t pid;

	if (log == -1)
		cli_fail_errno("logs/bridge.log");
	from = lseek(log, 0, SEEK_END);
	if (pipe2(ends, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		cli_fail_errno("fork");
	if (pid == 0) {
		close(ends[0]);
		_exit(become_daemon(c, q, a, log, ends[1]));
	}
	close(ends[1]);
	if (io_read_to_end(ends[0], &ready, 65536) == -1 || ready.len == 0) {
		show_log(log, from);
		buf_free(&ready);
		/* It has said why; a lasting no is passed on. */
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		    (WEXITSTATUS(status) == EXIT_NO ||
		    WEXITSTATUS(status) == EXIT_NEVER))
			return WEXITSTATUS(status);
		cli_fail(EXIT_LATER, c->dir, "the gateway did not start");
	}
	cli_out_buf(&ready);
	buf_free(&ready);
	return EXIT_YES;
}

static int
show_status(const char *dir, const struct queue *q)
{
	struct presence gateway;
	struct buf ready = { 0 };

	if (presence_look(q, &gateway) == -1)
		cli_fail_errno(dir);
	if (!gateway.up)
		return EXIT_NO;
	if (presence_read_ready(q, &ready) == 0)
		cli_out_buf(&ready);
	else if (errno != ENOENT)
		cli_fail_errno(dir);
	buf_free(&ready);
	return EXIT_YES;
}

static int
stop_gateway(const struct command *c, const struct queue *q)
{
	struct presence was;

	switch (presence_stop(q, SUPERVISE_STOP_MS, &was)) {
	case PRESENCE_STOPPED:
		return EXIT_YES;
	case PRESENCE_FOREIGN:
		cli_fail(EXIT_NO, c->dir, "server.pid names a process that "
		    "is not a gateway of this queue: left alone");
	default:
		cli_fail_errno(c->dir);
	}
}

int
main(int argc, char *argv[])
{
	struct command c = { .dir = NULL };
	struct address a;
	struct queue q;
	int status;

	cli_start("pc-serve");
	/* From the queue's opening on all modes are exact. */
	c.mask = umask(0);
	read_environment(&c);
	parse_options(&c, argc, argv);
	if (c.stop || c.status) {
		if (queue_open(&q, c.dir, QUEUE_LOOK) == -1)
			cli_fail_errno(c.dir);
		status = c.stop ? stop_gateway(&c, &q) : show_status(c.dir, &q);
		queue_close(&q);
		return status;
	}
	find_address(&c, &a);
	find_token(&c);
	raise_descriptors(&c.gateway);
	if (c.existing && access(c.dir, F_OK) == -1)
		cli_fail(EXIT_NO, c.dir, strerror(errno));
	if (queue_open(&q, c.dir, c.queue_flags | QUEUE_CREATE) == -1)
		cli_fail_errno(c.dir);
	if (c.daemon)
		status = start_daemon(&c, &q, &a);
	else if (c.argv != NULL)
		status = serve_command(&c, &q, &a);
	else
		status = serve(&c, &q, &a, -1);
	queue_close(&q);
	return status;
}
