#include <errno.h>

#include "clock.h"
#include "record.h"
#include "sweep.h"

struct walk {
	struct queue *q;
	struct sweep *out;
	enum queue_folder where;
	size_t body_max;
	int64_t now;
	bool look_only;
	struct buf file;
	struct record record;
};

int64_t
sweep_request_timeout(struct span text, size_t body_max)
{
	struct record r = { 0 };
	int64_t timeout = RECORD_TIMEOUT_DEFAULT;

	if (record_parse(&r, text, body_max) == RECORD_REQUEST &&
	    r.timeout_ms > 0)
		timeout = r.timeout_ms;
	record_free(&r);
	return timeout;
}

/* Nobody waits for it any more; what cannot be read now is left alone. */
static bool
has_expired(struct walk *w, const char *id, int64_t age)
{
	bool response = w->where == QUEUE_RESPONSES;
	const struct record *r = &w->record;
	int64_t timeout = RECORD_TIMEOUT_DEFAULT, mtime;
	enum record_kind kind = RECORD_INVALID;

	/* No record makes it less. */
	if (age <= QUEUE_GRACE_MS + (response ? timeout : 0))
		return false;
	if (queue_read(w->q, w->where, id, record_size_max(w->body_max),
	    &w->file, &mtime) == 0)
		kind = record_parse(&w->record, buf_span(&w->file),
		    w->body_max);
	else if (errno != EFBIG)
		return false;
	if (response)
		return kind != RECORD_RESPONSE || r->expires_at == 0 ||
		    w->now > r->expires_at + QUEUE_GRACE_MS ||
		    r->expires_at > w->now + RECORD_TIMEOUT_MAX;
	if (kind == RECORD_REQUEST && r->timeout_ms > 0)
		timeout = r->timeout_ms;
	return age > timeout + QUEUE_GRACE_MS;
}

static bool
visit(void *ctx, const char *id)
{
	struct walk *w = ctx;
	int64_t mtime, age;

	if (queue_mtime(w->q, w->where, id, &mtime) == -1) {
		if (errno == ENOENT)
			return true;	/* gone, or no regular file */
		mtime = w->now;		/* its age is unknown */
	}
	age = w->now - mtime;
	if (!w->look_only && has_expired(w, id, age) &&
	    queue_remove(w->q, w->where, id) == 0) {
		w->out->removed++;
		return true;
	}
	if (w->where == QUEUE_RESPONSES) {
		w->out->answered++;
		return true;
	}
	if (w->where == QUEUE_REQUESTS)
		w->out->pending++;
	else
		w->out->claimed++;
	if (age > w->out->oldest_ms)
		w->out->oldest_ms = age > 0 ? age : 0;
	return true;
}

int
sweep_run(struct queue *q, size_t body_max, bool look_only, struct sweep *out)
{
	struct walk w = { .q = q, .out = out, .body_max = body_max,
	    .now = clock_wall_ms(), .look_only = look_only };
	int i, error = 0;

	*out = (struct sweep){ .oldest_ms = -1 };
	for (i = 0; i < QUEUE_FOLDERS; i++) {
		w.where = (enum queue_folder)i;
		if (queue_each(q, w.where, visit, &w) == -1)
			error = errno;
	}
	if (!look_only)
		out->removed += queue_remove_temporaries(q,
		    w.now - RECORD_TIMEOUT_DEFAULT);
	buf_free(&w.file);
	record_free(&w.record);
	errno = error;
	return error == 0 ? 0 : -1;
}
