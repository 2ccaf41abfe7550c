#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "dispatch.h"

#define WAITING_MAX	256			/* requests that wait */
#define WAITING_BYTES	(16 * 1024 * 1024)
#define SPARE_MAX	64			/* calls kept for reuse */
#define LINE_KEEP	(1024 * 1024)

static const char no_memory[] = "Out of memory.";
static const char late[] = "Timed out waiting for the API.";

/* A request.  http comes first: it is what forward_next() gives back. */
struct call {
	struct forward_call http;
	struct seen_request *seen;	/* what is known of its id */
	struct call *next;
};

static struct call *
call_of(struct forward_call *http)
{
	return (struct call *)(void *)http;
}

static struct span
call_id(const struct call *c)
{
	return span_of(c->seen->node.id);
}

static struct call *
call_take(struct dispatch *d)
{
	struct call *c = d->spare;

	if (c == NULL)
		return calloc(1, sizeof(*c));
	d->spare = c->next;
	d->nspare--;
	return c;
}

static void
call_free(struct call *c)
{
	if (c == NULL)
		return;
	forward_call_free(&c->http);
	free(c);
}

static void
call_release(struct dispatch *d, struct call *c)
{
	if (d->nspare == SPARE_MAX) {
		call_free(c);
		return;
	}
	c->next = d->spare;
	d->spare = c;
	d->nspare++;
}

/* Answers */

/* d->line is the answer; the call is over. */
static void
finish(struct dispatch *d, struct call *c)
{
	buf_add_span(d->out, buf_span(&d->line));
	d->out->failed |= buf_failed(&d->line);
	seen_answer(&d->seen, c->seen, buf_span(&d->line),
	    clock_mono_ms());
	buf_reset(&d->line, LINE_KEEP);
	call_release(d, c);
}

static void
finish_unsent(struct dispatch *d, struct call *c, int status,
    const char *message)
{
	record_put_error(&d->line, call_id(c), status, message,
	    OUTCOME_NOT_STARTED);
	finish(d, c);
}

/* The kept headers are in d->record. */
static void
finish_answered(struct dispatch *d, struct call *c)
{
	d->record.id = call_id(c);
	d->record.status = c->http.status;
	d->record.body = buf_span(&c->http.answer);
	d->record.body_form = RECORD_BODY_BYTES;
	record_put_response(&d->line, &d->record);
	finish(d, c);
}

static void
put_failure(const struct dispatch *d, const struct forward_call *http,
    struct buf *message)
{
	switch (http->result) {
	case FORWARD_LATE:
		buf_add_str(message, late);
		break;
	case FORWARD_TOO_LARGE:
		buf_add_str(message, "Bridge response body exceeded the "
		    "configured size limit of ");
		buf_add_int(message, (int64_t)d->o->api.body_max);
		buf_add_str(message, " bytes.");
		break;
	case FORWARD_STOPPED:
		buf_add_str(message, http->sent ?
		    "Bridge worker stopped before the API answered." :
		    MESSAGE_STOPPED);
		break;
	default:
		buf_add_str(message, http->result == FORWARD_UNREACHED ?
		    "The API cannot be reached: " :
		    "The API gave no valid answer: ");
		buf_add_str(message, http->reason);
		buf_add_str(message, ".");
	}
	buf_add_char(message, '\0');
}

/* Says what is true of a request that has no answer (protocol 8). */
static void
finish_failed(struct dispatch *d, struct call *c)
{
	const struct forward_call *http = &c->http;
	const char *outcome = OUTCOME_INDETERMINATE;
	struct buf message = { 0 };
	int status = 504;

	if (!http->sent) {
		status = http->result == FORWARD_STOPPED ? 503 : 502;
		outcome = OUTCOME_NOT_STARTED;
	} else if (http->request.safe) {
		status = 502;
		outcome = NULL;
	}
	put_failure(d, http, &message);
	record_put_error(&d->line, call_id(c), status,
	    buf_failed(&message) ? no_memory : message.data, outcome);
	buf_free(&message);
	finish(d, c);
}

/* The same request again: nothing, while the first one has no answer. */
static void
answer_again(struct dispatch *d, const struct seen_request *seen)
{
	struct span text;

	switch (seen_state(seen, &text)) {
	case SEEN_PENDING:
		break;
	case SEEN_ANSWERED:
		buf_add_span(d->out, text);
		break;
	case SEEN_DROPPED:
		record_put_error(d->out, span_of(seen->node.id), 504,
		    "The request was handled before, and its answer is not "
		    "known any more.", OUTCOME_INDETERMINATE);
		break;
	}
}

/* Waiting */

static void
queue_append(struct dispatch *d, struct call *c)
{
	c->next = NULL;
	*d->end = c;
	d->end = &c->next;
	d->waiting++;
	d->waiting_bytes += outbound_size(&c->http.request);
	d->waiting_until = clock_earlier(d->waiting_until, c->http.deadline);
}

static struct call *
queue_take(struct dispatch *d)
{
	struct call *c = d->first;

	d->first = c->next;
	if (d->first == NULL)
		d->end = &d->first;
	d->waiting--;
	d->waiting_bytes -= outbound_size(&c->http.request);
	return c;
}

/* Looks at all that wait, but only when one of them may be late. */
static void
expire_waiting(struct dispatch *d, int64_t now)
{
	size_t n = d->waiting;
	struct call *c;

	if (d->waiting_until < 0 || d->waiting_until > now)
		return;
	d->waiting_until = -1;
	for (; n > 0; n--) {
		c = queue_take(d);
		if (c->http.deadline >= 0 && c->http.deadline <= now)
			finish_unsent(d, c, 503,
			    "Timed out waiting for other API calls.");
		else
			queue_append(d, c);
	}
}

bool
dispatch_has_room(const struct dispatch *d)
{
	return d->waiting < WAITING_MAX && d->waiting_bytes < WAITING_BYTES;
}

/* Requests */

/* When a call must be over; it began to count when its line was read. */
static int64_t
deadline_of(const struct dispatch *d, const struct record *request,
    int64_t read_at)
{
	int64_t ms = clock_earlier(d->o->timeout_ms > 0 ? d->o->timeout_ms : -1,
	    request->remaining_ms);

	if (ms < 0)
		return -1;
	return read_at + (ms > DISPATCH_MARGIN_MS ? ms - DISPATCH_MARGIN_MS :
	    0);
}

/* How long its requester may come again: its own deadline, and a little. */
static int64_t
retention_of(const struct record *request)
{
	int64_t ms = request->remaining_ms;

	if (ms < 0)
		ms = request->timeout_ms > 0 ? request->timeout_ms :
		    RECORD_TIMEOUT_DEFAULT;
	return ms + DISPATCH_MARGIN_MS;
}

static void
begin(struct dispatch *d, struct call *c)
{
	if (forward_begin(d->api, &c->http) == -1)
		finish_unsent(d, c, 503, no_memory);
	else
		d->in_flight++;
}

/* A request whose id is new is answered, begun or queued. */
static void
admit(struct dispatch *d, struct call *c, const struct record *request)
{
	const char *fault = forward_prepare(d->api, &c->http, request);
	char message[128];

	if (fault != NULL) {
		snprintf(message, sizeof(message), "Invalid request path: %s",
		    fault);
		record_put_error(&d->line, call_id(c), 400, message, NULL);
		finish(d, c);
	} else if (outbound_failed(&c->http.request)) {
		finish_unsent(d, c, 503, no_memory);
	} else if (d->stopped) {
		finish_unsent(d, c, 503, MESSAGE_STOPPED);
	} else if (c->http.deadline >= 0 &&
	    c->http.deadline <= clock_mono_ms()) {
		finish_unsent(d, c, 503, "No time is left for the request.");
	} else if (d->waiting > 0 ||
	    d->in_flight == d->o->api.in_flight_max) {
		queue_append(d, c);
	} else {
		begin(d, c);
	}
}

void
dispatch_take(struct dispatch *d, const struct record *request,
    int64_t read_at)
{
	struct seen_request *seen = seen_find(&d->seen, request->id);
	struct call *c;

	if (seen != NULL) {
		answer_again(d, seen);
		return;
	}
	c = call_take(d);
	if (c != NULL)
		c->seen = seen_add(&d->seen, request->id,
		    method_is_safe(request->method),
		    read_at + retention_of(request));
	if (c == NULL || c->seen == NULL) {
		d->out->failed = true;
		call_free(c);
		return;
	}
	c->http.deadline = deadline_of(d, request, read_at);
	admit(d, c, request);
}

/* The API */

/* Says so when the API begins to fail, and not for every request. */
static void
note_health(struct dispatch *d, const struct forward_call *http)
{
	bool failing = http->result == FORWARD_UNREACHED ||
	    http->result == FORWARD_LOST || http->result == FORWARD_LATE;

	if (failing && !d->failing)
		d->o->warn("API", http->detail != NULL ? http->detail :
		    http->reason != NULL ? http->reason : late);
	d->failing = failing;
}

static void
take_answers(struct dispatch *d)
{
	struct forward_call *http;

	while ((http = forward_next(d->api, &d->record)) != NULL) {
		d->in_flight--;
		note_health(d, http);
		if (http->result == FORWARD_ANSWERED)
			finish_answered(d, call_of(http));
		else
			finish_failed(d, call_of(http));
	}
}

static void
begin_waiting(struct dispatch *d)
{
	while (d->waiting > 0 && d->in_flight < d->o->api.in_flight_max)
		begin(d, queue_take(d));
	if (d->waiting == 0)
		d->waiting_until = -1;
}

void
dispatch_ready(struct dispatch *d, int fd, uint32_t events)
{
	forward_ready(d->api, fd, events);
}

/* One round, so that answers are not held up by those that come next. */
void
dispatch_work(struct dispatch *d, bool hold)
{
	forward_tick(d->api);
	take_answers(d);
	expire_waiting(d, clock_mono_ms());
	if (!hold)
		begin_waiting(d);
	forward_tick(d->api);
}

int64_t
dispatch_due(const struct dispatch *d)
{
	return clock_earlier(forward_due(d->api), d->waiting_until);
}

void
dispatch_stop(struct dispatch *d)
{
	d->stopped = true;
	d->waiting_until = -1;
	while (d->waiting > 0)
		finish_unsent(d, queue_take(d), 503, MESSAGE_STOPPED);
}

void
dispatch_break_off(struct dispatch *d)
{
	struct forward_call *http;

	while ((http = forward_stop(d->api)) != NULL) {
		d->in_flight--;
		finish_failed(d, call_of(http));
	}
}

int
dispatch_open(struct dispatch *d, const struct dispatch_options *o,
    struct interest *i, struct buf *out)
{
	memset(d, 0, sizeof(*d));
	d->o = o;
	d->out = out;
	d->seen.ids_max = SEEN_IDS_MAX;
	d->seen.bytes_max = SEEN_BYTES_MAX;
	d->end = &d->first;
	d->waiting_until = -1;
	d->api = forward_open(&o->api, i);
	if (d->api == NULL)
		errno = ENOMEM;
	return d->api != NULL ? 0 : -1;
}

void
dispatch_close(struct dispatch *d)
{
	struct forward_call *http;
	struct call *c;

	while ((http = forward_stop(d->api)) != NULL)
		call_release(d, call_of(http));
	while (d->waiting > 0)
		call_free(queue_take(d));
	while ((c = d->spare) != NULL) {
		d->spare = c->next;
		call_free(c);
	}
	forward_close(d->api);
	seen_free(&d->seen);
	record_free(&d->record);
	buf_free(&d->line);
}
