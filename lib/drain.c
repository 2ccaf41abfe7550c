#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "drain.h"
#include "id.h"
#include "io.h"

#define BACKLOG_MAX (256 * 1024)	/* unwritten output: claim no more */

/*
 * One of our claims; end: where its line ends in the output's stream.  The
 * rest is the answer that is true if nobody ever read that line.
 */
struct claim {
	struct idmap_node node;
	uint64_t end;
	int status;
	const char *outcome;
	char id[ID_MAX + 1];
};

void
drain_start(struct drain *d, struct queue *q, const struct drain_options *o)
{
	memset(d, 0, sizeof(*d));
	d->q = q;
	d->o = o;
	d->epoch.fd = -1;
	d->lock = -1;
}

void
drain_free(struct drain *d)
{
	struct idmap_node *node;

	while ((node = idmap_any(&d->open)) != NULL)
		drain_forget(d, node->id);
	idmap_free(&d->open);
	pending_free(&d->pending);
	buf_free(&d->out);
	record_free(&d->record);
	buf_free(&d->file);
	epoch_close(&d->epoch);
	io_close(d->lock);
}

void
drain_forget(struct drain *d, const char *id)
{
	/* The node is the first member. */
	free(idmap_take(&d->open, id));
}

static void
remember(struct drain *d, const char *id, int status, const char *outcome)
{
	struct claim *c = malloc(sizeof(*c));

	if (c == NULL)
		return;
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->node.id = c->id;
	c->end = d->out_start + d->out.len;
	c->status = status;
	c->outcome = outcome;
	if (idmap_get(&d->open, id) != NULL || idmap_add(&d->open,
	    &c->node) == -1)
		free(c);
}

static bool
add_pending(void *ctx, const char *id)
{
	struct drain *d = ctx;

	pending_add(&d->pending, id);
	return true;
}

int
drain_scan(struct drain *d)
{
	pending_clear(&d->pending);
	return queue_each(d->q, QUEUE_REQUESTS, add_pending, d);
}

/*
 * Appends the line for a file of the queue: the request, or the response
 * that refuses it.  Skipped when it is gone or its time is up; failed when we
 * lack descriptors or memory to read it now.  d->record has a method only
 * after a request.
 */
static enum drain_result
put_line(struct drain *d, enum queue_folder where, const char *id)
{
	enum record_kind kind = RECORD_INVALID;
	int64_t mtime = clock_wall_ms(), left, timeout;
	struct span name = span_of(id);

	d->record.method.n = 0;
	d->unread = false;
	if (queue_read(d->q, where, id, record_size_max(d->o->body_max),
	    &d->file, &mtime) == 0) {
		kind = record_parse(&d->record, buf_span(&d->file),
		    d->o->body_max);
		if (kind == RECORD_REQUEST && !span_equal(d->record.id, name))
			kind = RECORD_INVALID;
		if (kind == RECORD_TOO_LARGE && d->record.method.n == 0)
			kind = RECORD_INVALID;
	} else if (errno == ENOENT) {
		return DRAIN_SKIPPED;
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		return DRAIN_FAILED;
	} else if (errno == EFBIG) {
		kind = RECORD_TOO_LARGE;
	} else {
		d->unread = true;
	}
	timeout = kind == RECORD_REQUEST && d->record.timeout_ms > 0 ?
	    d->record.timeout_ms : RECORD_TIMEOUT_DEFAULT;
	left = mtime + timeout - clock_wall_ms();
	if (left <= 0)
		return DRAIN_SKIPPED;
	if (kind != RECORD_REQUEST)
		d->record.method.n = 0;
	if (kind == RECORD_REQUEST) {
		d->record.remaining_ms = left < timeout ? left : timeout;
		record_put_request(&d->out, &d->record);
	} else if (kind == RECORD_TOO_LARGE) {
		record_put_error(&d->out, name, 413,
		    MESSAGE_ENVELOPE_TOO_LARGE, NULL);
	} else {
		record_put_error(&d->out, name, 400,
		    "Invalid bridge request payload.", NULL);
	}
	return DRAIN_TOOK;
}

/* Makes the output what it was, when a line turned out not to be ours. */
static void
drop_line(struct drain *d, size_t len)
{
	d->out.len = len;
	d->out.failed = false;
}

enum drain_result
drain_peek(struct drain *d, const char *id)
{
	return put_line(d, QUEUE_REQUESTS, id);
}

enum drain_result
drain_take(struct drain *d, const char *id)
{
	size_t len = d->out.len, max = d->o->bytes_max;
	enum drain_result made;

	/* The line is made first: a claim is not won and then forgotten. */
	if ((made = put_line(d, QUEUE_REQUESTS, id)) != DRAIN_TOOK)
		return made;
	if (max > 0 && d->out.len > max && len > 0) {
		drop_line(d, len);
		return DRAIN_FULL;
	}
	if (max > 0 && d->out.len > max) {
		/* Alone too long for this channel, now and at any time. */
		drop_line(d, len);
		record_put_error(&d->out, span_of(id), 413,
		    MESSAGE_ENVELOPE_TOO_LARGE, NULL);
	}
	if (buf_failed(&d->out)) {
		drop_line(d, len);
		errno = ENOMEM;
		return DRAIN_FAILED;
	}
	if (queue_claim(d->q, id) == -1) {
		drop_line(d, len);
		return errno == ENOENT || errno == EEXIST ? DRAIN_SKIPPED :
		    DRAIN_FAILED;
	}
	remember(d, id, 503, OUTCOME_NOT_STARTED);
	return DRAIN_TOOK;
}

/* With the epoch entered. */
static ssize_t
take_listed(struct drain *d)
{
	enum drain_result result;
	ssize_t taken = 0;
	char *id;

	while (d->open.count < d->o->claims_max &&
	    d->out.len < BACKLOG_MAX &&
	    (id = pending_take(&d->pending)) != NULL) {
		result = drain_take(d, id);
		if (result == DRAIN_FULL || result == DRAIN_FAILED)
			pending_add(&d->pending, id);
		free(id);
		if (result == DRAIN_FULL)
			break;
		if (result == DRAIN_FAILED)
			return -1;
		if (result == DRAIN_TOOK)
			taken++;
	}
	return taken;
}

ssize_t
drain_take_all(struct drain *d)
{
	ssize_t taken;
	int saved;

	if (d->pending.count == 0)
		return 0;
	if (epoch_enter(&d->epoch) == -1)
		return -1;
	taken = take_listed(d);
	saved = errno;
	epoch_leave(&d->epoch);
	errno = saved;
	return taken;
}

void
drain_wrote(struct drain *d, size_t n)
{
	d->out_start += n;
	buf_consume(&d->out, n);
	if (d->out.len == 0)
		buf_reset(&d->out, BACKLOG_MAX);
}

void
drain_answer_unprinted(struct drain *d, const char *message)
{
	struct idmap_node *node;
	struct buf line = { 0 };
	struct claim *c;

	while ((node = idmap_any(&d->open)) != NULL) {
		c = (struct claim *)(void *)node;
		/* All but its newline is a line for who reads to the end. */
		if (c->end - 1 > d->out_start) {
			buf_reset(&line, line.cap);
			record_put_error(&line, span_of(c->id), c->status,
			    message, c->outcome);
			if (!buf_failed(&line))
				(void)queue_respond(d->q, c->id,
				    buf_span(&line));
		}
		drain_forget(d, c->id);
	}
	buf_free(&line);
}

struct recovery {
	struct drain *d;
	const struct idmap *except;
	const char *message;
};

/* Answers a claimed request that nobody works on any more. */
static void
put_lost(struct drain *d, const char *id, size_t len, const char *message,
    bool again)
{
	enum drain_result made = put_line(d, QUEUE_CLAIMED, id);
	const char *outcome;
	int status;
	bool safe;

	d->out.failed |= made == DRAIN_FAILED;
	if (made != DRAIN_TOOK)
		return;
	/* A response line: it is not valid, and no handler ever had it. */
	if (d->record.method.n == 0 && !d->unread) {
		remember(d, id, 503, OUTCOME_NOT_STARTED);
		return;
	}
	/* What is in a file on a bad disk, its handler knew. */
	safe = !d->unread && method_is_safe(d->record.method);
	status = safe ? 503 : 504;
	outcome = safe ? NULL : OUTCOME_INDETERMINATE;
	if (!safe || !again) {
		drop_line(d, len);
		record_put_error(&d->out, span_of(id), status, message,
		    outcome);
	}
	remember(d, id, status, outcome);
}

static bool
recover_one(void *ctx, const char *id)
{
	struct recovery *r = ctx;
	struct drain *d = r->d;

	if (idmap_get(r->except, id) == NULL &&
	    idmap_get(&d->open, id) == NULL &&
	    !queue_has(d->q, QUEUE_RESPONSES, id))
		put_lost(d, id, d->out.len, r->message, true);
	return !buf_failed(&d->out);
}

int
drain_recover(struct drain *d, const struct idmap *except)
{
	struct recovery r = { d, except,
	    "The bridge lost this request after it may have been handled." };

	if (queue_each(d->q, QUEUE_CLAIMED, recover_one, &r) == -1)
		return -1;
	if (!buf_failed(&d->out))
		return 0;
	errno = ENOMEM;
	return -1;
}

static bool
fail_one(void *ctx, const char *id)
{
	struct recovery *r = ctx;
	struct drain *d = r->d;

	if (idmap_get(&d->open, id) == NULL &&
	    !queue_has(d->q, QUEUE_RESPONSES, id))
		put_lost(d, id, d->out.len, r->message, false);
	return !buf_failed(&d->out);
}

int
drain_fail(struct drain *d, const char *message)
{
	struct recovery r = { d, NULL, message };
	int error = 0;
	char *id;

	if (drain_scan(d) == -1)
		return -1;
	while ((id = pending_take(&d->pending)) != NULL) {
		if (queue_claim(d->q, id) == 0) {
			record_put_error(&d->out, span_of(id), 503, message,
			    OUTCOME_NOT_STARTED);
			remember(d, id, 503, OUTCOME_NOT_STARTED);
		} else if (errno != ENOENT && errno != EEXIST) {
			error = errno;
		}
		free(id);
	}
	if (queue_each(d->q, QUEUE_CLAIMED, fail_one, &r) == -1)
		error = errno;
	if (buf_failed(&d->out))
		error = ENOMEM;
	errno = error;
	return error == 0 ? 0 : -1;
}
