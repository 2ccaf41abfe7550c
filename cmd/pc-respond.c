/*
 * pc-respond - publish responses, each exactly once.
 *
 * Guarantees: a response is complete or absent; the first answer wins; none
 * is left for a requester that has gone.  Answering twice is harmless.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "io.h"
#include "lines.h"
#include "respond.h"

static const char help[] =
"usage: pc-respond [-q DIR] [-m SIZE] [--group] [--sync]\n"
"       pc-respond [-q DIR] [-m SIZE] -s STATUS [-H 'name: value']... ID\n"
"Publishes response lines from stdin (or one, its body from stdin) and prints\n"
"a report line for each.\n"
"  -H, --header 'NAME: VALUE'  a header of the response, with -s\n"
"  -h, --help                  this text\n"
"  -m, --max-body SIZE         limit of a decoded body (256K)\n"
"  -q, --queue DIR             the queue ($PAPERCLIP_BRIDGE_QUEUE_DIR)\n"
"  -s, --status STATUS         answer ID with this status, 200 to 599\n"
"  -V, --version\n"
"      --group                 files for a group of users, 0660\n"
"      --sync                  fsync every response\n";

enum { OPT_GROUP = 256, OPT_SYNC };

static const struct option options[] = {
	{ "group", no_argument, NULL, OPT_GROUP },
	{ "header", required_argument, NULL, 'H' },
	{ "help", no_argument, NULL, 'h' },
	{ "max-body", required_argument, NULL, 'm' },
	{ "queue", required_argument, NULL, 'q' },
	{ "status", required_argument, NULL, 's' },
	{ "sync", no_argument, NULL, OPT_SYNC },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

/* A line was no use; without memory for it those that follow are not read. */
static void
drop(struct buf *out, const char *fault)
{
	if (fault == record_no_memory) {
		cli_out_buf(out);
		cli_fail_memory(EXIT_LATER);
	}
	cli_warn("stdin", fault);
}

/* Everything that has arrived; false when a line was no use. */
static bool
respond_arrived(struct responder *r, struct lines *in, struct buf *out)
{
	bool good = true;
	enum lines_result kind;
	struct span line;

	while ((kind = lines_next(in, &line)) != LINES_NONE) {
		if (kind == LINES_LINE &&
		    respond_line(r, line, out) != RESPOND_INVALID)
			continue;
		good = false;
		drop(out, kind == LINES_LINE ? r->record.fault :
		    "a line over the limit, dropped");
	}
	cli_out_buf(out);
	buf_reset(out, 1 << 20);
	return good;
}

static int
respond_lines(struct responder *r)
{
	struct lines in = { .fd = STDIN_FILENO,
	    .max = record_size_max(r->body_max) };
	struct buf out = { 0 };
	struct span line;
	bool good = true;
	ssize_t n;

	while ((n = lines_fill(&in)) > 0)
		good &= respond_arrived(r, &in, &out);
	if (n == -1)
		cli_fail_errno("stdin");
	if (lines_last(&in, &line) &&
	    respond_line(r, line, &out) == RESPOND_INVALID) {
		drop(&out, r->record.fault);
		good = false;
	}
	cli_out_buf(&out);
	buf_free(&out);
	lines_free(&in);
	return good ? EXIT_YES : EXIT_NEVER;
}

static int
respond_one(struct responder *r, const char *id)
{
	struct buf body = { 0 }, out = { 0 };

	if (io_read_to_end(STDIN_FILENO, &body, r->body_max) == -1) {
		if (errno == EFBIG)
			cli_fail(EXIT_NEVER, "stdin", "over the size limit");
		cli_fail_errno("stdin");
	}
	r->record.id = span_of(id);
	r->record.body = buf_span(&body);
	r->record.body_form = RECORD_BODY_BYTES;
	respond_record(r, &out);
	cli_out_buf(&out);
	buf_free(&body);
	buf_free(&out);
	return EXIT_YES;
}

int
main(int argc, char *argv[])
{
	struct responder r = { .body_max = cli_env_body_max() };
	const char *dir = NULL;
	struct queue q;
	int c, flags = 0, status;

	cli_start("pc-respond");
	while ((c = getopt_long(argc, argv, ":H:hm:q:s:V", options,
	    NULL)) != -1)
		switch (c) {
		case 'H':
			cli_add_header(&r.record, optarg);
			break;
		case 'h':
			cli_help(help);
		case 'm':
			r.body_max = cli_body_max(optarg);
			break;
		case 'q':
			dir = optarg;
			break;
		case 's':
			r.record.status = (int)cli_number("-s", optarg, 599);
			if (r.record.status < 200)
				cli_fail(EXIT_NEVER, "-s", "not 200 to 599");
			break;
		case 'V':
			cli_version();
		case OPT_GROUP:
			flags |= QUEUE_GROUP;
			break;
		case OPT_SYNC:
			flags |= QUEUE_SYNC;
			break;
		default:
			cli_bad_option(c, argv, options);
		}
	if (argc - optind != (r.record.status != 0 ? 1 : 0))
		cli_usage("with -s one ID, without it none");
	if (r.record.nheaders > 0 && r.record.status == 0)
		cli_usage("-H goes with -s");
	dir = cli_queue_dir(dir);
	r.q = &q;
	if (queue_open(&q, dir, flags) == -1)
		cli_fail_errno(dir);
	status = r.record.status != 0 ?
	    respond_one(&r, cli_id(argv[optind])) : respond_lines(&r);
	responder_free(&r);
	queue_close(&q);
	return status;
}
