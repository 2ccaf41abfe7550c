#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "io.h"
#include "lease_report.h"
#include "leasecmd.h"

#define LINE_MAX_BYTES	(256 << 10)	/* two objects of 64 KiB fit */

struct said {
	struct span metadata;
	char *failure;
};

static const struct field said_fields[] = {
	{ .key = "failure", .type = FIELD_TEXT,
	    .at = offsetof(struct said, failure) },
	{ .key = "metadata", .type = FIELD_JSON,
	    .at = offsetof(struct said, metadata) },
	{ .key = NULL }
};

/* Without the newline that it ends with. */
static void
drop_newline(struct buf *out)
{
	if (out->len > 0)
		out->len--;
}

static int
send_grant(struct lease_report *r, const struct lease_grant *g)
{
	struct buf line = { .data = NULL };
	int result;

	buf_add_str(&line, "{\"lease\":");
	lease_put_lease(&line, &g->lease, g->environment.name, "");
	drop_newline(&line);
	buf_add_str(&line, ",\"environment\":");
	lease_put_environment(&line, &g->environment);
	drop_newline(&line);
	buf_add_str(&line, "}\n");
	result = buf_failed(&line) ? -1 :
	    io_write_all(r->fd, line.data, line.len);
	buf_free(&line);
	return result;
}

int
lease_report_open(struct lease_report *r, const struct lease_grant *g,
    struct problem *p)
{
	int ends[2], room = 2 * LINE_MAX_BYTES;

	*r = (struct lease_report){ .fd = -1, .theirs = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1)
		return problem_set(p, PROBLEM_LATER, "system",
		    "--report: %s", strerror(errno));
	r->fd = r->in.fd = ends[0];
	r->theirs = ends[1];
	r->in.max = LINE_MAX_BYTES;
	/* All of a line is in it before anybody reads. */
	(void)setsockopt(r->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (fcntl(r->fd, F_SETFL, O_NONBLOCK) == -1 ||
	    send_grant(r, g) == -1) {
		(void)problem_set(p, PROBLEM_LATER, "system",
		    "--report: %s", strerror(errno));
		lease_report_close(r);
		return -1;
	}
	return 0;
}

int
lease_report_give(const struct lease_report *r)
{
	char number[16];

	if (r->theirs == -1)
		return unsetenv("PC_LEASE_FD");
	(void)snprintf(number, sizeof(number), "%d", r->theirs);
	if (fcntl(r->theirs, F_SETFD, 0) == -1)
		return -1;
	return setenv("PC_LEASE_FD", number, 1);
}

void
lease_report_keep(struct lease_report *r)
{
	if (r->fd == -1)
		return;
	io_close(r->theirs);
	r->theirs = -1;
	(void)fcntl(r->fd, F_SETOWN, getpid());
	(void)fcntl(r->fd, F_SETFL, O_NONBLOCK | O_ASYNC);
}

/* Whether the line has metadata; what is no such line is passed over. */
static bool
take_line(struct lease_report *r, struct span line)
{
	struct fault f = { .kind = FAULT_NONE };
	struct fields_memory m = { .first = NULL };
	struct said said = { .failure = NULL };

	if (fields_read(line, said_fields, &said, &m, &f) == -1 &&
	    !r->warned) {
		cli_warn("--report", "not what a command may say");
		r->warned = true;
	} else if (said.failure != NULL) {
		buf_reset(&r->failure, 0);
		buf_add_str(&r->failure, said.failure);
	}
	buf_reset(&r->metadata, 0);
	if (f.kind == FAULT_NONE && said.metadata.n > 0) {
		buf_add_span(&r->metadata, said.metadata);
		buf_add_char(&r->metadata, '\0');
	}
	fault_clear(&f);
	fields_free(&m);
	return r->metadata.len > 0 && !buf_failed(&r->metadata);
}

const char *
lease_report_metadata(struct lease_report *r)
{
	enum lines_result found;
	struct span line;
	ssize_t n = 1;

	while (r->fd != -1 && n > 0) {
		while ((found = lines_next(&r->in, &line)) != LINES_NONE)
			if (found == LINES_LINE && take_line(r, line))
				return r->metadata.data;
		n = lines_fill(&r->in);
	}
	return NULL;
}

void
lease_report_close(struct lease_report *r)
{
	io_close(r->fd);
	io_close(r->theirs);
	r->fd = r->theirs = -1;
	lines_free(&r->in);
	buf_free(&r->failure);
	buf_free(&r->metadata);
}
