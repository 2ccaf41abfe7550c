/*
 * pc-forward - request lines in, response lines from an HTTP API out.
 *
 * Guarantees: an unsafe request is sent at most once, every request is
 * answered with what is true of it, and nothing goes to another host.
 * Assumes: what may be requested has been decided before (pc-allow).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include "apiurl.h"
#include "ascii.h"
#include "cli.h"
#include "io.h"
#include "relay.h"

#define TOKEN_MAX	8192
#define KEEP_MAX	32	/* --header-keep */

static const char help[] =
"usage: pc-forward -u URL [-j N] [-m SIZE] [-t DURATION] [--ca-file FILE]\n"
"       [--header-keep NAME]... [--keep-alive DURATION] [--run-id ID]\n"
"       [--token-file FILE]\n"
"Sends request lines from stdin to an API, prints its response lines, and\n"
"passes all other lines on.\n"
"  -h, --help             this text\n"
"  -j, --in-flight N      calls at once (16)\n"
"  -m, --max-body SIZE    limit of a response body (256K)\n"
"  -t, --timeout DURATION of a call, less 2s for its way back (30s)\n"
"  -u, --url URL          http://, https:// or unix:SOCKET[:/PATH]\n"
"  -V, --version\n"
"      --ca-file FILE     certificate authorities, instead of the system's\n"
"      --header-keep NAME pass on this response header, too\n"
"      --keep-alive DURATION  an empty line after so long without any (0)\n"
"      --run-id ID        sent as x-paperclip-run-id\n"
"      --token-file FILE  the API's token ($PC_API_TOKEN)\n";

enum {
	OPT_CA_FILE = 256, OPT_HEADER_KEEP, OPT_KEEP_ALIVE, OPT_RUN_ID,
	OPT_TOKEN_FILE
};

static const struct option options[] = {
	{ "ca-file", required_argument, NULL, OPT_CA_FILE },
	{ "header-keep", required_argument, NULL, OPT_HEADER_KEEP },
	{ "help", no_argument, NULL, 'h' },
	{ "in-flight", required_argument, NULL, 'j' },
	{ "keep-alive", required_argument, NULL, OPT_KEEP_ALIVE },
	{ "max-body", required_argument, NULL, 'm' },
	{ "run-id", required_argument, NULL, OPT_RUN_ID },
	{ "timeout", required_argument, NULL, 't' },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "url", required_argument, NULL, 'u' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct command {
	struct relay_options relay;
	const char *token_file;
	const char *keep[KEEP_MAX];
};

static const char *
check_url(const char *arg)
{
	struct apiurl url;
	const char *fault = apiurl_parse(&url, span_of(arg));

	if (fault != NULL)
		cli_fail(EXIT_NEVER, "-u", fault);
	return arg;
}

static const char *
check_run_id(const char *arg)
{
	if (*arg == '\0' || !header_value_is_valid(span_of(arg)))
		cli_fail(EXIT_NEVER, "--run-id", "not a header's value");
	return arg;
}

/* Libcurl would say so only when it connects. */
static const char *
check_ca_file(const char *arg)
{
	if (access(arg, R_OK) == -1)
		cli_fail(EXIT_NEVER, arg, strerror(errno));
	return arg;
}

static int64_t
check_timeout(const char *arg)
{
	int64_t ms = cli_duration("-t", arg);

	if (ms > 0 && ms <= DISPATCH_MARGIN_MS)
		cli_fail(EXIT_NEVER, "-t",
		    "2s of it are the answer's way back: nothing is left");
	return ms;
}

static void
keep_header(struct command *c, char *name)
{
	struct forward_options *api = &c->relay.dispatch.api;
	char *p;

	for (p = name; *p != '\0'; p++)
		*p = ascii_lower(*p);
	if (!outbound_may_return(span_of(name)))
		cli_fail(EXIT_NEVER, name, "cannot be passed on");
	if (api->nkeep == KEEP_MAX)
		cli_fail(EXIT_NEVER, "--header-keep", "too many");
	c->keep[api->nkeep++] = name;
}

static void
parse_options(struct command *c, int argc, char *argv[])
{
	struct forward_options *api = &c->relay.dispatch.api;
	int opt;

	while ((opt = getopt_long(argc, argv, ":hj:m:t:u:V", options,
	    NULL)) != -1)
		switch (opt) {
		case 'h':
			cli_help(help);
		case 'j':
			api->in_flight_max = cli_count("-j", optarg,
			    DISPATCH_IN_FLIGHT_MAX);
			break;
		case 'm':
			api->body_max = cli_body_max(optarg);
			break;
		case 't':
			c->relay.dispatch.timeout_ms = check_timeout(optarg);
			break;
		case 'u':
			api->url = check_url(optarg);
			break;
		case 'V':
			cli_version();
		case OPT_CA_FILE:
			api->ca_file = check_ca_file(optarg);
			break;
		case OPT_HEADER_KEEP:
			keep_header(c, optarg);
			break;
		case OPT_KEEP_ALIVE:
			c->relay.keep_alive_ms = cli_duration("--keep-alive",
			    optarg);
			break;
		case OPT_RUN_ID:
			api->run_id = check_run_id(optarg);
			break;
		case OPT_TOKEN_FILE:
			c->token_file = optarg;
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	if (optind != argc)
		cli_usage("no operands");
	if (api->url == NULL)
		cli_usage("-u is needed");
}

/* Takes the value out of the environment, also as others see it in /proc. */
static void
take_token_from_env(struct buf *token)
{
	char *value = getenv("PC_API_TOKEN");

	if (value == NULL)
		return;
	buf_add_str(token, value);
	explicit_bzero(value, strlen(value));
	unsetenv("PC_API_TOKEN");
}

static void
read_token_file(const char *file, struct buf *token)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd == -1 || io_read_to_end(fd, token, TOKEN_MAX) == -1)
		cli_fail_input(file);
	io_close(fd);
	if (token->len > 0 && token->data[token->len - 1] == '\n')
		token->len--;
}

/* The environment is rid of its token even when the file is used. */
static void
read_token(const char *file, struct buf *token)
{
	take_token_from_env(token);
	if (file != NULL) {
		buf_reset(token, 0);
		read_token_file(file, token);
	}
	if (token->len == 0)
		cli_fail(EXIT_NEVER, file != NULL ? file : "PC_API_TOKEN",
		    file != NULL ? "an empty token" :
		    "no token: set it, or give --token-file FILE");
	if (!header_value_is_valid(buf_span(token)))
		cli_fail(EXIT_NEVER, file != NULL ? file : "PC_API_TOKEN",
		    "a token with bytes that cannot be in a header");
	buf_add_char(token, '\0');
	if (buf_failed(token))
		cli_fail_errno("token");
}

int
main(int argc, char *argv[])
{
	static struct command c;
	struct dispatch_options *o = &c.relay.dispatch;
	struct buf token = { 0 };
	enum relay_result result;
	sigset_t unblocked;

	cli_start("pc-forward");
	o->api.in_flight_max = DISPATCH_IN_FLIGHT;
	o->api.body_max = cli_env_body_max();
	o->api.keep = c.keep;
	o->timeout_ms = DISPATCH_TIMEOUT_MS;
	o->warn = cli_warn;
	parse_options(&c, argc, argv);
	read_token(c.token_file, &token);
	o->api.token = token.data;
	cli_catch_stop(&unblocked);
	result = relay_run(&c.relay, STDIN_FILENO, STDOUT_FILENO, &cli_stop,
	    &unblocked);
	buf_free(&token);
	switch (result) {
	case RELAY_ENDED:
		return EXIT_YES;
	case RELAY_STOPPED:
		return 128 + cli_stop;
	case RELAY_NO_INPUT:
		cli_fail(EXIT_LATER, "stdin", strerror(errno));
	case RELAY_NO_OUTPUT:
		cli_fail(EXIT_LATER, "stdout", strerror(errno));
	default:
		cli_fail(EXIT_LATER, "API", strerror(errno));
	}
}
