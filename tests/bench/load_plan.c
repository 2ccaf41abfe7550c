#include <sys/un.h>

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "load_plan.h"
#include "message.h"
#include "units.h"

#define CLIENTS_MAX	20000
#define CALLS_MAX	UINT64_C(1000000000)
#define SECONDS_MAX	86400
#define BODY_MAX	(64 << 20)

static const char usage_text[] =
    "usage: load [-c CLIENTS] [-n CALLS | -d SECONDS] [-H 'NAME: VALUE']...\n"
    "            [-X METHOD] [-b BODY | -b @FILE] [-t SECONDS] [--unique]\n"
    "            [--verify] [--log FILE] [--json] URL\n"
    "URL: http://HOST[:PORT][/PATH] or unix:SOCKET[:/PATH]\n"
    "  -c, --clients N   calls under way at once (1)\n"
    "  -n, --calls N     calls in all (1000)\n"
    "  -d, --duration S  begin calls for S seconds\n"
    "  -H, --header H    one more request header\n"
    "  -X, --method M    the method (GET; POST with a body)\n"
    "  -b, --body B      the request's body\n"
    "  -t, --timeout S   a call without an answer is an error (60)\n"
    "      --unique      %N in URL, headers and body: the call's own number\n"
    "      --verify      the answer must hold that number (mix-ups else)\n"
    "      --log FILE    a line per call: NUMBER STATUS OUTCOME\n"
    "      --json        the report as one JSON object\n"
    "Exit: 0; 1 after any error or mix-up; 100 usage; 111 cannot start.\n";

static _Noreturn void
usage(const char *reason)
{
	errx(100, "%s\n%s", reason, usage_text);
}

void *
plan_allocated(void *p)
{
	if (p == NULL)
		err(111, NULL);
	return p;
}

static char *
text_of(struct span s)
{
	return plan_allocated(strndup(s.p, s.n));
}

static uint64_t
number_of(const char *arg, uint64_t max)
{
	uint64_t value;

	if (units_parse_number(arg, max, &value) == -1 || value == 0)
		usage("not a number in range");
	return value;
}

/* Seconds, with a fraction, in ns. */
static int64_t
seconds_of(const char *arg)
{
	char *end;
	double seconds = strtod(arg, &end);

	if (end == arg || *end != '\0' ||
	    !(seconds > 0 && seconds <= SECONDS_MAX))
		usage("not a number of seconds");
	return (int64_t)(seconds * 1e9);
}

/* SOCKET[:/PATH] */
static void
parse_unix(struct plan *plan, struct span rest)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&plan->address;
	const char *path = memmem(rest.p, rest.n, ":/", 2);
	struct span file = rest;

	if (path != NULL)
		file.n = (size_t)(path - rest.p);
	if (file.n == 0 || file.n >= sizeof(un->sun_path))
		usage("not a socket's path");
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, file.p, file.n);
	plan->address_len = sizeof(*un);
	plan->authority = text_of(span_of("localhost"));
	plan->path = text_of(span_of(path != NULL ? path + 1 : "/"));
}

/* HOST, HOST:PORT or [HOST]:PORT */
static void
resolve(struct plan *plan, struct span authority)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	struct span port = authority, host;
	char *name, *service;
	int error;

	if (port.n > 0 && port.p[0] == '[') {
		message_cut(&port, '[');
		host = message_cut(&port, ']');
		message_cut(&port, ':');
	} else {
		host = message_cut(&port, ':');
	}
	name = text_of(host);
	service = text_of(port.n > 0 ? port : span_of("80"));
	error = getaddrinfo(name, service, &hints, &found);
	if (error != 0)
		errx(111, "%s: %s", plan->authority, gai_strerror(error));
	memcpy(&plan->address, found->ai_addr, found->ai_addrlen);
	plan->address_len = found->ai_addrlen;
	freeaddrinfo(found);
	free(name);
	free(service);
}

static void
parse_url(struct plan *plan, const char *url)
{
	struct span authority;

	if (strncmp(url, "unix:", 5) == 0) {
		parse_unix(plan, span_of(url + 5));
		return;
	}
	if (strncmp(url, "http://", 7) != 0)
		usage("not a http: or unix: URL");
	authority = (struct span){ url + 7, strcspn(url + 7, "/") };
	plan->authority = text_of(authority);
	plan->path = text_of(span_of(authority.p[authority.n] == '/' ?
	    authority.p + authority.n : "/"));
	resolve(plan, authority);
}

static struct span
read_body(struct plan *plan, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1 || io_read_to_end(fd, &plan->file, BODY_MAX) == -1)
		err(111, "%s", path);
	close(fd);
	return buf_span(&plan->file);
}

static void
parse_option(struct plan *plan, int c, const char *arg)
{
	switch (c) {
	case 'b':
		plan->body = arg[0] == '@' ? read_body(plan, arg + 1) :
		    span_of(arg);
		break;
	case 'c':
		plan->clients = number_of(arg, CLIENTS_MAX);
		break;
	case 'd':
		plan->duration = seconds_of(arg);
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(0);
	case 'H':
		buf_add_str(&plan->headers, arg);
		buf_add_str(&plan->headers, "\r\n");
		break;
	case 'J':
		plan->json = true;
		break;
	case 'L':
		plan->log = fopen(arg, "we");
		if (plan->log == NULL)
			err(111, "%s", arg);
		break;
	case 'n':
		plan->calls = number_of(arg, CALLS_MAX);
		break;
	case 't':
		plan->timeout = seconds_of(arg);
		break;
	case 'U':
		plan->unique = true;
		break;
	case 'V':
		plan->verify = true;
		break;
	case 'X':
		plan->method = arg;
		break;
	default:
		usage("unknown option");
	}
}

/* Appends s; at every %N the number, whose place is noted. */
static void
add_marked(struct plan *plan, struct buf *out, struct span s)
{
	const char *mark;
	size_t n;

	while (plan->unique && s.n > 0 &&
	    (mark = memmem(s.p, s.n, "%N", 2)) != NULL) {
		if (plan->nmarks == PLAN_MARKS_MAX)
			usage("too many %N");
		n = (size_t)(mark - s.p);
		buf_add(out, s.p, n);
		plan->marks[plan->nmarks++] = out->len;
		buf_add_int(out, (int64_t)PLAN_NUMBER_FIRST);
		s = (struct span){ mark + 2, s.n - n - 2 };
	}
	buf_add_span(out, s);
}

/* The body first, since its length with the numbers stands in the head. */
static void
build_request(struct plan *plan)
{
	struct buf *out = &plan->request, body = { 0 };
	size_t body_marks, i;

	add_marked(plan, &body, plan->body);
	body_marks = plan->nmarks;
	buf_add_str(out, plan->method);
	buf_add_char(out, ' ');
	add_marked(plan, out, span_of(plan->path));
	buf_add_str(out, " HTTP/1.1\r\nhost: ");
	buf_add_str(out, plan->authority);
	buf_add_str(out, "\r\n");
	add_marked(plan, out, buf_span(&plan->headers));
	if (plan->body.p != NULL) {
		buf_add_str(out, "content-length: ");
		buf_add_int(out, (int64_t)body.len);
		buf_add_str(out, "\r\n");
	}
	buf_add_str(out, "\r\n");
	for (i = 0; i < body_marks; i++)
		plan->marks[i] += out->len;
	buf_add_span(out, buf_span(&body));
	if (buf_failed(out) || buf_failed(&body) || buf_failed(&plan->headers))
		errx(111, "out of memory");
	buf_free(&body);
}

void
plan_parse(struct plan *plan, int argc, char *argv[])
{
	static const struct option options[] = {
		{ "body", required_argument, NULL, 'b' },
		{ "calls", required_argument, NULL, 'n' },
		{ "clients", required_argument, NULL, 'c' },
		{ "duration", required_argument, NULL, 'd' },
		{ "header", required_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'J' },
		{ "log", required_argument, NULL, 'L' },
		{ "method", required_argument, NULL, 'X' },
		{ "timeout", required_argument, NULL, 't' },
		{ "unique", no_argument, NULL, 'U' },
		{ "verify", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	plan->clients = 1;
	plan->timeout = INT64_C(60000000000);
	while ((c = getopt_long(argc, argv, "b:c:d:hH:n:t:X:", options,
	    NULL)) != -1)
		parse_option(plan, c, optarg);
	if (argc - optind != 1)
		usage("one URL is needed");
	if (plan->calls > 0 && plan->duration > 0)
		usage("either -n or -d");
	if (plan->calls == 0 && plan->duration == 0)
		plan->calls = 1000;
	if (plan->method == NULL)
		plan->method = plan->body.p != NULL ? "POST" : "GET";
	plan->is_head = strcmp(plan->method, "HEAD") == 0;
	parse_url(plan, argv[optind]);
	build_request(plan);
	if ((plan->verify && !plan->unique) ||
	    (plan->unique && plan->nmarks == 0))
		usage("--verify needs --unique, and that a %N");
}

void
plan_free(struct plan *plan)
{
	free(plan->authority);
	free(plan->path);
	buf_free(&plan->file);
	buf_free(&plan->headers);
	buf_free(&plan->request);
}
