#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "id.h"
#include "respond.h"
#include "sweep.h"

/*
 * A gateway waits at its socket for as long as it waits at all.  Any other
 * requester may come back later, until its request's deadline: the response
 * says how long it must be kept, if its handler did not.  0 when nothing is
 * known.
 */
static int64_t
keep_until(struct responder *r, const char *id)
{
	size_t max = record_size_max(r->body_max);
	int64_t mtime;

	if (r->record.expires_at != 0 || id_is_from_gateway(r->record.id))
		return r->record.expires_at;
	if (queue_read(r->q, QUEUE_CLAIMED, id, max, &r->file, &mtime) == -1 &&
	    queue_read(r->q, QUEUE_REQUESTS, id, max, &r->file, &mtime) == -1)
		return 0;
	return mtime + sweep_request_timeout(buf_span(&r->file), r->body_max);
}

/* Publishes r->file, if it is whole, and appends the report. */
static void
publish(struct responder *r, const char *id, struct buf *out)
{
	enum queue_delivery d = QUEUE_FAILED;
	const char *reason;

	if (buf_failed(&r->file))
		errno = ENOMEM;
	else
		d = queue_respond(r->q, id, buf_span(&r->file));
	if (d == QUEUE_FAILED)
		r->error = errno;
	reason = d == QUEUE_FAILED ? strerror(r->error) :
	    queue_delivery_reason(d);
	record_put_report(out, span_of(id), d == QUEUE_DELIVERED, reason);
}

void
respond_record(struct responder *r, struct buf *out)
{
	char id[ID_MAX + 1];

	id_copy(r->record.id, id);
	r->record.expires_at = keep_until(r, id);
	buf_reset(&r->file, 1 << 20);
	record_put_response(&r->file, &r->record);
	publish(r, id, out);
}

/* What the API answered cannot be carried; that it was asked is certain. */
static void
respond_too_large(struct responder *r, struct buf *out)
{
	char id[ID_MAX + 1], message[128];
	int64_t expires_at;

	id_copy(r->record.id, id);
	expires_at = keep_until(r, id);
	snprintf(message, sizeof(message), "Bridge response body exceeded the "
	    "configured size limit of %zu bytes.", r->body_max);
	buf_reset(&r->file, 1 << 20);
	record_put_error_until(&r->file, r->record.id, 504, message,
	    OUTCOME_INDETERMINATE, expires_at);
	publish(r, id, out);
}

enum respond_result
respond_line(struct responder *r, struct span line, struct buf *out)
{
	enum record_kind kind;

	r->record.fault = NULL;
	if (line.n == 0)
		return RESPOND_NOTHING;
	kind = record_parse(&r->record, line, r->body_max);
	switch (kind) {
	case RECORD_REQUEST:
	case RECORD_REPORT:
		buf_add_span(out, line);
		buf_add_char(out, '\n');
		return RESPOND_PASSED;
	case RECORD_RESPONSE:
		if (r->record.id.n == 0)
			break;
		respond_record(r, out);
		return RESPOND_REPORTED;
	case RECORD_TOO_LARGE:
		if (r->record.id.n == 0 || r->record.status == 0)
			break;
		respond_too_large(r, out);
		return RESPOND_REPORTED;
	case RECORD_INVALID:
		return RESPOND_INVALID;
	}
	r->record.fault = "bad id";
	return RESPOND_INVALID;
}

void
responder_free(struct responder *r)
{
	record_free(&r->record);
	buf_free(&r->file);
}
