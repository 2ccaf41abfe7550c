/*
 * The loop of a following drain: the queue's folders and stdin in, stdout
 * out.  Everything that has arrived together is claimed, answered and written
 * together.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "clock.h"
#include "drain.h"
#include "id.h"
#include "io.h"
#include "sweep.h"

#define INPUT_PAUSE (1024 * 1024)	/* unwritten output: read no more */
#define LAST_WORDS_MS 1000		/* for what is claimed, at the end */
#define REPORT_MS 10			/* reports wait for a request to go with */
#define REPORTS_MAX (16 * 1024)		/* or until they are so many bytes */

struct follow {
	struct drain *d;
	struct watch watch;
	struct responder responder;
	struct lines lines;
	int in, out;
	int64_t look_at, sweep_at, silent_at;	/* monotonic; -1: never */
	int64_t write_at;	/* what is in d->out; -1: nothing is */
	bool looked;		/* at least once */
	bool unannounced;	/* a look found what no event had told */
	bool counting;		/* at the limit: watching claims go */
	bool lost;		/* the queue has gone; said once */
	int look_error;		/* errno that looking last failed with */
	bool superseded;	/* a newer drain has the queue that came */
	int write_error;	/* errno of output that is not just closed */
};

static void
follow_open(struct follow *f, struct drain *d, int in, int out)
{
	int64_t now = clock_mono_ms();

	memset(f, 0, sizeof(*f));
	f->d = d;
	f->in = d->o->respond ? in : -1;
	f->out = out;
	f->responder.q = d->q;
	f->responder.body_max = d->o->body_max;
	f->lines.fd = in;
	f->lines.max = record_size_max(d->o->body_max);
	watch_open(&f->watch, d->o->poll_ms);
	watch_folder(&f->watch, d->q, QUEUE_REQUESTS, WATCH_FOR_ARRIVED);
	f->look_at = now;
	f->sweep_at = now;
	f->write_at = d->out.len > 0 ? now : -1;
	f->silent_at = d->o->respond && d->o->keep_alive_ms > 0 ?
	    now + d->o->keep_alive_ms : -1;
}

static void
follow_close(struct follow *f)
{
	watch_close(&f->watch);
	responder_free(&f->responder);
	lines_free(&f->lines);
}

/* Notes what the events say; true if there was any. */
static bool
read_events(struct follow *f)
{
	struct watch_event e;
	bool any = false;

	while (watch_next(&f->watch, &e)) {
		any = true;
		if (e.kind == WATCH_LOST)
			f->look_at = clock_mono_ms();
		else if (e.kind == WATCH_LEFT)
			drain_forget(f->d, e.id);
		else if (e.folder == QUEUE_REQUESTS)
			pending_add(&f->d->pending, e.id);
	}
	return any;
}

/* Our locks are files of the directory that went: -1 with errno, not had. */
static int
lock_again(struct drain *d)
{
	int fd;

	if (d->lock != -1) {
		if ((fd = drain_lock(d->q, false, 0)) == -1)
			return -1;
		io_close(d->lock);
		d->lock = fd;
	}
	if (!d->o->has_epoch)
		return 0;
	epoch_close(&d->epoch);
	return epoch_open(&d->epoch, d->q, d->o->epoch);
}

/* The queue was removed or replaced under us: use the one that is there. */
static bool
find_queue(struct follow *f)
{
	struct drain *d = f->d;

	if (!f->lost && queue_is_current(d->q))
		return true;
	if (queue_reopen(d->q) == -1) {
		if (!f->lost)
			d->o->warn(d->q->dir, "the queue has gone; waiting");
		f->lost = true;
		return false;
	}
	if (lock_again(d) == -1) {
		f->superseded = errno == ESTALE;
		f->lost = true;
		return false;
	}
	f->lost = false;
	f->counting = false;
	watch_close(&f->watch);
	watch_open(&f->watch, d->o->poll_ms);
	watch_folder(&f->watch, d->q, QUEUE_REQUESTS, WATCH_FOR_ARRIVED);
	return true;
}

static void
forget_gone_claims(struct drain *d)
{
	struct idmap_node *node, *next;

	for (node = idmap_next(&d->open, NULL); node != NULL; node = next) {
		next = idmap_next(&d->open, node);
		if (!queue_has(d->q, QUEUE_CLAIMED, node->id))
			drain_forget(d, node->id);
	}
}

/* A fault is said once: of a batch, by the caller. */
static void
look_failed(struct follow *f, int error)
{
	if (error != 0 && error != f->look_error &&
	    error != f->d->claim_error && f->out != -1)
		f->d->o->warn(f->d->q->dir, strerror(error));
	f->look_error = error;
}

/* Looks at the folders, whatever the events said. */
static void
look(struct follow *f)
{
	struct drain *d = f->d;
	size_t before = d->pending.count;

	if (find_queue(f)) {
		look_failed(f, drain_scan(d) == -1 ? errno : 0);
		f->unannounced = f->looked && d->pending.count > before &&
		    !read_events(f);
		f->looked = true;
		forget_gone_claims(d);
	}
	watch_looked(&f->watch, false);
	f->look_at = clock_mono_ms() + watch_interval(&f->watch);
}

/*
 * How many claims are open matters only when they may be too many; until
 * then nobody tells us that one has gone, and we do not ask.
 */
static void
count_claims(struct follow *f)
{
	struct drain *d = f->d;
	bool full = d->open.count >= d->o->claims_max;

	if (!full && f->counting && d->pending.count == 0) {
		watch_folder(&f->watch, d->q, QUEUE_CLAIMED, 0);
		f->counting = false;
	}
	if (!full)
		return;
	if (!f->counting && d->pending.count > 0) {
		watch_folder(&f->watch, d->q, QUEUE_CLAIMED, WATCH_FOR_LEFT);
		f->counting = true;
		forget_gone_claims(d);
	} else if (!f->counting) {
		forget_gone_claims(d);
	}
}

/* What is in d->out now is not to wait longer than ms. */
static void
write_within(struct follow *f, int64_t ms)
{
	f->write_at = clock_earlier(f->write_at, clock_mono_ms() + ms);
}

/* 0, or -1 when this drain must leave. */
static int
claim(struct follow *f)
{
	struct drain *d = f->d;
	ssize_t taken = 0;

	count_claims(f);
	if (d->pending.count > 0)
		taken = drain_take_all(d);
	if (taken == -1 && errno == ESTALE)
		return -1;
	if (taken == -1) {
		/* A fault is said once: of a batch, by the caller. */
		if (errno != d->claim_error && errno != f->look_error &&
		    f->out != -1)
			d->o->warn(d->q->dir, strerror(errno));
		d->claim_error = errno;
		pending_clear(&d->pending);	/* until the next look */
		watch_busy(&f->watch);
		f->look_at = clock_mono_ms() + watch_interval(&f->watch);
		return 0;
	}
	if (taken > 0) {
		d->claim_error = 0;
		if (f->unannounced)
			watch_looked(&f->watch, true);
		watch_busy(&f->watch);
		f->look_at = clock_mono_ms() + watch_interval(&f->watch);
	}
	f->unannounced = false;
	if (d->pending.count == 0 && d->pending.dropped)
		f->look_at = clock_mono_ms();
	return 0;
}

static void
answer(struct follow *f, struct span line)
{
	struct responder *r = &f->responder;
	char id[ID_MAX + 1];

	if (line.n == 0 && f->d->o->echo) {
		buf_add_char(&f->d->out, '\n');
		write_within(f, 0);
		return;
	}
	switch (respond_line(r, line, &f->d->out)) {
	case RESPOND_REPORTED:
		id_copy(r->record.id, id);
		drain_forget(f->d, id);
		write_within(f, f->d->out.len < REPORTS_MAX ? REPORT_MS : 0);
		break;
	case RESPOND_INVALID:
		f->d->o->warn("stdin", r->record.fault);
		break;
	default:
		break;
	}
}

/* Response lines from the far side: false at its end. */
static bool
read_lines(struct follow *f)
{
	struct drain *d = f->d;
	enum lines_result kind;
	struct span line;
	ssize_t n = lines_fill(&f->lines);

	if (n == -1 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	if (f->silent_at != -1)
		f->silent_at = clock_mono_ms() + d->o->keep_alive_ms;
	while ((kind = lines_next(&f->lines, &line)) != LINES_NONE) {
		if (kind == LINES_TOO_LONG) {
			d->o->warn("stdin", "a line over the limit, dropped");
			continue;
		}
		answer(f, line);
	}
	return true;
}

/* Writes what the far side takes now: false when it has gone. */
static bool
write_some(struct follow *f)
{
	struct drain *d = f->d;
	ssize_t n = io_write_ready(f->out, d->out.data, d->out.len);

	if (n == -1) {
		if (errno != EPIPE && errno != ECONNRESET)
			f->write_error = errno;
		return false;
	}
	drain_wrote(d, (size_t)n);
	if (d->out.len == 0)
		f->write_at = -1;
	return true;
}

/* Waits for the next thing to do: true when the far side is there still. */
static bool
wait_and_serve(struct follow *f, const sigset_t *unblocked)
{
	struct drain *d = f->d;
	bool writes = f->write_at != -1 && f->write_at <= clock_mono_ms();
	struct pollfd fds[3] = {
		{ .fd = f->out, .events = writes ? POLLOUT : 0 },
		{ .fd = d->out.len < INPUT_PAUSE ? f->in : -1,
		    .events = POLLIN },
		{ .fd = f->watch.fd, .events = POLLIN },
	};
	int ms = clock_poll_timeout(clock_earlier(
	    writes ? -1 : f->write_at, clock_earlier(f->look_at,
	    clock_earlier(f->sweep_at, f->silent_at))));
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	if (ppoll(fds, 3, ms == -1 ? NULL : &ts, unblocked) == -1)
		return errno == EINTR;
	if (fds[0].revents & POLLOUT) {
		if (!write_some(f))
			return false;
	} else if (io_peer_gone(fds[0].revents)) {
		return false;
	}
	if (fds[1].revents != 0 && !read_lines(f))
		return false;
	if (fds[2].revents != 0)
		read_events(f);
	return true;
}

/* What is claimed is written out, if the far side takes it in time. */
static void
flush_within(struct follow *f, int64_t ms)
{
	int64_t deadline = clock_mono_ms() + ms;
	struct pollfd p = { .fd = f->out, .events = POLLOUT };

	while (f->d->out.len > 0) {
		if (poll(&p, 1, clock_poll_timeout(deadline)) == 0 ||
		    !(p.revents & POLLOUT) || !write_some(f))
			return;
	}
}

/* Answers that had arrived when the far side went. */
static void
read_rest(struct follow *f)
{
	struct pollfd p = { .fd = f->in, .events = POLLIN };

	while (f->in != -1 && poll(&p, 1, 0) == 1 && (p.revents & POLLIN))
		if (!read_lines(f))
			return;
}

static enum follow_result
run(struct follow *f, volatile sig_atomic_t *stop, const sigset_t *unblocked)
{
	struct drain *d = f->d;
	struct sweep swept;
	size_t printed;
	int64_t now;

	while (!*stop) {
		now = clock_mono_ms();
		if (f->silent_at != -1 && now >= f->silent_at)
			return FOLLOW_SILENT;
		if (now >= f->look_at)
			look(f);
		if (f->superseded)
			return FOLLOW_SUPERSEDED;
		if (now >= f->sweep_at) {
			if (!f->lost)
				(void)sweep_run(d->q, d->o->body_max, false,
				    &swept);
			f->sweep_at = now + QUEUE_SWEEP_EVERY_MS;
		}
		printed = d->out.len;
		if (!f->lost && claim(f) == -1)
			return FOLLOW_SUPERSEDED;
		if (d->out.len > printed)
			write_within(f, 0);
		if (!wait_and_serve(f, unblocked))
			break;
	}
	return f->write_error != 0 ? FOLLOW_FAILED : FOLLOW_ENDED;
}

enum follow_result
drain_follow(struct drain *d, int in, int out, volatile sig_atomic_t *stop,
    const sigset_t *unblocked)
{
	enum follow_result result;
	struct follow f;

	follow_open(&f, d, in, out);
	result = run(&f, stop, unblocked);
	read_rest(&f);
	if (result != FOLLOW_SILENT)
		flush_within(&f, LAST_WORDS_MS);
	drain_answer_unprinted(d, MESSAGE_STOPPED);
	follow_close(&f);
	errno = f.write_error;
	return result;
}

int
drain_batch(struct drain *d, int64_t wait_ms, volatile sig_atomic_t *stop,
    const sigset_t *unblocked)
{
	int64_t now = clock_mono_ms(), deadline = -1;
	struct follow f;
	int result = -1, saved;

	if (wait_ms != 0)
		deadline = now + (wait_ms > 0 ? wait_ms : 0);
	follow_open(&f, d, -1, -1);
	f.sweep_at = -1;
	f.silent_at = deadline;
	for (;;) {
		now = clock_mono_ms();
		if (now >= f.look_at)
			look(&f);
		errno = ESTALE;
		if (f.superseded || claim(&f) == -1)
			break;
		/* Also what was claimed before claiming failed. */
		if (d->out.len > 0) {
			result = 0;
			break;
		}
		if ((errno = d->claim_error) != 0 ||
		    (errno = f.look_error) != 0)
			break;
		errno = *stop ? EINTR : EAGAIN;
		if (*stop || (deadline != -1 && now >= deadline))
			break;
		(void)wait_and_serve(&f, unblocked);
	}
	saved = errno;
	follow_close(&f);
	errno = saved;
	return result;
}
