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

static bool
request_expired(struct walk *w, int64_t age, bool readable)
{
	int64_t timeout = RECORD_TIMEOUT_DEFAULT;

	if (age <= QUEUE_GRACE_MS)
		return false;
	if (readable && record_parse(&w->record, buf_span(&w->file),
	    w->body_max) == RECORD_REQUEST && w->record.timeout_ms > 0)
		timeout = w->record.timeout_ms;
	return age > timeout + QUEUE_GRACE_MS;
}

static bool
response_expired(struct walk *w, int64_t age, bool readable)
{
	if (age <= RECORD_TIMEOUT_DEFAULT + QUEUE_GRACE_MS)
		return false;
	if (readable && record_parse(&w->record, buf_span(&w->file),
	    w->body_max) == RECORD_RESPONSE && w->record.expires_at > 0)
		return w->now > w->record.expires_at + QUEUE_GRACE_MS ||
		    w->record.expires_at > w->now + RECORD_TIMEOUT_MAX;
	return true;
}

static bool
visit(void *ctx, const char *id)
{
	struct walk *w = ctx;
	bool readable, expired;
	int64_t mtime, age;

	readable = queue_read(w->q, w->where, id,
	    record_size_max(w->body_max), &w->file, &mtime) == 0;
	if (!readable && errno == ENOENT)
		return true;		/* gone, or no regular file */
	if (!readable && errno != EFBIG)
		mtime = w->now;		/* cannot be opened: its age is unknown */
	age = w->now - mtime;
	expired = w->where == QUEUE_RESPONSES ?
	    response_expired(w, age, readable) :
	    request_expired(w, age, readable);
	if (expired && !w->look_only &&
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
