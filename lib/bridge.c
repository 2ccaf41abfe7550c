#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "bridge.h"
#include "clock.h"
#include "id.h"
#include "io.h"
#include "queue.h"
#include "record.h"

#define BACKLOG_MAX	(1 << 20)	/* unread by the next: read no more */
#define ANSWERS_MAX	(64 << 20)	/* bytes, and room for those in flight */
#define BACKOFF_MS	100
#define BACKOFF_MAX_MS	5000
#define UP_MS		30000		/* for the first sign of life */
#define STOP_MS		2000
#define RESEND_MS	500		/* after the system refused one */
#define RESENDS_MAX	60

/* A request that the host has. */
struct held {
	struct idmap_node node;		/* first */
	bool safe;
	bool refused;			/* a full disk, say: sent once more */
	unsigned tries;
	struct buf answer;		/* its line; empty: not answered yet */
	char id[];
};

/* Lines */

/*
 * Our tools begin a line with its id.  What comes out of the sandbox may be
 * anything; whatever else it says, pc-allow looks at it.
 */
static struct span
line_id(struct span line)
{
	static const char start[] = "{\"id\":\"";
	struct span id = { NULL, 0 };
	const char *end;

	if (line.n < sizeof(start) ||
	    memcmp(line.p, start, sizeof(start) - 1) != 0)
		return id;
	id.p = line.p + sizeof(start) - 1;
	end = memchr(id.p, '"', line.n - (sizeof(start) - 1));
	id.n = end != NULL ? (size_t)(end - id.p) : 0;
	if (!id_is_valid(id))
		id = (struct span){ NULL, 0 };
	return id;
}

/* What follows the id, `","key":` */
static bool
line_has_next(struct span line, struct span id, const char *key)
{
	struct span rest = { id.p + id.n, 0 };

	rest.n = (size_t)(line.p + line.n - rest.p);
	return span_starts(rest, key);
}

static struct held *
find(const struct bridge *b, struct span id)
{
	char text[ID_MAX + 1];

	id_copy(id, text);
	return (struct held *)(void *)idmap_get(&b->held, text);
}

static struct held *
hold(struct bridge *b, struct span id)
{
	struct held *h;

	if (b->held.count >= BRIDGE_HELD_MAX)
		return NULL;
	if ((h = calloc(1, sizeof(*h) + id.n + 1)) == NULL)
		return NULL;
	memcpy(h->id, id.p, id.n);
	h->node.id = h->id;
	if (idmap_add(&b->held, &h->node) == -1) {
		free(h);
		return NULL;
	}
	return h;
}

static void
let_go(struct bridge *b, struct held *h)
{
	(void)idmap_take(&b->held, h->id);
	b->answers -= h->answer.len;
	buf_free(&h->answer);
	free(h);
}

static void
drop_line(struct bridge *b, const char *reason)
{
	run_event(b->r, "relay", "dropped", "\"reason\":\"%s\"", reason);
}

static bool
is_safe_request(struct span line, struct span id)
{
	static const char key[] = "\",\"method\":\"";
	struct span method;
	const char *end;

	if (!line_has_next(line, id, key))
		return false;
	method.p = id.p + id.n + sizeof(key) - 1;
	end = memchr(method.p, '"', (size_t)(line.p + line.n - method.p));
	if (end == NULL)
		return false;
	method.n = (size_t)(end - method.p);
	return method_is_safe(method);
}

/*
 * Published, or never to be: it is done with.  What the system refused may go
 * better soon; answering twice is harmless.
 */
static void
take_report(struct bridge *b, struct held *h, struct span line,
    struct span id)
{
	static const char start[] = "\",\"wrote\":false,\"reason\":\"";
	enum queue_delivery d;

	if (!line_has_next(line, id, start) || h->tries >= RESENDS_MAX) {
		let_go(b, h);
		return;
	}
	for (d = 0; d < QUEUE_FAILED; d++) {
		const char *reason = queue_delivery_reason(d);
		struct span rest = { id.p + id.n + sizeof(start) - 1, 0 };

		rest.n = (size_t)(line.p + line.n - rest.p);
		if (span_starts(rest, reason)) {
			let_go(b, h);
			return;
		}
	}
	h->tries++;
	h->refused = true;
	if (b->resend_at == -1)
		b->resend_at = clock_mono_ms() + RESEND_MS;
}

void
bridge_take(struct bridge *b, struct span line)
{
	struct span id = line_id(line);
	struct held *h;

	b->heard_at = clock_mono_ms();
	b->up = true;
	b->backoff_ms = BACKOFF_MS;
	if (line.n == 0)
		return;
	if (id.p == NULL) {
		drop_line(b, "no id at its beginning");
		return;
	}
	h = find(b, id);
	if (line_has_next(line, id, "\",\"wrote\":")) {
		if (h != NULL && h->answer.len > 0)
			take_report(b, h, line, id);
		return;
	}
	if (h == NULL && (h = hold(b, id)) == NULL) {
		drop_line(b, "too many requests at once");
		return;
	}
	h->safe = is_safe_request(line, id);
	b->r->requests++;
	b->r->bytes += line.n;
	buf_add_span(&b->allow.to, line);
	buf_add_char(&b->allow.to, '\n');
}

static void
read_channel(struct task *t, struct span bytes)
{
	struct bridge *b = t->arg;
	struct span line;
	enum lines_result kind;

	lines_add(&b->from_channel, bytes);
	while ((kind = lines_next(&b->from_channel, &line)) != LINES_NONE)
		if (kind == LINES_LINE)
			bridge_take(b, line);
		else
			drop_line(b, "over the limit");
}

/* To the far side now, or as soon as there is one. */
static void
send_answer(struct bridge *b, struct span line)
{
	struct buf *to = b->r->c->channel.stream ? &b->channel.to :
	    &b->waiting;

	if (b->r->c->channel.stream && b->channel.in == -1)
		return;		/* sent when it is open again */
	buf_add_span(to, line);
	buf_add_char(to, '\n');
}

/*
 * What is published is reported, and let go of; a sandbox that asks and never
 * reports is not to fill our memory.
 */
static void
take_answer(struct bridge *b, struct span line)
{
	size_t most = ANSWERS_MAX +
	    (size_t)b->r->c->limits.in_flight * b->line_max;
	struct span id = line_id(line);
	struct held *h = id.p != NULL ? find(b, id) : NULL;

	if (h == NULL)
		return;
	b->r->bytes += line.n;
	if (h->answer.len == 0 && b->answers >= most) {
		drop_line(b, "too many answers that were not reported");
		let_go(b, h);
		return;
	}
	if (h->answer.len == 0) {
		buf_add_span(&h->answer, line);
		b->answers += h->answer.len;
	}
	send_answer(b, line);
}

static void
read_forward(struct task *t, struct span bytes)
{
	struct bridge *b = t->arg;
	struct span line;
	enum lines_result kind;

	lines_add(&b->from_forward, bytes);
	while ((kind = lines_next(&b->from_forward, &line)) != LINES_NONE)
		if (kind == LINES_LINE)
			take_answer(b, line);
}

/* One request after another, from the first (NULL) to NULL. */
static struct held *
next_held(const struct bridge *b, const struct held *h)
{
	return (struct held *)(void *)idmap_next(&b->held,
	    h != NULL ? &h->node : NULL);
}

static void
send_refused(struct bridge *b)
{
	struct held *h = NULL;

	b->resend_at = -1;
	while ((h = next_held(b, h)) != NULL) {
		if (h->refused)
			send_answer(b, buf_span(&h->answer));
		h->refused = false;
	}
}

void
bridge_put_held(struct bridge *b, struct buf *out)
{
	struct held *h = NULL;

	while ((h = next_held(b, h)) != NULL) {
		buf_add_str(out, h->id);
		buf_add_char(out, '\n');
	}
}

void
bridge_put_unpublished(struct bridge *b, struct buf *out)
{
	struct held *h = NULL;

	while ((h = next_held(b, h)) != NULL) {
		if (h->answer.len == 0)
			continue;
		buf_add_span(out, buf_span(&h->answer));
		buf_add_char(out, '\n');
	}
}

bool
bridge_has_answers(const struct bridge *b)
{
	return b->waiting.len > 0;
}

/* The host's side */

static void
add_number(struct run *r, struct wordlist *w, const char *option,
    uint64_t number)
{
	words_add(r, w, option);
	words_add(r, w, run_text(r, "%llu", (unsigned long long)number));
}

static void
add_option(struct run *r, struct wordlist *w, const char *option,
    const char *value)
{
	if (value == NULL)
		return;
	words_add(r, w, option);
	words_add(r, w, value);
}

static void
allow_words(struct run *r, struct wordlist *w)
{
	words_add(r, w, run_text(r, "%s/pc-allow", r->o->tools));
	add_option(r, w, "-r", r->c->api.rules);
	add_number(r, w, "-m", r->c->limits.body);
}

static void
forward_words(struct run *r, struct wordlist *w)
{
	words_add(r, w, run_text(r, "%s/pc-forward", r->o->tools));
	add_option(r, w, "-u", r->c->api.url);
	add_option(r, w, "--token-file", r->c->api.token_file);
	add_option(r, w, "--ca-file", r->c->api.ca_file);
	add_option(r, w, "--run-id", r->c->api.run_id);
	add_number(r, w, "-m", r->c->limits.body);
	add_number(r, w, "-j", (uint64_t)r->c->limits.in_flight);
	words_add(r, w, "-t");
	words_add(r, w, run_text(r, "%lldms", (long long)r->c->call_ms));
}

static int
start_host(struct bridge *b)
{
	struct wordlist allow = { .v = NULL }, forward = { .v = NULL };
	struct run *r = b->r;
	struct fields_memory before = run_scratch(r);
	int ends[2], result = -1;

	task_init(&b->allow, "pc-allow", NULL, NULL);
	task_init(&b->forward, "pc-forward", read_forward, b);
	lines_free(&b->from_forward);
	b->from_forward = (struct lines){ .fd = -1, .max = b->line_max };
	/* It reads what the other has checked, straight. */
	b->forward.finish = false;
	allow_words(r, &allow);
	forward_words(r, &forward);
	if (pipe2(ends, O_CLOEXEC) == -1)
		(void)run_fail_errno(r, "pipe");
	else if (run_start_local(r, &b->allow, &allow, -1, ends[1],
	    false) == -1)
		io_close(ends[0]);
	else
		result = run_start_local(r, &b->forward, &forward, ends[0],
		    -1, true);
	run_give_back(r, before);
	return result;
}

int
bridge_start_host(struct bridge *b, struct run *r)
{
	*b = (struct bridge){ .r = r, .reopen_at = -1, .resend_at = -1,
	    .backoff_ms = BACKOFF_MS,
	    .line_max = record_size_max(r->c->limits.body) };
	task_init(&b->channel, "relay", read_channel, b);
	task_init(&b->answer, "answer", NULL, NULL);
	b->from_channel = (struct lines){ .fd = -1, .max = b->line_max };
	return start_host(b);
}

/*
 * One of the two has died.  What they had in hand is not known; what the API
 * had of it neither: it is answered as that.
 */
static int
restart_host(struct bridge *b)
{
	const struct task *dead = b->allow.ended &&
	    b->forward.status != RUN_STATUS_NEVER ? &b->allow : &b->forward;
	struct buf lines = { 0 };
	struct held *h, *next;

	/* Its words, its rules or its token will be wrong again. */
	if (dead->status == RUN_STATUS_NEVER)
		return run_fail(b->r, RUN_STATUS_NEVER, "relay: %s",
		    run_last_lines(b->r, (struct span){ dead->tail,
		    dead->tail_len }, 1, 400));
	run_event(b->r, "relay", "restart", "\"program\":\"%s\","
	    "\"status\":%d", dead->name, dead->status);
	task_drop(&b->r->tasks, &b->allow);
	task_drop(&b->r->tasks, &b->forward);
	for (h = next_held(b, NULL); h != NULL; h = next) {
		/* It may be let go. */
		next = next_held(b, h);
		if (h->answer.len > 0)
			continue;
		record_put_error(&lines, span_of(h->id), h->safe ? 502 : 504,
		    "The host's relay ended before an answer came.",
		    h->safe ? NULL : OUTCOME_INDETERMINATE);
		if (lines.len > 0)
			take_answer(b, (struct span){ lines.data,
			    lines.len - 1 });
		buf_reset(&lines, lines.cap);
	}
	buf_free(&lines);
	return start_host(b);
}

/* The channel's side, streaming */

static void
drain_words(struct bridge *b, struct wordlist *w)
{
	struct run *r = b->r;

	words_add(r, w, r->tools);
	words_add(r, w, "pc-drain");
	words_add(r, w, "-q");
	words_add(r, w, r->queue);
	add_number(r, w, "-n", (uint64_t)r->c->limits.in_flight);
	add_number(r, w, "-m", r->c->limits.body);
	add_number(r, w, "--epoch", r->o->epoch + b->opened);
	words_add(r, w, "-f");
	words_add(r, w, "--respond");
	words_add(r, w, "--echo");
	words_add(r, w, "--recover");
	words_add(r, w, "--except");
	words_add(r, w, "-");
	if (r->queue_is_scratch)
		words_add(r, w, "--existing");
}

static int
open_channel(struct bridge *b)
{
	struct fields_memory before = run_scratch(b->r);
	struct wordlist w = { .v = NULL };
	struct task *t = &b->channel;
	int64_t now = clock_mono_ms();
	int result;

	task_init(t, "relay", read_channel, b);
	lines_free(&b->from_channel);
	b->from_channel = (struct lines){ .fd = -1, .max = b->line_max };
	b->up = false;
	b->reopen_at = -1;
	b->heard_at = now;
	b->ping_at = now + BRIDGE_PING_MS;
	b->opened++;
	drain_words(b, &w);
	result = run_put_request(b->r, &t->to, &w);
	bridge_put_held(b, &t->to);
	/* The end of the ids; then what is to be echoed, and what is unsaid. */
	buf_add_str(&t->to, "\n\n");
	bridge_put_unpublished(b, &t->to);
	if (result == 0)
		result = run_start_exec(b->r, t, EXEC_BECOME, -1, -1);
	run_give_back(b->r, before);
	return result;
}

static void
close_channel(struct bridge *b, const char *why)
{
	struct fields_memory before = run_scratch(b->r);
	int64_t now = clock_mono_ms();
	struct task *t = &b->channel;
	char *said = run_last_lines(b->r, (struct span){ t->tail,
	    t->tail_len }, 2, 400);

	run_event(b->r, "relay", "lost", "\"reason\":\"%s\",\"status\":%d,"
	    "\"said\":%s", why, t->ended ? t->status : -1,
	    run_quoted(b->r, said));
	run_give_back(b->r, before);
	task_drop(&b->r->tasks, t);
	b->reopen_at = now + b->backoff_ms;
	b->backoff_ms = 2 * b->backoff_ms < BACKOFF_MAX_MS ?
	    2 * b->backoff_ms : BACKOFF_MAX_MS;
}

/*
 * A tmpfs that the execs do not share, or a queue that somebody removed: the
 * runtime root is where they all are.
 */
static bool
leave_scratch(struct bridge *b)
{
	struct run *r = b->r;

	if (!r->queue_is_scratch || b->channel.status != 1 || b->up ||
	    b->opened > 1)
		return false;
	r->queue_is_scratch = false;
	r->queue = run_text(r, "%s/paperclip-bridge/queue", r->root);
	run_event(r, "relay", "queue", "\"queue\":%s",
	    run_quoted(r, r->queue));
	return true;
}

int
bridge_start(struct bridge *b, struct run *r)
{
	if (bridge_start_host(b, r) == -1)
		return -1;
	return open_channel(b);
}

int64_t
bridge_due(const struct bridge *b)
{
	int64_t due = b->heard_at + BRIDGE_SILENT_MS;

	if (b->stopping)
		return -1;
	if (b->reopen_at != -1)
		return b->reopen_at;
	if (b->resend_at != -1 && b->resend_at < due)
		due = b->resend_at;
	return b->ping_at < due ? b->ping_at : due;
}

int
bridge_tend_host(struct bridge *b)
{
	if (b->stopping || b->r->o->dry)
		return 0;
	if (b->resend_at != -1 && clock_mono_ms() >= b->resend_at)
		send_refused(b);
	return b->allow.ended || b->forward.ended ? restart_host(b) : 0;
}

int
bridge_tend(struct bridge *b)
{
	int64_t now = clock_mono_ms();

	if (b->stopping || b->r->o->dry)
		return 0;
	if (bridge_tend_host(b) == -1)
		return -1;
	/* A reader that lags behind holds up who writes to it. */
	b->channel.paused = task_pending(&b->allow) > BACKLOG_MAX;
	b->forward.paused = b->channel.in != -1 &&
	    task_pending(&b->channel) > BACKLOG_MAX;
	if (b->reopen_at != -1)
		return now >= b->reopen_at ? open_channel(b) : 0;
	if (b->channel.ended) {
		if (leave_scratch(b)) {
			task_drop(&b->r->tasks, &b->channel);
			return open_channel(b);
		}
		close_channel(b, "ended");
	} else if (now >= b->heard_at + BRIDGE_SILENT_MS) {
		close_channel(b, "silent");
	} else if (now >= b->ping_at) {
		buf_add_char(&b->channel.to, '\n');
		b->ping_at = now + BRIDGE_PING_MS;
	}
	return 0;
}

int
bridge_wait_up(struct bridge *b)
{
	int64_t deadline = clock_mono_ms() + UP_MS;
	struct run *r = b->r;

	while (!b->up && !r->o->dry) {
		if (bridge_tend(b) == -1)
			return -1;
		if (run_is_cancelled(r))
			return run_fail(r, 128 + r->tasks.stop,
			    "relay: stopped by signal %d", r->tasks.stop);
		if (clock_mono_ms() >= deadline)
			return run_fail_exec(r, "relay", b->channel.status,
			    (struct span){ b->channel.tail,
			    b->channel.tail_len });
		if (tasks_wait(&r->tasks, bridge_due(b) < deadline ?
		    bridge_due(b) : deadline) == -1)
			return run_fail_errno(r, "relay");
	}
	return 0;
}

void
bridge_stop(struct bridge *b)
{
	int64_t deadline = clock_mono_ms() + STOP_MS;
	struct task *t = &b->channel;

	b->stopping = true;
	/* Its end says that no more comes: the drain leaves by itself. */
	t->finish = true;
	while (t->pid > 0 && clock_mono_ms() < deadline)
		if (tasks_wait(&b->r->tasks, deadline) == -1)
			break;
	task_drop(&b->r->tasks, t);
	task_drop(&b->r->tasks, &b->answer);
	b->allow.finish = true;
	while ((b->allow.pid > 0 || b->forward.pid > 0) &&
	    clock_mono_ms() < deadline)
		if (tasks_wait(&b->r->tasks, deadline) == -1)
			break;
	task_drop(&b->r->tasks, &b->allow);
	task_drop(&b->r->tasks, &b->forward);
}

void
bridge_free(struct bridge *b)
{
	struct idmap_node *node;

	while ((node = idmap_any(&b->held)) != NULL)
		let_go(b, (struct held *)(void *)node);
	idmap_free(&b->held);
	lines_free(&b->from_channel);
	lines_free(&b->from_forward);
	lines_free(&b->from_answer);
	buf_free(&b->waiting);
}
