/*
 * api - an HTTP API for tests: light, exact, and able to misbehave on demand
 * (api_answer.h).
 *
 * One thread.  A connection serves one request at a time; an answer that is
 * to be late is held in the connection and delays no other.  What --log
 * writes of a request is in the file before a byte of its answer is sent.
 */
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api_answer.h"
#include "clock.h"
#include "units.h"

#define BACKLOG		4096
#define EVENTS_MAX	256
#define READ_SIZE	16384
#define MESSAGE_MAX	(80 << 20)
#define KEEP		65536		/* bytes of buffers kept for reuse */
#define LOG_BODY	64

static const char usage_text[] =
    "usage: api [--port N] [--unix PATH] [--delay MS] [--log FILE]\n"
    "           [--close-after-read N]\n"
    "  --port N              listen on 127.0.0.1; 0, the default: any port\n"
    "  --unix PATH           listen there instead, or also with --port\n"
    "  --delay MS            every answer so late\n"
    "  --log FILE            append a line per request that was read:\n"
    "                        METHOD TARGET and its idempotency-key, or\n"
    "                        without one the first 64 bytes of its body\n"
    "  --close-after-read N  every Nth request is read, logged, and its\n"
    "                        connection closed without an answer\n"
    "Prints its port, or the path, in a line when it listens.\n";

enum conn_state {
	CONN_LISTENS,
	CONN_READS,
	CONN_HOLDS,	/* an answer, until it is due */
	CONN_HANGS
};

struct conn {
	enum conn_state state;
	int fd;
	uint32_t events;	/* waited for */
	struct buf in, out;
	size_t sent, sendable;	/* bytes of out; the rest is held */
	struct message request;
	uint64_t served;
	int64_t due;
	bool continued;		/* 100 was said */
	bool ended;		/* the client sends no more */
	bool last;		/* closed once out is sent */
	LIST_ENTRY(conn) held;
};

struct api {
	int epoll, log;		/* log -1: none */
	int64_t delay;
	uint64_t close_every, requests;
	LIST_HEAD(, conn) held;
};

static void
conn_watch(struct api *api, struct conn *c, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (events == c->events)
		return;
	c->events = events;
	if (epoll_ctl(api->epoll, EPOLL_CTL_MOD, c->fd, &event) == -1)
		err(111, "epoll");
}

static void
conn_add(struct api *api, int fd, enum conn_state state)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		err(111, NULL);
	c->fd = fd;
	c->state = state;
	c->events = event.events;
	event.data.ptr = c;
	message_start(&c->request, MESSAGE_REQUEST);
	if (epoll_ctl(api->epoll, EPOLL_CTL_ADD, fd, &event) == -1)
		err(111, "epoll");
}

static void
conn_close(struct conn *c)
{
	if (c->state == CONN_HOLDS)
		LIST_REMOVE(c, held);
	close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	message_free(&c->request);
	free(c);
}

static void
conn_reset(struct conn *c)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_close(c);
}

/* One write for one line, so that lines of several servers never mix. */
static void
log_request(const struct api *api, const struct api_request *r)
{
	struct span what = message_header(r->message, r->in,
	    "idempotency-key");
	struct buf line = { 0 };
	size_t i;

	if (what.p == NULL) {
		what = message_body(r->message, r->in);
		what.n = what.n < LOG_BODY ? what.n : LOG_BODY;
	}
	buf_add_span(&line, r->method);
	buf_add_char(&line, ' ');
	buf_add_span(&line, r->target);
	buf_add_char(&line, ' ');
	buf_add_span(&line, what);
	for (i = 0; i < line.len; i++)
		if (line.data[i] < ' ' || line.data[i] > '~')
			line.data[i] = '.';
	buf_add_char(&line, '\n');
	if (buf_failed(&line) ||
	    write(api->log, line.data, line.len) != (ssize_t)line.len)
		err(111, "log");
	buf_free(&line);
}

/* Puts into out how the request is answered.  False: the connection ended. */
static bool
conn_answer(struct api *api, struct conn *c)
{
	struct api_request r = { .message = &c->request,
	    .in = buf_span(&c->in), .number = ++api->requests,
	    .earlier = c->served++ };
	struct api_answer a = { 0 };

	api_request_parse(&r);
	if (api->log != -1)
		log_request(api, &r);
	if (api->close_every > 0 && r.number % api->close_every == 0)
		a.manner = API_CLOSE;
	else
		api_answer_make(&a, &r);
	switch (a.manner) {
	case API_RESET:
		conn_reset(c);
		return false;
	case API_CLOSE:
		conn_close(c);
		return false;
	case API_HANG:
		c->state = CONN_HANGS;
		break;
	case API_PARTIAL:
	case API_UNTIL_CLOSE:
		c->last = true;
		/* FALLTHROUGH */
	case API_SEND:
	case API_CHUNKED:
		api_answer_put(&c->out, &a, &r);
		if (!c->request.keep_alive)
			c->last = true;
		a.delay += api->delay;
		if (a.delay == 0) {
			c->sendable = c->out.len;
		} else {
			c->state = CONN_HOLDS;
			c->due = clock_mono_ms() + a.delay;
			LIST_INSERT_HEAD(&api->held, c, held);
		}
	}
	api_answer_free(&a);
	return true;
}

static void
conn_refuse(struct conn *c)
{
	struct api_answer a = { .status = 400, .type = "application/json" };

	buf_add_str(&a.body, "{\"error\":\"not a request\"}\n");
	api_answer_put(&c->out, &a, NULL);
	api_answer_free(&a);
	c->sendable = c->out.len;
	c->last = true;
}

/* Answers what has been read, up to an answer that waits for something. */
static bool
conn_serve(struct api *api, struct conn *c)
{
	while (c->state == CONN_READS && !c->last && c->in.len > 0) {
		switch (message_read(&c->request, buf_span(&c->in), false)) {
		case MESSAGE_BAD:
			conn_refuse(c);
			return true;
		case MESSAGE_MORE:
			if (c->request.expects_continue && !c->continued) {
				c->continued = true;
				buf_add_str(&c->out,
				    "HTTP/1.1 100 Continue\r\n\r\n");
				c->sendable = c->out.len;
			}
			return true;
		case MESSAGE_DONE:
			if (!conn_answer(api, c))
				return false;
			c->continued = false;
			buf_consume(&c->in, c->request.len);
			message_start(&c->request, MESSAGE_REQUEST);
		}
	}
	return true;
}

/* Sends what may be sent, and closes what is at its end. */
static void
conn_send(struct api *api, struct conn *c)
{
	uint32_t events = c->ended ? 0 : EPOLLIN;
	ssize_t n;

	if (c->sent < c->sendable) {
		n = send(c->fd, c->out.data + c->sent, c->sendable - c->sent,
		    MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN && errno != EINTR) {
			conn_close(c);
			return;
		}
		if (n > 0)
			c->sent += (size_t)n;
	}
	if (c->sent < c->sendable) {
		events |= EPOLLOUT;
	} else if (c->sent == c->out.len) {
		c->sent = c->sendable = 0;
		buf_reset(&c->out, KEEP);
		if (c->last || c->ended) {
			conn_close(c);
			return;
		}
	}
	conn_watch(api, c, events);
}

static void
conn_work(struct api *api, struct conn *c)
{
	if (!conn_serve(api, c))
		return;
	if (buf_failed(&c->in) || buf_failed(&c->out) ||
	    c->in.len > MESSAGE_MAX) {
		conn_close(c);
		return;
	}
	if (c->in.len == 0)
		buf_reset(&c->in, KEEP);
	conn_send(api, c);
}

static void
conn_read(struct api *api, struct conn *c)
{
	char *to = buf_reserve(&c->in, READ_SIZE);
	ssize_t n = -1;

	if (to != NULL)
		n = recv(c->fd, to, c->in.cap - c->in.len, 0);
	if (n == -1) {
		if (to == NULL || (errno != EAGAIN && errno != EINTR))
			conn_close(c);
		return;
	}
	c->in.len += (size_t)n;
	c->ended = n == 0;
	conn_work(api, c);
}

static void
conn_accept(struct api *api, const struct conn *listener)
{
	int fd, one = 1;

	while ((fd = accept4(listener->fd, NULL, NULL,
	    SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		conn_add(api, fd, CONN_READS);
	}
}

static void
conn_ready(struct api *api, struct conn *c, uint32_t events)
{
	if (c->state == CONN_LISTENS)
		conn_accept(api, c);
	else if (events & EPOLLIN)
		conn_read(api, c);
	else if (events & (EPOLLERR | EPOLLHUP))
		conn_close(c);
	else
		conn_work(api, c);
}

/* Lets go of the answers that are due. */
static void
release_held(struct api *api)
{
	struct conn *c, *next;
	int64_t now;

	if (LIST_EMPTY(&api->held))
		return;
	now = clock_mono_ms();
	for (c = LIST_FIRST(&api->held); c != NULL; c = next) {
		next = LIST_NEXT(c, held);
		if (c->due > now)
			continue;
		LIST_REMOVE(c, held);
		c->state = CONN_READS;
		c->sendable = c->out.len;
		conn_work(api, c);
	}
}

/* When the next answer is due; -1: none is held. */
static int64_t
first_due(const struct api *api)
{
	const struct conn *c;
	int64_t due = -1;

	LIST_FOREACH(c, &api->held, held)
		if (due == -1 || c->due < due)
			due = c->due;
	return due;
}

static _Noreturn void
serve(struct api *api)
{
	struct epoll_event events[EVENTS_MAX];
	int i, n;

	for (;;) {
		release_held(api);
		n = epoll_wait(api->epoll, events, EVENTS_MAX,
		    clock_poll_timeout(first_due(api)));
		if (n == -1 && errno != EINTR)
			err(111, "epoll");
		for (i = 0; i < n; i++)
			conn_ready(api, events[i].data.ptr,
			    events[i].events);
	}
}

static int
listen_at(const struct sockaddr *address, socklen_t len)
{
	int fd, one = 1;

	fd = socket(address->sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		err(111, "socket");
	if (address->sa_family == AF_INET)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, address, len) == -1 || listen(fd, BACKLOG) == -1)
		err(111, "listen");
	return fd;
}

/* The port. */
static int
listen_tcp(struct api *api, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = listen_at((struct sockaddr *)&in, sizeof(in));

	if (getsockname(fd, (struct sockaddr *)&in, &len) == -1)
		err(111, "getsockname");
	conn_add(api, fd, CONN_LISTENS);
	return ntohs(in.sin_port);
}

static void
listen_unix(struct api *api, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(un.sun_path))
		errx(100, "%s: too long", path);
	memcpy(un.sun_path, path, strlen(path));
	unlink(path);
	conn_add(api, listen_at((struct sockaddr *)&un, sizeof(un)),
	    CONN_LISTENS);
}

static uint64_t
number_of(const char *arg, uint64_t max)
{
	uint64_t value;

	if (units_parse_number(arg, max, &value) == -1)
		errx(100, "%s: not a number in range", arg);
	return value;
}

static void
start(struct api *api, int port, const char *path)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	LIST_INIT(&api->held);
	api->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (api->epoll == -1)
		err(111, "epoll");
	if (path != NULL)
		listen_unix(api, path);
	if (port != -1)
		printf("%d\n", listen_tcp(api, (uint16_t)port));
	else
		printf("%s\n", path);
	if (fflush(stdout) == EOF)
		err(111, "stdout");
}

int
main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "close-after-read", required_argument, NULL, 'c' },
		{ "delay", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "log", required_argument, NULL, 'l' },
		{ "port", required_argument, NULL, 'p' },
		{ "unix", required_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 }
	};
	struct api api = { .log = -1 };
	const char *path = NULL;
	int c, port = -1;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			api.close_every = number_of(optarg, UINT32_MAX);
			break;
		case 'd':
			api.delay = (int64_t)number_of(optarg, UINT32_MAX);
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case 'l':
			api.log = open(optarg, O_WRONLY | O_CREAT | O_APPEND |
			    O_CLOEXEC, 0600);
			if (api.log == -1)
				err(111, "%s", optarg);
			break;
		case 'p':
			port = (int)number_of(optarg, UINT16_MAX);
			break;
		case 'u':
			path = optarg;
			break;
		default:
			errx(100, "unknown option\n%s", usage_text);
		}
	}
	if (argc != optind)
		errx(100, "no arguments are taken\n%s", usage_text);
	start(&api, port == -1 && path == NULL ? 0 : port, path);
	serve(&api);
}
