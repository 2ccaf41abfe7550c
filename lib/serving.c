#include <sys/socket.h>

#include <errno.h>

#include "admission.h"
#include "answer.h"
#include "clock.h"
#include "serving.h"
#include "target.h"

#define PIPELINED_MAX	65536	/* bytes read ahead while a request waits */
#define DISCARD_MAX	(16 << 20)	/* bytes of a body nobody wants */

static const int64_t patience_ms[PATIENCES] = {
	[PATIENCE_HEAD] = 10000, [PATIENCE_BODY] = 30000,
	[PATIENCE_IDLE] = 60000, [PATIENCE_WRITE] = 30000,
	[PATIENCE_LINGER] = 2000,
};

void
serving_set_patience(struct gateway *g, struct conn *c,
    enum conn_patience patience)
{
	int64_t ms = patience == PATIENCE_WAIT ? g->o->response_ms :
	    patience_ms[patience];

	conn_list_in(g->lists, c, patience, g->now + ms);
}

void
serving_bury(struct gateway *g, struct conn *c)
{
	if (c->dead)
		return;
	conn_unlist(g->lists, c);
	c->dead = true;
	c->next = g->dead;
	g->dead = c;
	g->connections--;
}

void
serving_free_dead(struct gateway *g)
{
	struct conn *c;

	while ((c = g->dead) != NULL) {
		g->dead = c->next;
		conn_free(c);
	}
}

static int
answer_flags(const struct conn *c)
{
	return (c->keep_alive ? ANSWER_KEEP_ALIVE : 0) |
	    (c->http_1_0 ? ANSWER_HTTP_1_0 : 0) |
	    (c->is_head ? ANSWER_HEAD : 0);
}

/*
 * Sends the answer that is in out.  Then the next request, or the end: a
 * client that is still sending is read for a while, or a reset could destroy
 * the answer on its way.
 */
static void
send_answer(struct gateway *g, struct conn *c)
{
	if (buf_failed(&c->out) || conn_flush(c) == -1) {
		serving_bury(g, c);
		return;
	}
	if (c->out.len > 0) {
		serving_set_patience(g, c, PATIENCE_WRITE);
		return;
	}
	if (c->keep_alive) {
		serving_set_patience(g, c, PATIENCE_IDLE);
		return;
	}
	shutdown(c->fd, SHUT_WR);
	c->state = CONN_LINGER;
	serving_set_patience(g, c, PATIENCE_LINGER);
}

/* An answer to a request that was not read to its end: the last one here. */
static void
refuse_with(struct gateway *g, struct conn *c, int status,
    const char *message, const char *outcome)
{
	c->keep_alive = false;
	answer_put_error(&c->out, status, message, outcome, answer_flags(c));
	c->state = CONN_LINGER;
	send_answer(g, c);
}

static void
refuse(struct gateway *g, struct conn *c, int status, const char *message)
{
	refuse_with(g, c, status, message, NULL);
}

/* An error of our own to a request that was read whole, if it has a body. */
static void
fail(struct gateway *g, struct conn *c, int status, const char *message,
    const char *outcome)
{
	answer_put_error(&c->out, status, message, outcome, answer_flags(c));
	conn_next_request(c);
	c->state = CONN_HEAD;
	send_answer(g, c);
}

/* Notes what must be remembered when the head itself is out of sight. */
static void
note_head(struct gateway *g, struct conn *c, size_t len)
{
	const struct http_request *req = &g->req;

	c->head_len = len;
	c->is_chunked = req->chunked;
	c->body_len = 0;
	if (req->has_length)
		c->body_len = req->content_length < SIZE_MAX / 4 ?
		    (size_t)req->content_length : SIZE_MAX / 4;
	c->keep_alive = req->keep_alive && g->stop_at == -1;
	c->http_1_0 = req->minor == 0;
	c->is_head = span_is(req->method, "HEAD");
	c->is_safe = method_is_safe(req->method);
	c->chunked = (struct http_chunked){ 0 };
	buf_reset(&c->body, 0);
}

/* What the head alone forbids.  Without a body there is nothing unread. */
static void
deny(struct gateway *g, struct conn *c, int status, const char *message)
{
	/* Another time it may be taken: that it was not, is said then. */
	const char *outcome = status == 503 ? OUTCOME_NOT_STARTED : NULL;

	if (c->is_chunked || c->body_len > 0)
		refuse_with(g, c, status, message, outcome);
	else
		fail(g, c, status, message, outcome);
}

/* A complete head: false when the request has been refused. */
static bool
check_head(struct gateway *g, struct conn *c)
{
	const struct http_request *req = &g->req;
	bool has_body = c->is_chunked || c->body_len > 0;

	if (target_canonicalise(req->target, &g->path, &g->query) == -1)
		refuse(g, c, 400, "Bad request target.");
	else if (!admission_of_host(&g->req, g->o))
		deny(g, c, 421, "Misdirected request.");
	else if (!admission_of_token(&g->req, g->o))
		deny(g, c, 401, "Invalid bridge token.");
	else if (g->stop_at != -1)
		deny(g, c, 503, "Bridge gateway is shutting down.");
	else if (depth_is_full(&g->depth, g->o->depth_max))
		deny(g, c, 503, "Bridge request queue is full.");
	else if (has_body && !c->is_head && !span_is(req->method, "GET") &&
	    !admission_of_type(&g->req, g->o))
		refuse(g, c, 415, "Bridge only accepts JSON request bodies.");
	else if (!c->is_chunked && c->body_len > g->o->body_max)
		refuse(g, c, 413, MESSAGE_BODY_TOO_LARGE);
	else
		return true;
	return false;
}

/* The request's file, from the head in g->req and the connection's body. */
static void
make_file(struct gateway *g, struct conn *c)
{
	struct record *r = &g->record;
	char now[CLOCK_TEXT_SIZE];

	clock_format(clock_wall_ms(), now);
	r->id = span_of(c->id);
	r->method = g->req.method;
	r->path = buf_span(&g->path);
	r->query = g->query.len > 0 ? buf_span(&g->query) : span_of("");
	admission_take_headers(&g->req, &g->joined, r);
	r->body = conn_body(c);
	r->body_form = RECORD_BODY_BYTES;
	r->created_at = span_of(now);
	r->timeout_ms = g->o->response_ms == GATEWAY_RESPONSE_MS ? 0 :
	    g->o->response_ms;
	r->remaining_ms = -1;
	buf_reset(&g->file, 1 << 16);
	record_put_request(&g->file, r);
	if (buf_failed(&g->path) || buf_failed(&g->query) ||
	    buf_failed(&g->joined))
		g->file.failed = true;
}

static int
submit_file(struct gateway *g, struct conn *c)
{
	if (buf_failed(&g->file)) {
		errno = ENOMEM;
		return -1;
	}
	if (queue_submit(g->q, c->id, buf_span(&g->file)) == 0)
		return 0;
	/* The queue was removed under us: serve the one that is there. */
	if (errno != ENOENT || queue_reopen(g->q) == -1)
		return -1;
	g->stale = true;
	g->look_at = g->now;
	return queue_submit(g->q, c->id, buf_span(&g->file));
}

static void
submit(struct gateway *g, struct conn *c)
{
	int error = 0;

	c->node.id = c->id;
	if (id_make(ID_GATEWAY, c->id) == -1 ||
	    idmap_add(&g->waiting, &c->node) == -1) {
		fail(g, c, 503, strerror(errno), OUTCOME_NOT_STARTED);
		return;
	}
	make_file(g, c);
	if (submit_file(g, c) == -1) {
		error = errno;
		idmap_take(&g->waiting, c->id);
		fail(g, c, 503, strerror(error), OUTCOME_NOT_STARTED);
		return;
	}
	conn_next_request(c);
	c->state = CONN_WAIT;
	serving_set_patience(g, c, PATIENCE_WAIT);
	if (g->look_at == -1)
		g->look_at = g->now + watch_interval(&g->watch);
	if (g->sweep_at == -1)
		g->sweep_at = g->now + QUEUE_SWEEP_EVERY_MS;
}

static void
answer_unknown(struct gateway *g, struct conn *c, const char *message)
{
	if (c->is_safe)
		fail(g, c, 502, message, NULL);
	else
		fail(g, c, 409, message, OUTCOME_INDETERMINATE);
}

bool
serving_collect(struct gateway *g, struct conn *c)
{
	struct record *r = &g->record;
	bool valid;

	valid = queue_collect(g->q, c->id, record_size_max(g->o->body_max),
	    &g->file) == 0;
	if (!valid && (errno == ENOENT || errno == EAGAIN))
		return false;
	valid = valid && record_parse(r, buf_span(&g->file), g->o->body_max) ==
	    RECORD_RESPONSE;
	idmap_take(&g->waiting, c->id);
	if (c->dead)
		return true;
	c->state = CONN_HEAD;
	if (!valid) {
		answer_unknown(g, c, "Bridge response JSON is malformed.");
		return true;
	}
	if (span_is(record_outcome(r), OUTCOME_INDETERMINATE))
		r->status = 409;
	answer_put(&c->out, r, answer_flags(c));
	send_answer(g, c);
	return true;
}

void
serving_give_up(struct gateway *g, struct conn *c, enum given_up why)
{
	const char *message = why == FOR_SHUTDOWN ?
	    "Bridge gateway is shutting down." :
	    "Timed out waiting for host bridge response.";
	bool withdrawn;

	if (why == FOR_CLIENT)
		serving_bury(g, c);
	withdrawn = queue_give_up(g->q, c->id) == QUEUE_WITHDRAWN;
	if (!withdrawn && serving_collect(g, c))
		return;
	idmap_take(&g->waiting, c->id);
	if (why == FOR_CLIENT)
		return;
	c->state = CONN_HEAD;
	/* A worker that does not claim may be handling it all the same. */
	if (withdrawn && g->o->claims)
		fail(g, c, why == FOR_SHUTDOWN ? 503 : 502, message,
		    OUTCOME_NOT_STARTED);
	else
		answer_unknown(g, c, message);
}

/* Reads and discards, so that the answer arrives. */
static void
linger(struct gateway *g, struct conn *c)
{
	while (c->readable && conn_fill(c, PIPELINED_MAX)) {
		c->discarded += c->in.len;
		buf_reset(&c->in, c->in.cap);
		if (c->discarded > DISCARD_MAX)
			break;
	}
	if (c->peer_closed || c->discarded > DISCARD_MAX)
		serving_bury(g, c);
}

/*
 * One step: false when there is nothing to do until more arrives.  What
 * follows a refused request is there to be read, or to be discarded.
 */
static bool
read_head(struct gateway *g, struct conn *c)
{
	int status = 400;
	ssize_t n;

	if (c->in.len == 0) {
		if (c->peer_closed)
			serving_bury(g, c);
		return false;
	}
	if (c->patience != PATIENCE_HEAD || !c->listed)
		serving_set_patience(g, c, PATIENCE_HEAD);
	n = http_parse_head(&c->scan, buf_span(&c->in), &g->req, &status);
	if (n == 0) {
		if (c->peer_closed)
			serving_bury(g, c);
		return false;
	}
	c->is_head = c->http_1_0 = false;
	if (n == -1) {
		refuse(g, c, status, status == 431 ?
		    "Request header fields too large." : status == 505 ?
		    "HTTP version not supported." : "Malformed HTTP request.");
		return true;
	}
	note_head(g, c, (size_t)n);
	if (!check_head(g, c))
		return true;
	c->state = CONN_BODY;
	serving_set_patience(g, c, PATIENCE_BODY);
	return true;
}

static bool
read_body(struct gateway *g, struct conn *c, bool fresh)
{
	struct http_scan scan = { 0 };
	int status, result = conn_take_body(c, g->o->body_max);

	if (result == 0) {
		if (c->peer_closed)
			serving_bury(g, c);
		else if (fresh && g->req.expect_continue)
			buf_add_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
		if (!c->dead && conn_flush(c) == -1)
			serving_bury(g, c);
		return false;
	}
	if (result < 0) {
		if (result == -2)
			refuse(g, c, 413, MESSAGE_BODY_TOO_LARGE);
		else
			refuse(g, c, 400, "Malformed HTTP request.");
		return true;
	}
	/* Nothing is handled for a client that has gone. */
	if (c->peer_closed) {
		serving_bury(g, c);
		return false;
	}
	if (!fresh) {
		/* Other heads have been parsed since: see this one again. */
		(void)http_parse_head(&scan, (struct span){ c->in.data,
		    c->head_len }, &g->req, &status);
		(void)target_canonicalise(g->req.target, &g->path, &g->query);
	}
	submit(g, c);
	return true;
}

/* How much may be read ahead in this state. */
static size_t
read_limit(const struct conn *c)
{
	if (c->state == CONN_BODY)
		return c->head_len + PIPELINED_MAX +
		    (c->is_chunked ? 0 : c->body_len);
	return PIPELINED_MAX;
}

void
serving_continue(struct gateway *g, struct conn *c)
{
	bool fresh = false, again = true;
	size_t had;

	while (again && !c->dead) {
		if (c->out.len > 0) {
			had = c->out_at;
			if (conn_flush(c) == -1)
				serving_bury(g, c);
			else if (c->state != CONN_BODY &&
			    (c->out.len == 0 || c->out_at > had))
				send_answer(g, c);
			if (!c->dead && c->out.len > 0)
				serving_set_patience(g, c, PATIENCE_WRITE);
			if (c->dead || c->out.len > 0)
				return;
		}
		if (c->state == CONN_LINGER) {
			linger(g, c);
			return;
		}
		had = c->in.len;
		/* A head just parsed points into what has been read. */
		if (!fresh)
			(void)conn_fill(c, read_limit(c));
		if (buf_failed(&c->in)) {
			serving_bury(g, c);
			return;
		}
		if (c->state == CONN_WAIT) {
			if (c->peer_closed)
				serving_give_up(g, c, FOR_CLIENT);
			return;
		}
		if (c->state == CONN_HEAD) {
			again = fresh = read_head(g, c);
		} else {
			if (!fresh && c->in.len > had)
				serving_set_patience(g, c, PATIENCE_BODY);
			again = read_body(g, c, fresh) || c->readable;
			fresh = false;
		}
	}
}
