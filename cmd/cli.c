#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ascii.h"
#include "buf.h"
#include "cli.h"
#include "id.h"
#include "io.h"
#include "units.h"

/* Six times that, a record's longest line, is still a length for jsmn. */
#define BODY_LIMIT (256 << 20)

static const char *tool_name = "pc-tools";

void
cli_start(const char *tool)
{
	tool_name = tool;
	if (io_guard_standard() == -1)
		_exit(EXIT_LATER);
	signal(SIGPIPE, SIG_IGN);
	/* Its own words would show what comes from outside as it is. */
	opterr = 0;
}

/*
 * What is said when there is no memory left, too.  Room for a path whose every
 * byte is escaped, and for the reason; what is longer ends early.
 */
struct message {
	size_t len;
	char text[4 * PATH_MAX + 4096];
};

static void
add(struct message *m, const char *s)
{
	/* One byte stays for the newline. */
	size_t n = strlen(s), room = sizeof(m->text) - 1 - m->len;

	if (n > room)
		n = room;
	memcpy(m->text + m->len, s, n);
	m->len += n;
}

/* As it is shown: itself, or \xHH. */
static const char *
escape(char byte, char piece[static 5])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)byte;

	if (c >= 0x20 && c < 0x7f && c != '\\')
		(void)snprintf(piece, 5, "%c", c);
	else
		(void)snprintf(piece, 5, "\\x%c%c", hex[c >> 4], hex[c & 15]);
	return piece;
}

static void
add_escaped(struct message *m, const char *s)
{
	char piece[5];

	for (; *s != '\0'; s++)
		add(m, escape(*s, piece));
}

void
cli_put_escaped(struct buf *out, const char *s)
{
	char piece[5];

	for (; *s != '\0'; s++)
		buf_add_str(out, escape(*s, piece));
}

static void
say(struct message *m)
{
	m->text[m->len++] = '\n';
	(void)io_write_all(STDERR_FILENO, m->text, m->len);
}

void
cli_warn(const char *object, const char *reason)
{
	struct message line;

	line.len = 0;
	add(&line, tool_name);
	add(&line, ": ");
	if (object != NULL) {
		add_escaped(&line, object);
		add(&line, ": ");
	}
	add_escaped(&line, reason);
	say(&line);
}

void
cli_name(const char *name, const char *text)
{
	struct message line;

	line.len = 0;
	add_escaped(&line, name);
	if (text != NULL) {
		add(&line, ": ");
		add_escaped(&line, text);
	}
	say(&line);
}

_Noreturn void
cli_fail(int status, const char *object, const char *reason)
{
	cli_warn(object, reason);
	exit(status);
}

_Noreturn void
cli_fail_errno(const char *object)
{
	int error = errno;

	cli_fail(error == EINVAL || error == ENOTDIR || error == EISDIR ||
	    error == ELOOP || error == ENAMETOOLONG ? EXIT_NEVER : EXIT_LATER,
	    object, strerror(error));
}

_Noreturn void
cli_fail_input(const char *file)
{
	int error = errno;

	cli_fail(error == ENOMEM || error == EIO || error == EMFILE ||
	    error == ENFILE || error == EINTR ? EXIT_LATER : EXIT_NEVER,
	    file, strerror(error));
}

/*
 * An object as a string; a NUL in it ends it, which no path has.  Without
 * memory for it, that is what is said.
 */
static const char *
object_text(struct fault *f)
{
	if (f->object.len == 0 && !f->object.failed)
		return f->kind == FAULT_SYSTEM && f->error == ENOMEM ?
		    "memory" : NULL;
	buf_add_char(&f->object, '\0');
	return buf_failed(&f->object) ? "memory" : f->object.data;
}

_Noreturn void
cli_fail_fault(struct fault *f)
{
	const char *object = object_text(f);

	switch (f->kind) {
	case FAULT_INPUT:
		cli_fail(EXIT_NEVER, object, f->reason);
	case FAULT_CUT:
	case FAULT_BUSY:
		cli_fail(EXIT_LATER, object, f->reason);
	case FAULT_SYSTEM:
	case FAULT_NONE:
		break;
	}
	/* What may not be read will not be readable next time. */
	if (f->error == EACCES || f->error == EPERM)
		cli_fail(EXIT_NEVER, object, strerror(f->error));
	errno = f->error;
	cli_fail_errno(object);
}

_Noreturn void
cli_fail_memory(int status)
{
	cli_fail(status, "memory", strerror(ENOMEM));
}

_Noreturn void
cli_help(const char *text)
{
	cli_out(span_of(text));
	exit(EXIT_YES);
}

_Noreturn void
cli_version(void)
{
	cli_out(span_of(tool_name));
	cli_out(span_of(" " PC_VERSION "\n"));
	exit(EXIT_YES);
}

_Noreturn void
cli_usage(const char *reason)
{
	cli_fail(EXIT_NEVER, "usage", reason);
}

_Noreturn void
cli_bad_option(int found, char *const argv[], const struct option *options)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	const char *object = argv[optind - 1];

	/* musl takes the value that is not there for one. */
	if (object == NULL && optind > 1)
		object = argv[optind - 2];
	if (found == ':')
		cli_fail(EXIT_NEVER, object, "needs a value");
	for (; options->name != NULL; options++)
		if (options->val == optopt)
			cli_fail(EXIT_NEVER, object, "takes no value");
	/* A letter may be one of several in its word. */
	cli_fail(EXIT_NEVER, optopt != 0 ? letter : object, "unknown option");
}

_Noreturn void
cli_foreign_option(int option, const struct option *options,
    const char *command)
{
	char name[64], reason[64];

	while (options->val != option)
		options++;
	(void)snprintf(name, sizeof(name), "--%s", options->name);
	(void)snprintf(reason, sizeof(reason), "not an option of %s", command);
	cli_fail(EXIT_NEVER, name, reason);
}

int64_t
cli_duration(const char *option, const char *arg)
{
	int64_t ms;

	if (units_parse_duration(arg, &ms) == -1)
		cli_fail(EXIT_NEVER, option,
		    "not a duration like 250ms, 10s, 5m, 1h");
	return ms;
}

uint64_t
cli_size(const char *option, const char *arg)
{
	uint64_t bytes;

	if (units_parse_size(arg, &bytes) == -1)
		cli_fail(EXIT_NEVER, option, "not a size like 512, 64K, 10M");
	return bytes;
}

uint64_t
cli_number(const char *option, const char *arg, uint64_t max)
{
	uint64_t value;

	if (units_parse_number(arg, max, &value) == -1)
		cli_fail(EXIT_NEVER, option, "not a number in range");
	return value;
}

uint64_t
cli_count(const char *option, const char *arg, uint64_t max)
{
	uint64_t value = cli_number(option, arg, max);

	if (value == 0)
		cli_fail(EXIT_NEVER, option, "at least 1");
	return value;
}

size_t
cli_body_max(const char *arg)
{
	uint64_t bytes = cli_size("-m", arg);

	if (bytes == 0 || bytes > BODY_LIMIT)
		cli_fail(EXIT_NEVER, "-m", "a body limit is 1 to 256M");
	return bytes;
}

size_t
cli_env_body_max(void)
{
	return cli_env_number("PAPERCLIP_BRIDGE_MAX_BODY_BYTES",
	    RECORD_BODY_MAX, BODY_LIMIT);
}

int64_t
cli_env_poll_ms(void)
{
	return (int64_t)cli_env_number("PAPERCLIP_BRIDGE_POLL_INTERVAL_MS",
	    100, 60000);
}

bool
cli_env_claims(void)
{
	return cli_env_number("PAPERCLIP_BRIDGE_CLAIMS", 0, 1) == 1;
}

int64_t
cli_request_timeout(const char *arg)
{
	int64_t ms = cli_duration("-t", arg);

	if (ms > RECORD_TIMEOUT_MAX)
		cli_fail(EXIT_NEVER, "-t", "at most 10m");
	return ms > 0 ? ms : RECORD_TIMEOUT_MAX;
}

const char *
cli_queue_dir(const char *option)
{
	const char *dir = option;

	if (dir == NULL)
		dir = getenv("PAPERCLIP_BRIDGE_QUEUE_DIR");
	if (dir == NULL || *dir == '\0')
		cli_usage("no queue: give -q DIR or "
		    "set PAPERCLIP_BRIDGE_QUEUE_DIR");
	return dir;
}

uint64_t
cli_env_number(const char *name, uint64_t fallback, uint64_t max)
{
	const char *text = getenv(name);
	char *end;
	double value;

	if (text == NULL || *text == '\0')
		return fallback;
	value = strtod(text, &end);
	/* A part of one is no number of anything. */
	if (*end != '\0' || !isfinite(value) || value < 1)
		return fallback;
	return value < (double)max ? (uint64_t)value : max;
}

volatile sig_atomic_t cli_stop;

static void
note_stop(int signo)
{
	cli_stop = signo;
}

void
cli_catch_stop(sigset_t *unblocked)
{
	struct sigaction sa = { .sa_handler = note_stop };
	sigset_t stop;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, unblocked);
	sigdelset(unblocked, SIGTERM);
	sigdelset(unblocked, SIGINT);
}

const char *
cli_id(const char *arg)
{
	if (!id_is_valid(span_of(arg)))
		cli_fail(EXIT_NEVER, arg,
		    "not an id: 1 to 128 of A-Z a-z 0-9 _ -");
	return arg;
}

void
cli_add_header(struct record *r, char *arg)
{
	struct record_header *h = &r->headers[r->nheaders];
	char *colon = strchr(arg, ':'), *p;

	if (colon == NULL || r->nheaders == RECORD_HEADERS_MAX)
		cli_fail(EXIT_NEVER, "-H", "not 'name: value', or too many");
	h->name = (struct span){ arg, (size_t)(colon - arg) };
	for (p = arg; p < colon; p++)
		*p = ascii_lower(*p);
	for (p = colon + 1; *p == ' ' || *p == '\t'; p++)
		continue;
	h->value = span_of(p);
	while (h->value.n > 0 && (p[h->value.n - 1] == ' ' ||
	    p[h->value.n - 1] == '\t'))
		h->value.n--;
	if (!header_name_is_valid(h->name) ||
	    !header_value_is_valid(h->value) || !utf8_is_valid(h->value))
		cli_fail(EXIT_NEVER, "-H", "not a valid header");
	r->nheaders++;
}

void
cli_out(struct span data)
{
	if (io_write_all(STDOUT_FILENO, data.p, data.n) == -1)
		cli_fail(EXIT_LATER, "stdout", strerror(errno));
}

void
cli_out_buf(const struct buf *data)
{
	if (buf_failed(data))
		cli_fail_memory(EXIT_LATER);
	cli_out(buf_span(data));
}

int
cli_make_folders(char *path, mode_t mode)
{
	char *p = path, *end;
	bool last;

	for (;;) {
		p += strspn(p, "/");
		end = p + strcspn(p, "/");
		if (end == p)
			return 0;
		last = *end == '\0';
		*end = '\0';
		if (mkdir(path, mode) == -1 && errno != EEXIST)
			return -1;
		if (last)
			return 0;
		*end = '/';
		p = end;
	}
}
