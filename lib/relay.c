#include <errno.h>
#include <stdio.h>

#include "clock.h"
#include "lines.h"
#include "output.h"
#include "relay.h"

#define OUTPUT_MAX	(1024 * 1024)	/* unwritten: take no more */
#define STOP_MS		2000		/* for what is in flight */
#define LAST_WORDS_MS	1000		/* for the reader, after that */
#define EVENTS_MAX	256

struct relay {
	const struct relay_options *o;
	struct interest interest;
	struct dispatch dispatch;
	struct lines lines;
	struct output out;
	struct record record;
	size_t body_max;		/* of a line */
	uint64_t line_number;
	int in, in_error;
	bool in_is_file, out_is_file;	/* always ready: epoll takes neither */
	bool in_ready, in_ended;
	int64_t read_at, written_at;
	int64_t stop_at;	/* what is in flight is broken off; -1 */
};

/* Input */

static void
warn_line(const struct relay *r, const char *fault)
{
	char object[48];

	snprintf(object, sizeof(object), "stdin, line %llu",
	    (unsigned long long)r->line_number);
	r->o->dispatch.warn(object, fault);
}

static void
pass_on(struct relay *r, struct span line)
{
	buf_add_span(&r->out.lines, line);
	buf_add_char(&r->out.lines, '\n');
}

static void
take_line(struct relay *r, struct span line)
{
	enum record_kind kind = RECORD_REPORT;

	if (line.n > 0)
		kind = record_parse(&r->record, line, r->body_max);
	/* A response is not ours to measure. */
	if (kind == RECORD_TOO_LARGE && r->record.method.n == 0)
		kind = RECORD_RESPONSE;
	switch (kind) {
	case RECORD_INVALID:
		if (r->record.fault == record_no_memory)
			r->out.lines.failed = true;
		else
			warn_line(r, r->record.fault);
		break;
	case RECORD_TOO_LARGE:
		record_put_error(&r->out.lines, r->record.id, 413,
		    MESSAGE_BODY_TOO_LARGE, NULL);
		break;
	case RECORD_REQUEST:
		dispatch_take(&r->dispatch, &r->record, r->read_at);
		break;
	case RECORD_RESPONSE:
	case RECORD_REPORT:
		pass_on(r, line);
		break;
	}
}

static bool
is_full(const struct relay *r)
{
	return output_pending(&r->out) >= OUTPUT_MAX;
}

/* Whether another line can be taken, whatever it is. */
static bool
has_room(const struct relay *r)
{
	return !is_full(r) && dispatch_has_room(&r->dispatch);
}

/* The lines that have been read, as far as there is room; at a stop, all. */
static void
take_lines(struct relay *r)
{
	enum lines_result kind;
	struct span line;

	while (r->stop_at >= 0 || has_room(r)) {
		kind = lines_next(&r->lines, &line);
		if (kind == LINES_NONE)
			break;
		r->line_number++;
		if (kind == LINES_TOO_LONG)
			warn_line(r, "over the limit of a line");
		else
			take_line(r, line);
	}
}

static void
end_input(struct relay *r, int error)
{
	struct span line;

	r->in_ended = true;
	r->in_error = error;
	if (lines_last(&r->lines, &line)) {
		r->line_number++;
		take_line(r, line);
	}
}

/* One read, when something is there and all that was read has been taken. */
static void
read_input(struct relay *r)
{
	ssize_t n;

	take_lines(r);
	if (!r->in_ready || r->in_ended || !has_room(r))
		return;
	r->in_ready = r->in_is_file;
	n = lines_fill(&r->lines);
	if (n == -1 && errno == EAGAIN)
		return;
	r->read_at = clock_mono_ms();
	if (n > 0)
		take_lines(r);
	else
		end_input(r, n == -1 ? errno : 0);
}

/* Output */

/* 0, or -1 with errno. */
static int
write_output(struct relay *r)
{
	int64_t every = r->o->keep_alive_ms;
	size_t pending = output_pending(&r->out);

	if (pending == 0 && every > 0 &&
	    clock_mono_ms() >= r->written_at + every) {
		buf_add_char(&r->out.lines, '\n');
		pending = 1;
	}
	if (pending == 0 && !buf_failed(&r->out.lines))
		return 0;
	if (output_flush(&r->out) == -1)
		return -1;
	if (every > 0 && output_pending(&r->out) < pending)
		r->written_at = clock_mono_ms();
	return 0;
}

/* The loop */

static int
wait_timeout(const struct relay *r)
{
	size_t pending = output_pending(&r->out);
	int64_t until = dispatch_due(&r->dispatch);

	if ((r->in_is_file && !r->in_ended && has_room(r)) ||
	    (r->out_is_file && pending > 0))
		return 0;
	if (r->o->keep_alive_ms > 0 && pending == 0)
		until = clock_earlier(until,
		    r->written_at + r->o->keep_alive_ms);
	if (r->stop_at >= 0)
		until = clock_earlier(until, r->dispatch.in_flight > 0 ?
		    r->stop_at : r->stop_at + LAST_WORDS_MS);
	return clock_poll_timeout(until);
}

/* 0, or -1 with errno. */
static int
set_interest(struct relay *r)
{
	bool read = !r->in_ended && !r->in_ready && has_room(r);

	/* Out of the epoll, as the end of a pipe is told unasked, for ever. */
	if (!r->in_is_file && (read ?
	    interest_set(&r->interest, r->in, EPOLLIN) :
	    interest_rest(&r->interest, r->in)) == -1)
		return -1;
	/* In it even with nothing to write: a reader that leaves is noticed. */
	return r->out_is_file ? 0 : interest_set(&r->interest, r->out.fd,
	    output_pending(&r->out) > 0 ? EPOLLOUT : 0);
}

/* RELAY_ENDED: go on. */
static enum relay_result
wait_for_events(struct relay *r, const sigset_t *unblocked)
{
	struct epoll_event events[EVENTS_MAX];
	int i, n;

	if (set_interest(r) == -1)
		return RELAY_FAILED;
	n = epoll_pwait(r->interest.epoll, events, EVENTS_MAX,
	    wait_timeout(r), unblocked);
	if (n == -1 && errno != EINTR)
		return RELAY_FAILED;
	for (i = 0; i < n; i++) {
		if (events[i].data.fd == r->in) {
			r->in_ready = true;
		} else if (events[i].data.fd != r->out.fd) {
			dispatch_ready(&r->dispatch, events[i].data.fd,
			    events[i].events);
		} else if (events[i].events & (EPOLLERR | EPOLLHUP)) {
			errno = EPIPE;
			return RELAY_NO_OUTPUT;
		}
	}
	return RELAY_ENDED;
}

static void
stop_reading(struct relay *r)
{
	r->stop_at = clock_mono_ms() + STOP_MS;
	r->in_ended = true;
	dispatch_stop(&r->dispatch);
	take_lines(r);
}

static bool
is_over(const struct relay *r)
{
	if (!r->in_ended || r->dispatch.in_flight > 0 ||
	    r->dispatch.waiting > 0)
		return false;
	return output_pending(&r->out) == 0 || (r->stop_at >= 0 &&
	    clock_mono_ms() >= r->stop_at + LAST_WORDS_MS);
}

static enum relay_result
run(struct relay *r, volatile sig_atomic_t *stop, const sigset_t *unblocked)
{
	enum relay_result result;

	for (;;) {
		if (*stop && r->stop_at < 0)
			stop_reading(r);
		read_input(r);
		dispatch_work(&r->dispatch, is_full(r));
		if (r->stop_at >= 0 && clock_mono_ms() >= r->stop_at)
			dispatch_break_off(&r->dispatch);
		if (write_output(r) == -1)
			return RELAY_NO_OUTPUT;
		if (is_over(r))
			break;
		result = wait_for_events(r, unblocked);
		if (result != RELAY_ENDED)
			return result;
	}
	errno = r->in_error;
	return r->stop_at >= 0 ? RELAY_STOPPED :
	    r->in_error != 0 ? RELAY_NO_INPUT : RELAY_ENDED;
}

/* 0, or -1 with errno. */
static int
open_all(struct relay *r, const struct relay_options *o, int in, int out)
{
	size_t body_max = o->dispatch.api.body_max;

	memset(r, 0, sizeof(*r));
	r->o = o;
	r->in = in;
	r->body_max = body_max > RECORD_BODY_MAX ? body_max : RECORD_BODY_MAX;
	r->lines.fd = in;
	r->lines.max = record_size_max(r->body_max);
	r->stop_at = -1;
	r->written_at = clock_mono_ms();
	output_open(&r->out, out);
	if (interest_open(&r->interest) == -1)
		return -1;
	r->in_is_file = interest_set(&r->interest, in, EPOLLIN) == -1;
	r->in_ready = r->in_is_file;
	r->out_is_file = interest_set(&r->interest, r->out.fd, 0) == -1;
	return dispatch_open(&r->dispatch, &o->dispatch, &r->interest,
	    &r->out.lines);
}

static void
close_all(struct relay *r)
{
	dispatch_close(&r->dispatch);
	interest_close(&r->interest);
	output_close(&r->out);
	lines_free(&r->lines);
	record_free(&r->record);
}

enum relay_result
relay_run(const struct relay_options *o, int in, int out,
    volatile sig_atomic_t *stop, const sigset_t *unblocked)
{
	enum relay_result result = RELAY_FAILED;
	struct relay r;
	int error;

	if (open_all(&r, o, in, out) == 0)
		result = run(&r, stop, unblocked);
	error = errno;
	close_all(&r);
	errno = error;
	return result;
}
