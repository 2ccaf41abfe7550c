/*
 * pc-enqueue - one request through the queue, without HTTP.
 *
 * Guarantees: the exit status tells whether the request ran, never more than
 * is known; a request that is given up is withdrawn first.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "id.h"
#include "io.h"
#include "put.h"
#include "requester.h"
#include "target.h"

static const char help[] =
"usage: pc-enqueue [-q DIR] [-H 'name: value']... [-d DATA|@FILE|@-]\n"
"                  [-t DURATION] [-i] [-o FILE] [--no-wait] METHOD PATH\n"
"       pc-enqueue [-q DIR] [-t DURATION] [-i] [-o FILE] --collect ID\n"
"Submits one request, waits for its answer and prints the body.\n"
"  -d, --data DATA        the body; @FILE or @- reads it\n"
"  -H, --header 'NAME: VALUE'  accept, content-type, if-match, if-none-match\n"
"                         or idempotency-key; see pc-enqueue(1)\n"
"  -h, --help             this text\n"
"  -i, --include          print status and headers first\n"
"  -m, --max-body SIZE    limit of a body (256K)\n"
"  -o, --output FILE      write the body there, whole or not at all\n"
"  -q, --queue DIR        the queue ($PAPERCLIP_BRIDGE_QUEUE_DIR)\n"
"  -t, --timeout DURATION how long to wait, at most 10m (30s)\n"
"  -V, --version\n"
"      --claims           every drain of this queue claims (pc-drain does)\n"
"      --collect ID       wait for the answer to an earlier --no-wait\n"
"      --group            files for a group of users, 0660\n"
"      --no-wait          print the id and leave the request there\n"
"      --sync             fsync the request\n"
"Exit: 0 answered below 400; 1 the API's final no; 2 it may have run;\n"
"100 bad input; 111 it did not run, or trying again is harmless.\n";

enum { OPT_CLAIMS = 256, OPT_COLLECT, OPT_GROUP, OPT_NO_WAIT, OPT_SYNC };

static const struct option options[] = {
	{ "claims", no_argument, NULL, OPT_CLAIMS },
	{ "collect", required_argument, NULL, OPT_COLLECT },
	{ "data", required_argument, NULL, 'd' },
	{ "group", no_argument, NULL, OPT_GROUP },
	{ "header", required_argument, NULL, 'H' },
	{ "help", no_argument, NULL, 'h' },
	{ "include", no_argument, NULL, 'i' },
	{ "max-body", required_argument, NULL, 'm' },
	{ "no-wait", no_argument, NULL, OPT_NO_WAIT },
	{ "output", required_argument, NULL, 'o' },
	{ "queue", required_argument, NULL, 'q' },
	{ "sync", no_argument, NULL, OPT_SYNC },
	{ "timeout", required_argument, NULL, 't' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct command {
	struct record request;
	const char *dir, *data, *output, *collect;
	size_t body_max;
	int64_t timeout_ms;
	int queue_flags;
	mode_t mask;		/* the caller's, for -o */
	bool include, no_wait, claims, safe;
};

static void
parse_options(struct command *c, int argc, char *argv[])
{
	int opt;

	while ((opt = getopt_long(argc, argv, ":d:H:him:o:q:t:V", options,
	    NULL)) != -1)
		switch (opt) {
		case 'd':
			c->data = optarg;
			break;
		case 'H':
			cli_add_header(&c->request, optarg);
			break;
		case 'h':
			cli_help(help);
		case 'i':
			c->include = true;
			break;
		case 'm':
			c->body_max = cli_body_max(optarg);
			break;
		case 'o':
			c->output = optarg;
			break;
		case 'q':
			c->dir = optarg;
			break;
		case 't':
			c->timeout_ms = cli_request_timeout(optarg);
			break;
		case 'V':
			cli_version();
		case OPT_CLAIMS:
			c->claims = true;
			break;
		case OPT_COLLECT:
			c->collect = cli_id(optarg);
			break;
		case OPT_GROUP:
			c->queue_flags |= QUEUE_GROUP;
			break;
		case OPT_NO_WAIT:
			c->no_wait = true;
			break;
		case OPT_SYNC:
			c->queue_flags |= QUEUE_SYNC;
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	if (argc - optind != (c->collect != NULL ? 0 : 2))
		cli_usage("METHOD and PATH, or --collect ID alone");
	if (c->collect != NULL && (c->no_wait || c->data != NULL ||
	    c->request.nheaders > 0))
		cli_usage("-d, -H and --no-wait do not go with --collect");
	c->dir = cli_queue_dir(c->dir);
}

static void
read_data(const struct command *c, struct buf *body)
{
	const char *name = c->data + 1;
	int fd = STDIN_FILENO;

	if (*c->data != '@') {
		buf_add_str(body, c->data);
		if (body->len > c->body_max)
			cli_fail(EXIT_NEVER, "-d", "over the size limit");
		return;
	}
	if (strcmp(name, "-") != 0 &&
	    (fd = open(name, O_RDONLY | O_CLOEXEC)) == -1)
		cli_fail_input(name);
	if (io_read_to_end(fd, body, c->body_max) == -1) {
		if (errno == EFBIG)
			cli_fail(EXIT_NEVER, name, "over the size limit");
		cli_fail_errno(name);
	}
	if (fd != STDIN_FILENO)
		io_close(fd);
}

static void
check_headers(struct record *r, bool has_body)
{
	bool typed = false;
	size_t i, k;

	for (i = 0; i < r->nheaders; i++) {
		if (!request_header_is_carried(r->headers[i].name,
		    r->path))
			cli_fail(EXIT_NEVER, "-H",
			    "the bridge does not carry this header");
		for (k = 0; k < i; k++)
			if (span_equal(r->headers[i].name, r->headers[k].name))
				cli_fail(EXIT_NEVER, "-H", "given twice");
		typed |= span_is(r->headers[i].name, "content-type");
	}
	if (has_body && !typed)
		r->headers[r->nheaders++] = (struct record_header){
		    span_of("content-type"), span_of("application/json") };
}

/* Builds the request's file from the command line. */
static void
make_record(struct command *c, const char *id, char *argv[],
    struct buf *file)
{
	struct buf path = { 0 }, query = { 0 }, body = { 0 };
	struct record *r = &c->request;
	char now[CLOCK_TEXT_SIZE];

	r->id = span_of(id);
	r->method = span_of(argv[0]);
	if (r->method.n > RECORD_METHOD_MAX ||
	    !header_name_is_valid(r->method))
		cli_fail(EXIT_NEVER, argv[0], "not an HTTP method");
	if (argv[1][0] != '/' ||
	    target_canonicalise(span_of(argv[1]), &path, &query) == -1)
		cli_fail(EXIT_NEVER, argv[1], "not an absolute path, or a byte in "
		    "it has to be escaped");
	r->path = buf_span(&path);
	r->query = query.len > 0 ? buf_span(&query) : span_of("");
	if (c->data != NULL)
		read_data(c, &body);
	check_headers(r, body.len > 0);
	r->body = body.len > 0 ? buf_span(&body) : span_of("");
	r->body_form = RECORD_BODY_BYTES;
	clock_format(clock_wall_ms(), now);
	r->created_at = span_of(now);
	r->timeout_ms = c->timeout_ms;
	r->remaining_ms = -1;
	record_put_request(file, r);
	if (buf_failed(file) || buf_failed(&path) || buf_failed(&query) ||
	    buf_failed(&body))
		cli_fail_memory(EXIT_LATER);
	c->safe = method_is_safe(r->method);
	buf_free(&path);
	buf_free(&query);
	buf_free(&body);
}

/* The body into a file: through a temporary, unless it is no regular file. */
static int
write_output(const char *file, mode_t mask, struct span body)
{
	struct stat st;
	int fd, result;

	if (stat(file, &st) == -1 || S_ISREG(st.st_mode))
		return put_file(file, 0666 & ~mask, body);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	result = io_write_all(fd, body.p, body.n);
	io_close(fd);
	return result;
}

static void
put_head(struct buf *out, const struct record *r)
{
	size_t i;

	buf_add_str(out, "HTTP/1.1 ");
	buf_add_int(out, r->status);
	buf_add_char(out, '\n');
	for (i = 0; i < r->nheaders; i++) {
		if (!header_name_is_valid(r->headers[i].name) ||
		    !header_value_is_valid(r->headers[i].value))
			continue;
		buf_add_span(out, r->headers[i].name);
		buf_add_str(out, ": ");
		buf_add_span(out, r->headers[i].value);
		buf_add_char(out, '\n');
	}
	buf_add_char(out, '\n');
}

/* What the answer means for somebody who asks "may I repeat this?". */
static int
exit_status(const struct command *c, const struct record *r)
{
	struct span outcome = record_outcome(r);

	if (span_is(outcome, OUTCOME_INDETERMINATE))
		return EXIT_UNKNOWN;
	if (span_is(outcome, OUTCOME_NOT_STARTED))
		return EXIT_LATER;
	switch (r->status) {
	case 408: case 425: case 429: case 503:
		return EXIT_LATER;
	case 502: case 504:
		return c->safe ? EXIT_LATER : EXIT_UNKNOWN;
	default:
		return r->status < 400 ? EXIT_YES : EXIT_NO;
	}
}

static int
print_answer(const struct command *c, const struct record *r)
{
	struct buf head = { 0 }, body = { 0 };
	int status = exit_status(c, r);
	bool written;

	record_body_decode(r, &body);
	if (c->include)
		put_head(&head, r);
	if (buf_failed(&head) || buf_failed(&body))
		cli_fail_memory(c->safe ? EXIT_LATER : EXIT_UNKNOWN);
	written = io_write_all(STDOUT_FILENO, head.data, head.len) == 0 &&
	    (c->output != NULL ? write_output(c->output, c->mask,
	    buf_span(&body)) :
	    io_write_all(STDOUT_FILENO, body.data, body.len)) == 0;
	/* It ran, and nobody has seen the answer. */
	if (!written)
		cli_fail(c->safe ? EXIT_LATER : EXIT_UNKNOWN,
		    c->output != NULL ? c->output : "stdout", strerror(errno));
	buf_free(&head);
	buf_free(&body);
	return status;
}

static int
wait_answer(const struct command *c, struct queue *q, const char *id,
    const sigset_t *unblocked)
{
	struct requester rq = { .q = q, .body_max = c->body_max,
	    .keep = c->collect != NULL, .poll_ms = cli_env_poll_ms() };
	int64_t deadline = clock_mono_ms() + c->timeout_ms;
	struct record r = { 0 };
	struct buf file = { 0 };
	enum request_end end;
	int status = EXIT_LATER;

	end = requester_wait(&rq, id, deadline, &cli_stop, unblocked, &r,
	    &file);
	/* A worker that does not claim may have been handling it. */
	if (end == REQUEST_NOT_STARTED && !c->claims)
		end = REQUEST_CLAIMED;
	switch (end) {
	case REQUEST_ANSWERED:
		status = print_answer(c, &r);
		break;
	case REQUEST_NOT_STARTED:
		cli_warn(id, "no answer in time: withdrawn, not started");
		break;
	case REQUEST_CLAIMED:
		cli_warn(id, "no answer in time: it may have been handled");
		status = c->safe ? EXIT_LATER : EXIT_UNKNOWN;
		break;
	case REQUEST_MALFORMED:
		cli_warn(id, "the response is malformed");
		status = c->safe ? EXIT_LATER : EXIT_UNKNOWN;
		break;
	case REQUEST_NO_ANSWER:
		cli_warn(id, "no answer yet");
		break;
	case REQUEST_UNKNOWN:
		cli_warn(id, "no such request");
		status = EXIT_NO;
		break;
	}
	if (cli_stop && end != REQUEST_ANSWERED)
		status = 128 + cli_stop;
	record_free(&r);
	buf_free(&file);
	return status;
}

/* Whoever does not learn the id has not submitted anything. */
static void
print_id(const struct command *c, struct queue *q, const char *id)
{
	char line[ID_MAX + 2];
	int n = snprintf(line, sizeof(line), "%s\n", id), error;

	if (io_write_all(STDOUT_FILENO, line, (size_t)n) == 0)
		return;
	error = errno;
	cli_fail(queue_withdraw(q, id) == 0 || c->safe ? EXIT_LATER :
	    EXIT_UNKNOWN, "stdout", strerror(error));
}

int
main(int argc, char *argv[])
{
	struct command c = { .timeout_ms = 30000 };
	char made[ID_NEW_SIZE];
	const char *id;
	struct buf file = { 0 };
	sigset_t unblocked;
	struct queue q;
	int status = EXIT_YES;

	cli_start("pc-enqueue");
	c.body_max = cli_env_body_max();
	c.claims = cli_env_claims();
	parse_options(&c, argc, argv);
	id = c.collect;
	if (id == NULL) {
		if (id_make(ID_PLAIN, made) == -1)
			cli_fail_errno("getrandom");
		id = made;
		make_record(&c, id, argv + optind, &file);
	}
	cli_catch_stop(&unblocked);
	c.mask = umask(0);
	if (queue_open(&q, c.dir, c.queue_flags) == -1)
		cli_fail_errno(c.dir);
	if (c.collect == NULL &&
	    queue_submit(&q, id, buf_span(&file)) == -1)
		cli_fail_errno(c.dir);
	buf_free(&file);
	if (c.no_wait) {
		print_id(&c, &q, id);
	} else {
		status = wait_answer(&c, &q, id, &unblocked);
	}
	queue_close(&q);
	return status;
}
