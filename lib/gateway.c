#include <sys/epoll.h>
#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "clock.h"
#include "serving.h"

#define EVENTS_MAX	256
#define ACCEPT_AGAIN_MS	100	/* after running out of descriptors */
#define LAST_ANSWERS_MS	1000	/* for claimed requests, at shutdown */

/* What epoll's data points to, for what is no connection. */
static char for_listener, for_watch, for_depth, for_parent;

static int
watch_connection(struct gateway *g, struct conn *c)
{
	struct epoll_event e = { .data.ptr = c,
	    .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };

	return epoll_ctl(g->epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static void
watch_listener(struct gateway *g, bool on)
{
	struct epoll_event e = { .data.ptr = &for_listener,
	    .events = on ? EPOLLIN : 0 };

	if (g->accepting != on)
		epoll_ctl(g->epoll, EPOLL_CTL_MOD, g->listener, &e);
	g->accepting = on;
}

static void
accept_all(struct gateway *g)
{
	struct conn *c;
	int fd, one = 1;

	while (g->connections < g->o->connections_max) {
		fd = accept4(g->listener, NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == -1 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (fd == -1)
			break;		/* descriptors, memory: later */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
		    sizeof(one));
		c = conn_new(fd);
		if (c == NULL || watch_connection(g, c) == -1) {
			if (c != NULL)
				conn_free(c);
			else
				close(fd);
			break;
		}
		g->connections++;
		serving_set_patience(g, c, PATIENCE_HEAD);
	}
	watch_listener(g, false);
	g->accept_at = g->now + ACCEPT_AGAIN_MS;
}

static bool
collect_id(void *ctx, const char *id)
{
	struct gateway *g = ctx;
	struct idmap_node *node = idmap_get(&g->waiting, id);

	/* The node is the connection's first member. */
	if (node != NULL) {
		struct conn *c = (struct conn *)(void *)node;

		if (serving_collect(g, c) && !c->dead)
			serving_continue(g, c);
	}
	return true;
}

/* Responses that events tell of: true if there was any. */
static bool
read_events(struct gateway *g)
{
	struct watch_event e;
	bool any = false;

	while (watch_next(&g->watch, &e)) {
		if (e.kind == WATCH_LOST) {
			g->stale = true;
			g->look_at = g->now;
		} else if (idmap_get(&g->waiting, e.id) != NULL) {
			any = true;
			(void)collect_id(g, e.id);
		}
	}
	if (any)
		watch_busy(&g->watch);
	return any;
}

static void
rewatch(struct gateway *g)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = &for_watch };
	struct epoll_event d = { .events = EPOLLIN | EPOLLONESHOT,
	    .data.ptr = &for_depth };

	watch_close(&g->watch);
	depth_close(&g->depth);
	watch_open(&g->watch, g->o->poll_ms);
	watch_folder(&g->watch, g->q, QUEUE_RESPONSES, WATCH_FOR_ARRIVED);
	depth_open(&g->depth, g->q, g->o->body_max, g->o->poll_ms);
	if (g->watch.fd != -1)
		epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->watch.fd, &e);
	if (g->depth.watch.fd != -1)
		epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->depth.watch.fd, &d);
}

/* Looks for responses, whatever the events said. */
static void
look(struct gateway *g)
{
	size_t before;
	bool missed;

	if (!queue_is_current(g->q) && queue_reopen(g->q) == 0)
		g->stale = true;
	if (g->stale)
		rewatch(g);
	g->stale = false;
	(void)read_events(g);
	before = g->waiting.count;
	(void)queue_each(g->q, QUEUE_RESPONSES, collect_id, g);
	missed = g->waiting.count < before && !read_events(g);
	watch_looked(&g->watch, missed);
	g->look_at = g->waiting.count > 0 ?
	    g->now + watch_interval(&g->watch) : -1;
}

/* An empty queue needs no sweeping, and nobody to wake up for it. */
static void
sweep(struct gateway *g)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLONESHOT,
	    .data.ptr = &for_depth };
	bool left = depth_sweep(&g->depth);

	if (left || g->waiting.count > 0) {
		g->sweep_at = g->now + QUEUE_SWEEP_EVERY_MS;
		return;
	}
	g->sweep_at = -1;
	if (g->depth.watch.fd != -1)
		epoll_ctl(g->epoll, EPOLL_CTL_MOD, g->depth.watch.fd, &e);
	else
		g->sweep_at = g->now + QUEUE_SWEEP_EVERY_MS;
}

static void
end_patience(struct gateway *g)
{
	struct conn *c;
	int i;

	for (i = 0; i < PATIENCES; i++)
		while ((c = g->lists[i].first) != NULL &&
		    c->deadline <= g->now) {
			if (i == PATIENCE_WAIT) {
				serving_give_up(g, c, FOR_TIMEOUT);
				if (!c->dead)
					serving_continue(g, c);
			} else {
				if (c->state == CONN_WAIT)
					serving_give_up(g, c, FOR_CLIENT);
				serving_bury(g, c);
			}
		}
}

static int
next_timeout(const struct gateway *g)
{
	int64_t at = clock_earlier(g->look_at, g->sweep_at);
	int i;

	at = clock_earlier(at, clock_earlier(g->accept_at, g->stop_at));
	for (i = 0; i < PATIENCES; i++)
		if (g->lists[i].first != NULL)
			at = clock_earlier(at, g->lists[i].first->deadline);
	return clock_poll_timeout(at);
}

static void
do_timers(struct gateway *g)
{
	if (g->waiting.count == 0 && !g->stale)
		g->look_at = -1;	/* all have been answered */
	if (g->look_at != -1 && g->now >= g->look_at)
		look(g);
	if (g->sweep_at != -1 && g->now >= g->sweep_at)
		sweep(g);
	end_patience(g);
	if (g->accept_at != -1 && g->now >= g->accept_at)
		g->accept_at = -1;
	if (!g->accepting && g->accept_at == -1 && g->stop_at == -1 &&
	    g->connections < g->o->connections_max)
		watch_listener(g, true);
}

/*
 * From now on no request is taken; those that nobody has claimed never will
 * be, the others may still be answered for a moment.
 */
static void
begin_stop(struct gateway *g)
{
	struct conn *c, *next;

	if (g->stop_at != -1)
		return;
	g->stop_at = g->now + LAST_ANSWERS_MS;
	watch_listener(g, false);
	close(g->listener);
	g->listener = -1;
	for (c = g->lists[PATIENCE_WAIT].first; c != NULL; c = next) {
		next = c->next;
		c->keep_alive = false;
		if (queue_has(g->q, QUEUE_REQUESTS, c->id))
			serving_give_up(g, c, FOR_SHUTDOWN);
	}
}

static void
dispatch(struct gateway *g, const struct epoll_event *e)
{
	struct conn *c = e->data.ptr;

	if (e->data.ptr == &for_listener) {
		accept_all(g);
	} else if (e->data.ptr == &for_watch) {
		(void)read_events(g);
	} else if (e->data.ptr == &for_depth) {
		if (g->sweep_at == -1)
			g->sweep_at = g->now + QUEUE_SWEEP_EVERY_MS;
	} else if (e->data.ptr == &for_parent) {
		begin_stop(g);
	} else if (!c->dead) {
		if (e->events & EPOLLOUT)
			c->writable = true;
		if (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->readable = true;
		if (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->hung_up = true;
		if (c->hung_up && c->state == CONN_WAIT)
			serving_give_up(g, c, FOR_CLIENT);
		else
			serving_continue(g, c);
	}
}

static bool
withdraw_one(void *ctx, const char *id)
{
	struct queue *q = ctx;

	if (id_is_from_gateway(span_of(id)))
		(void)queue_withdraw(q, id);
	return true;
}

static int
start(struct gateway *g, int parent)
{
	struct epoll_event e = { .events = EPOLLIN,
	    .data.ptr = &for_listener };

	if (queue_each(g->q, QUEUE_REQUESTS, withdraw_one, g->q) == -1)
		return -1;
	if ((g->epoll = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->listener, &e) == -1)
		return -1;
	e.data.ptr = &for_parent;
	e.events = EPOLLIN | EPOLLONESHOT;
	if (parent != -1 &&
	    epoll_ctl(g->epoll, EPOLL_CTL_ADD, parent, &e) == -1)
		return -1;
	g->watch.fd = g->depth.watch.fd = -1;
	rewatch(g);
	return 0;
}

static void
finish(struct gateway *g)
{
	struct conn *c, *next;
	int i;

	for (i = 0; i < PATIENCES; i++)
		for (c = g->lists[i].first; c != NULL; c = next) {
			next = c->next;
			if (c->state == CONN_WAIT)
				serving_give_up(g, c, FOR_SHUTDOWN);
			if (!c->dead && c->out.len > 0)
				(void)conn_flush(c);
			serving_bury(g, c);
		}
	serving_free_dead(g);
	watch_close(&g->watch);
	depth_close(&g->depth);
	idmap_free(&g->waiting);
	record_free(&g->record);
	buf_free(&g->path);
	buf_free(&g->query);
	buf_free(&g->joined);
	buf_free(&g->file);
	close(g->epoll);
}

int
gateway_run(struct queue *q, const struct gateway_options *o, int listener,
    int parent, volatile sig_atomic_t *stop, const sigset_t *unblocked)
{
	static struct gateway gateway;	/* large, and there is only one */
	struct gateway *g = &gateway;
	struct epoll_event events[EVENTS_MAX];
	int n, i;

	memset(g, 0, sizeof(*g));
	g->q = q;
	g->o = o;
	g->listener = listener;
	g->accepting = true;
	g->now = clock_mono_ms();
	g->look_at = g->accept_at = g->stop_at = -1;
	g->sweep_at = g->now;
	if (start(g, parent) == -1)
		return -1;
	while (g->stop_at == -1 ||
	    (g->waiting.count > 0 && g->now < g->stop_at)) {
		n = epoll_pwait(g->epoll, events, EVENTS_MAX,
		    next_timeout(g), unblocked);
		g->now = clock_mono_ms();
		for (i = 0; i < n; i++)
			dispatch(g, &events[i]);
		if (*stop)
			begin_stop(g);
		do_timers(g);
		serving_free_dead(g);
	}
	finish(g);
	return 0;
}
