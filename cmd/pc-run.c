/*
 * pc-run - one agent run in a sandbox, through nothing but an exec channel.
 *
 * Guarantees: whatever fails, the agent is ended, its changes are brought
 * back, and the sandbox is left with nothing but its runtime folder; no token
 * is in an argument list, a line of events or a message.
 */
#include <sys/resource.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "io.h"
#include "lock.h"
#include "run.h"
#include "run_lease.h"
#include "sha256.h"

#define CONFIG_MAX	(4 << 20)
#define SHOW_MS		200		/* between two looks of a person */

static const char help[] =
"usage: pc-run [-c CONFIG] [OPTION...] [--channel CMD [ARG...]]\n"
"              -- COMMAND [ARG...]\n"
"       pc-run --identity | --resume FILE [-c CONFIG] [--channel CMD...]\n"
"Runs COMMAND, an agent, in the sandbox behind an exec channel.\n"
"  -C, --directory DIR   the workspace on the host; without it, none\n"
"  -c, --config FILE     what pc-run(5) says\n"
"  -h, --help            this text\n"
"  -u, --url URL         the API; without it, no gateway\n"
"  -V, --version\n"
"      --channel CMD...  runs programs in the sandbox; up to --\n"
"      --dry-run         print what would be executed\n"
"      --env NAME        of pc-lease: a lease of it, and its channel\n"
"      --epoch N         of its drains; it only grows (the time)\n"
"      --events FILE     what happens, a line of JSON each; - is stdout\n"
"      --identity        print what must be the same for a session\n"
"      --remote DIR      the workspace in the sandbox (/tmp/pc-workspace)\n"
"      --resume FILE     is this identity the saved one? else exit 1\n"
"      --rules RULES     of pc-allow (@default)\n"
"      --run-id ID       sent to the API\n"
"      --token-file FILE the API's token ($PC_API_TOKEN)\n";

enum {
	OPT_CHANNEL = 256, OPT_DRY_RUN, OPT_ENV, OPT_EPOCH, OPT_EVENTS,
	OPT_IDENTITY, OPT_LEASED, OPT_REMOTE, OPT_RESUME, OPT_RULES,
	OPT_RUN_ID, OPT_TOKEN_FILE
};

static const struct option options[] = {
	{ "channel", no_argument, NULL, OPT_CHANNEL },
	{ "config", required_argument, NULL, 'c' },
	{ "directory", required_argument, NULL, 'C' },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "env", required_argument, NULL, OPT_ENV },
	{ "epoch", required_argument, NULL, OPT_EPOCH },
	{ "events", required_argument, NULL, OPT_EVENTS },
	{ "help", no_argument, NULL, 'h' },
	{ "identity", no_argument, NULL, OPT_IDENTITY },
	{ "leased", required_argument, NULL, OPT_LEASED },
	{ "remote", required_argument, NULL, OPT_REMOTE },
	{ "resume", required_argument, NULL, OPT_RESUME },
	{ "rules", required_argument, NULL, OPT_RULES },
	{ "run-id", required_argument, NULL, OPT_RUN_ID },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "url", required_argument, NULL, 'u' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct args {
	struct texts channel;		/* --channel */
	char **command;
	const char *config, *events, *resume;
	char *env, *local, *remote, *url, *rules, *run_id, *token_file;
	uint64_t epoch;
	bool dry, identity, leased;
	int handed;			/* --leased: has the configuration */
};

/*
 * The words of the channel, from argv[at] to a "--" that is not followed by
 * another one: those of kubectl end with one themselves.  Where it ended.
 */
static int
take_channel(struct args *a, int argc, char *argv[], int at)
{
	int n = 0;

	a->channel.v = argv + at;
	while (at + n < argc && (strcmp(argv[at + n], "--") != 0 ||
	    (at + n + 1 < argc && strcmp(argv[at + n + 1], "--") == 0)))
		n++;
	if (n == 0)
		cli_usage("--channel needs a command");
	a->channel.n = (size_t)n;
	return at + n;
}

static void
parse_options(struct args *a, int argc, char *argv[])
{
	int opt;

	while ((opt = getopt_long(argc, argv, "+:C:c:hu:V", options,
	    NULL)) != -1)
		switch (opt) {
		case 'C':
			a->local = optarg;
			break;
		case 'c':
			a->config = optarg;
			break;
		case 'h':
			cli_help(help);
		case 'u':
			a->url = optarg;
			break;
		case 'V':
			cli_version();
		case OPT_CHANNEL:
			optind = take_channel(a, argc, argv, optind);
			break;
		case OPT_DRY_RUN:
			a->dry = true;
			break;
		case OPT_ENV:
			a->env = optarg;
			break;
		case OPT_EPOCH:
			a->epoch = cli_number("--epoch", optarg,
			    UINT64_MAX / 4);
			break;
		case OPT_EVENTS:
			a->events = optarg;
			break;
		case OPT_IDENTITY:
			a->identity = true;
			break;
		case OPT_LEASED:
			a->leased = true;
			a->handed = (int)cli_number("--leased", optarg,
			    INT_MAX);
			break;
		case OPT_REMOTE:
			a->remote = optarg;
			break;
		case OPT_RESUME:
			a->resume = optarg;
			break;
		case OPT_RULES:
			a->rules = optarg;
			break;
		case OPT_RUN_ID:
			a->run_id = optarg;
			break;
		case OPT_TOKEN_FILE:
			a->token_file = optarg;
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	if (optind < argc)
		a->command = argv + optind;
	if (a->command == NULL && !a->identity && a->resume == NULL)
		cli_usage("no command: -- COMMAND [ARG...]");
}

static void
read_open(const char *name, int fd, struct buf *b)
{
	if (fd == -1)
		cli_fail(EXIT_NEVER, name, strerror(errno));
	if (io_read_to_end(fd, b, CONFIG_MAX) == -1)
		cli_fail(EXIT_NEVER, name, strerror(errno));
	io_close(fd);
	if (b->len == 0)
		cli_fail(EXIT_NEVER, name, "empty");
}

static void
read_file(const char *name, struct buf *b)
{
	read_open(name, open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY), b);
}

/* A fault of the configuration, with its file before the key. */
static _Noreturn void
fail_config(const struct args *a, struct fault *f)
{
	char *object = NULL;

	if (f->object.len > 0 && asprintf(&object, "%s%s%.*s",
	    a->config != NULL ? a->config : "", a->config != NULL ? ": " : "",
	    (int)f->object.len, f->object.data) == -1)
		object = NULL;
	if (f->kind == FAULT_SYSTEM)
		cli_fail_fault(f);
	cli_fail(EXIT_NEVER, object != NULL ? object : a->config, f->reason);
}

/* text becomes what the file says. */
static void
read_config(const struct args *a, struct runconfig *c, struct buf *text)
{
	struct fault f = { .kind = FAULT_NONE };

	if (a->leased && a->config == NULL)
		io_close(a->handed);
	else if (a->leased)
		read_open(a->config, a->handed, text);
	else if (a->config != NULL)
		read_file(a->config, text);
	if (runconfig_read(c, buf_span(text), &f) == -1)
		fail_config(a, &f);
	if (a->channel.n > 0)
		c->channel.argv = a->channel;
	if (a->local != NULL)
		c->workspace.local = a->local;
	if (a->remote != NULL)
		c->workspace.remote = a->remote;
	if (a->url != NULL)
		c->api.url = a->url;
	if (a->rules != NULL)
		c->api.rules = a->rules;
	if (a->run_id != NULL)
		c->api.run_id = a->run_id;
	if (a->token_file != NULL)
		c->api.token_file = a->token_file;
	if (a->env != NULL)
		c->lease.environment = a->env;
}

/* Says what failed, here and to who holds the lease. */
static void
say_failure(const struct run_lease *l, const char *phase, const char *why)
{
	char *words = run_lease_words(l, phase, why);

	cli_warn(NULL, words);
	run_lease_tell_failure(l, words);
	free(words);
}

/* What the file, options, and an environment say, and the defaults. */
static void
configure(struct args *a, struct runconfig *c, struct run_lease *l,
    const char *folder, char *argv[])
{
	struct fault f = { .kind = FAULT_NONE };
	struct buf text = { .data = NULL };

	read_config(a, c, &text);
	if (a->leased)
		run_lease_take(l, c, &a->epoch);
	else if (c->lease.environment != NULL && (a->dry || a->identity ||
	    a->command == NULL))
		run_lease_look(l, c, folder);
	else if (c->lease.environment != NULL)
		run_lease_become(c, buf_span(&text), folder, argv);
	if (c->channel.argv.n == 0 && l->name != NULL) {
		say_failure(l, "transport", "it has no channel");
		exit(EXIT_NEVER);
	}
	if (runconfig_settle(c, &f) == -1)
		fail_config(a, &f);
	buf_free(&text);
}

static int
show_identity(const struct runconfig *c)
{
	struct buf line = { .data = NULL };

	runconfig_put_identity(&line, c);
	cli_out_buf(&line);
	return EXIT_YES;
}

/* Silence when the session may be taken up. */
static void
check_resume(const struct args *a, const struct runconfig *c)
{
	struct fault f = { .kind = FAULT_NONE };
	struct buf text = { .data = NULL };
	const char *key;

	read_file(a->resume, &text);
	if (runconfig_compare(c, buf_span(&text), &key, &f) == -1)
		cli_fail(EXIT_NEVER, a->resume, "not an identity");
	if (key != NULL)
		cli_fail(EXIT_NO, key, "differs from the saved session's");
	buf_free(&text);
}

/* --- the host's state ------------------------------------------------------- */

static void
add_state_home(struct buf *path, const struct runconfig *c)
{
	const char *home = getenv("XDG_STATE_HOME"), *sub = "";

	if (c->state != NULL) {
		buf_add_str(path, c->state);
		return;
	}
	if (home == NULL || home[0] != '/') {
		home = getenv("HOME");
		sub = "/.local/state";
	}
	if (home == NULL || home[0] != '/')
		cli_fail(EXIT_NEVER, "HOME", "no place for a run's state; "
		    "set XDG_STATE_HOME");
	buf_add_str(path, home);
	buf_add_str(path, sub);
	buf_add_str(path, "/pc-tools/run");
}

/* A folder for this identity and this workspace; made, and locked. */
static char *
open_state(const struct runconfig *c, bool dry)
{
	struct buf path = { .data = NULL }, key = { .data = NULL };
	char hex[SHA256_HEX_SIZE], *real = NULL;
	uint8_t sum[SHA256_SIZE];
	struct sha256 s;
	int lock, dir;

	if (c->workspace.local != NULL &&
	    (real = realpath(c->workspace.local, NULL)) == NULL)
		cli_fail(EXIT_NEVER, c->workspace.local, strerror(errno));
	runconfig_put_identity(&key, c);
	buf_add_str(&key, c->adapter);
	buf_add_char(&key, '\0');
	buf_add_str(&key, real != NULL ? real : "");
	free(real);
	sha256_init(&s);
	sha256_add(&s, key.data, key.len);
	sha256_end(&s, sum);
	sha256_hex(sum, hex);
	add_state_home(&path, c);
	buf_add_char(&path, '/');
	buf_add(&path, hex, 32);
	buf_add_char(&path, '\0');
	if (buf_failed(&key) || buf_failed(&path))
		cli_fail_memory(EXIT_LATER);
	buf_free(&key);
	if (dry)
		return path.data;
	if (cli_make_folders(path.data, 0700) == -1 ||
	    (dir = open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		cli_fail_errno(path.data);
	switch (lock_acquire(dir, "lock", LOCK_EXCLUSIVE, 0, &lock)) {
	case LOCK_TAKEN:
		break;
	case LOCK_BUSY:
		cli_fail(EXIT_NO, path.data,
		    "another pc-run has this sandbox and workspace");
	default:
		cli_fail_errno(path.data);
	}
	io_close(dir);
	return path.data;
}

/* --- what is told ----------------------------------------------------------- */

struct shown {
	const struct run_lease *lease;
	int events;		/* -1: to nobody */
	bool line;		/* of state, on the terminal */
	int64_t began;
};

static void
put_event(struct shown *s, const char *step, const char *what,
    struct span members)
{
	char now[CLOCK_TEXT_SIZE];
	struct buf line = { .data = NULL };

	clock_format(clock_wall_ms(), now);
	buf_add_str(&line, "{\"time\":\"");
	buf_add_str(&line, now);
	buf_add_str(&line, "\",\"step\":");
	json_put_string(&line, span_of(step));
	buf_add_str(&line, ",\"event\":");
	json_put_string(&line, span_of(what));
	if (members.n > 0) {
		buf_add_char(&line, ',');
		buf_add_span(&line, members);
	}
	buf_add_str(&line, "}\n");
	/* The run is what matters: who reads its events may have gone. */
	if (!buf_failed(&line) &&
	    io_write_all(s->events, line.data, line.len) == -1)
		s->events = -1;
	buf_free(&line);
}

static void
tell_event(void *arg, const char *step, const char *what, struct span members)
{
	struct shown *s = arg;

	if (s->events != -1)
		put_event(s, step, what, members);
	if (strcmp(what, "realized") == 0)
		run_lease_tell_places(s->lease, members);
}

static void
print_would(void *arg, struct span line)
{
	(void)arg;
	cli_out(line);
}

/* One line of state, for a person. */
static void
show_state(void *arg, const char *phase, uint64_t requests, uint64_t bytes)
{
	struct shown *s = arg;
	int64_t now = clock_mono_ms();
	char line[128];
	int n;

	n = snprintf(line, sizeof(line), "\r\033[K%s  %llu requests  "
	    "%.1f MB  %lld:%02lld", phase, (unsigned long long)requests,
	    (double)bytes / 1e6, (long long)((now - s->began) / 60000),
	    (long long)((now - s->began) / 1000 % 60));
	if (n > 0)
		(void)io_write_all(STDERR_FILENO, line, (size_t)n);
	s->line = true;
}

static void
end_state(struct shown *s)
{
	if (s->line)
		(void)io_write_all(STDERR_FILENO, "\r\033[K", 4);
}

static int
open_events(const struct args *a)
{
	int fd;

	if (a->events == NULL)
		return -1;
	if (strcmp(a->events, "-") == 0)
		return STDOUT_FILENO;
	fd = open(a->events, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
	    O_NOCTTY, 0600);
	if (fd == -1)
		cli_fail_errno(a->events);
	return fd;
}

/* The folder that we are in: the other programs of the host are beside us. */
static char *
own_folder(void)
{
	char *path = realpath("/proc/self/exe", NULL);

	if (path == NULL)
		cli_fail_errno("/proc/self/exe");
	return dirname(path);
}

int
main(int argc, char *argv[])
{
	struct rlimit no_core = { 0, 0 };
	struct args a = { .config = NULL };
	struct run_lease lease = { .fd = -1 };
	struct shown shown = { .lease = &lease };
	struct runconfig c;
	struct run_options o;
	struct run_end end;
	char *folder, *state;

	cli_start("pc-run");
	/* A token must not get to a disk that way. */
	(void)setrlimit(RLIMIT_CORE, &no_core);
	parse_options(&a, argc, argv);
	folder = own_folder();
	configure(&a, &c, &lease, folder, argv);
	if (a.identity)
		return show_identity(&c);
	if (a.resume != NULL) {
		check_resume(&a, &c);
		if (a.command == NULL)
			return EXIT_YES;
	}
	state = open_state(&c, a.dry);
	shown.events = open_events(&a);
	shown.began = clock_mono_ms();
	o = (struct run_options){ .config = &c, .command = a.command,
	    .tools = folder, .state = state, .dry = a.dry,
	    .epoch = a.epoch != 0 ? a.epoch :
	    (uint64_t)clock_wall_ms() * 1000, .event = tell_event,
	    .would = print_would,
	    .warn = cli_warn, .show = show_state, .arg = &shown,
	    .show_ms = isatty(STDERR_FILENO) == 1 ? SHOW_MS : 0 };
	if (run_agent(&o, &end) == -1)
		cli_fail_errno("run");
	end_state(&shown);
	if (end.message.len > 0) {
		buf_add_char(&end.message, '\0');
		say_failure(&lease, end.phase, buf_failed(&end.message) ?
		    strerror(ENOMEM) : end.message.data);
	}
	runconfig_free(&c);
	return end.status;
}
