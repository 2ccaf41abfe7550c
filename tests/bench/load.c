/*
 * load - call an HTTP API from many clients at once, and time the answers.
 *
 * A closed loop in one thread: each client has one keep-alive connection and
 * one call under way, and begins the next when its answer is complete.  A call
 * counts from its beginning, a new connection included, to the last byte of
 * its answer.  With --unique every call carries a number of its own; with
 * --verify its answer must carry that number and no other client's.
 */
#include <sys/epoll.h>
#include <sys/resource.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load_plan.h"
#include "message.h"

#define READ_SIZE	16384
#define EVENTS_MAX	256
#define STATUS_MAX	599
#define SECOND		INT64_C(1000000000)	/* ns */

struct client {
	int fd;				/* -1: not connected */
	bool busy, wants_write;
	uint64_t number;
	int64_t began;
	char *request;			/* the plan's, with this number */
	size_t sent;
	struct buf in;
	struct message answer;
};

struct result {
	uint64_t begun, ended, errors, mixups;
	uint64_t statuses[STATUS_MAX + 1];	/* 0: no answer */
	int64_t *latencies;		/* ns, of every answer */
	size_t nlatencies, cap;
	int64_t start, end;		/* ns */
	const char *first_error;
};

struct run {
	struct plan plan;
	struct client *clients;
	int epoll;
	struct result result;
};

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * SECOND + ts.tv_nsec;
}

static void
count_error(struct result *r, const char *reason)
{
	if (r->errors++ == 0)
		r->first_error = reason;
}

static void
client_close(struct client *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->in.len = 0;
	c->wants_write = false;
}

/* Blocking, which on one machine is shorter than waiting for it. */
static int
client_connect(struct run *run, struct client *c)
{
	const struct plan *plan = &run->plan;
	struct timeval limit = { .tv_sec = (time_t)(plan->timeout / SECOND),
	    .tv_usec = (suseconds_t)(plan->timeout % SECOND / 1000) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	int one = 1;

	c->fd = socket(plan->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		return -1;
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (plan->address.ss_family != AF_UNIX)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (const struct sockaddr *)&plan->address,
	    plan->address_len) == -1 ||
	    fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1)
		return -1;
	return epoll_ctl(run->epoll, EPOLL_CTL_ADD, c->fd, &event);
}

/*
 * As much as goes.  A peer that takes no more may have answered already: that
 * is for client_read to see, which the closed connection brings about.
 */
static int
client_write(struct run *run, struct client *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	size_t left = run->plan.request.len - c->sent;
	bool wants_write;
	ssize_t n;

	n = send(c->fd, c->request + c->sent, left, MSG_NOSIGNAL);
	if (n == -1 && errno != EAGAIN && errno != EINTR &&
	    errno != EPIPE && errno != ECONNRESET)
		return -1;
	wants_write = n == -1 ? errno == EAGAIN || errno == EINTR :
	    (size_t)n < left;
	if (n > 0)
		c->sent += (size_t)n;
	if (wants_write == c->wants_write)
		return 0;
	c->wants_write = wants_write;
	if (wants_write)
		event.events |= EPOLLOUT;
	return epoll_ctl(run->epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void
client_set_number(struct run *run, struct client *c, uint64_t number)
{
	const struct plan *plan = &run->plan;
	char digits[24];
	size_t i;

	c->number = number;
	if (plan->nmarks == 0)
		return;
	snprintf(digits, sizeof(digits), "%" PRIu64, number);
	for (i = 0; i < plan->nmarks; i++)
		memcpy(c->request + plan->marks[i], digits,
		    PLAN_NUMBER_DIGITS);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The number, with no digit beside it. */
static bool
has_number(struct span body, uint64_t number)
{
	const char *at, *end = body.p + body.n;
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, number);
	while (body.n > 0 && (at = memmem(body.p, body.n, digits,
	    PLAN_NUMBER_DIGITS)) != NULL) {
		body.p = at + PLAN_NUMBER_DIGITS;
		if ((at == end - body.n || !is_digit(at[-1])) &&
		    (body.p == end || !is_digit(*body.p)))
			return true;
		body.n = (size_t)(end - body.p);
	}
	return false;
}

static void
add_latency(struct result *r, int64_t ns)
{
	if (r->nlatencies == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 4096;
		r->latencies = plan_allocated(realloc(r->latencies,
		    r->cap * sizeof(*r->latencies)));
	}
	r->latencies[r->nlatencies++] = ns;
}

static void
call_end(struct run *run, struct client *c, int status, struct span outcome)
{
	struct result *r = &run->result;

	r->statuses[status]++;
	r->ended++;
	c->busy = false;
	if (outcome.n == 0)
		outcome = span_of("-");
	if (run->plan.log != NULL)
		fprintf(run->plan.log, "%" PRIu64 " %d %.*s\n", c->number,
		    status, (int)outcome.n, outcome.p);
}

static void
call_failed(struct run *run, struct client *c, const char *reason)
{
	run->result.end = now_ns();
	count_error(&run->result, reason);
	call_end(run, c, 0, span_of(""));
	client_close(c);
}

static void
call_answered(struct run *run, struct client *c)
{
	struct result *r = &run->result;
	const struct message *m = &c->answer;
	struct span in = buf_span(&c->in);
	bool surplus = m->len < in.n;

	r->end = now_ns();
	add_latency(r, r->end - c->began);
	if (surplus)
		count_error(r, "more bytes than one answer");
	else if (m->status >= 400)
		count_error(r, "an answer of 400 or more");
	else if (run->plan.verify &&
	    !has_number(message_body(m, in), c->number))
		r->mixups++;
	call_end(run, c, m->status,
	    message_header(m, in, "x-paperclip-bridge-outcome"));
	if (!m->keep_alive || surplus || c->sent < run->plan.request.len)
		client_close(c);
	c->in.len = 0;
}

static bool
calls_are_left(const struct run *run)
{
	const struct plan *plan = &run->plan;

	if (plan->duration > 0)
		return now_ns() - run->result.start < plan->duration;
	return run->result.begun < plan->calls;
}

/* Begins calls until one is under way, or none is left to begin. */
static void
client_begin(struct run *run, struct client *c)
{
	while (!c->busy && calls_are_left(run)) {
		client_set_number(run, c,
		    PLAN_NUMBER_FIRST + run->result.begun++);
		message_start(&c->answer, run->plan.is_head ?
		    MESSAGE_ANSWER_TO_HEAD : MESSAGE_ANSWER);
		c->sent = 0;
		c->busy = true;
		c->began = now_ns();
		if ((c->fd == -1 && client_connect(run, c) == -1) ||
		    client_write(run, c) == -1)
			call_failed(run, c, strerror(errno));
	}
}

/* Interim answers (1xx) are skipped. */
static enum message_result
client_parse(struct client *c, bool at_end)
{
	enum message_result result;

	for (;;) {
		result = message_read(&c->answer, buf_span(&c->in), at_end);
		if (result != MESSAGE_DONE || c->answer.status >= 200)
			return result;
		buf_consume(&c->in, c->answer.len);
		message_start(&c->answer, c->answer.kind);
	}
}

static void
client_read(struct run *run, struct client *c)
{
	char *to = plan_allocated(buf_reserve(&c->in, READ_SIZE));
	ssize_t n;

	n = recv(c->fd, to, READ_SIZE, 0);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!c->busy) {
		if (n > 0)
			count_error(&run->result, "an answer without a call");
		client_close(c);
		return;
	}
	if (n == -1) {
		call_failed(run, c, strerror(errno));
		return;
	}
	c->in.len += (size_t)n;
	switch (client_parse(c, n == 0)) {
	case MESSAGE_MORE:
		if (n > 0)
			return;
		call_failed(run, c, "connection closed without an answer");
		return;
	case MESSAGE_BAD:
		call_failed(run, c, n > 0 ? "a malformed answer" :
		    "connection closed inside an answer");
		return;
	case MESSAGE_DONE:
		call_answered(run, c);
	}
}

static void
client_ready(struct run *run, struct client *c, uint32_t events)
{
	if (events & ~(uint32_t)EPOLLOUT)
		client_read(run, c);
	else if (client_write(run, c) == -1)
		call_failed(run, c, strerror(errno));
	client_begin(run, c);
}

static void
expire_calls(struct run *run)
{
	int64_t before = now_ns() - run->plan.timeout;
	struct client *c;

	for (c = run->clients; c < run->clients + run->plan.clients; c++) {
		if (!c->busy || c->began >= before)
			continue;
		call_failed(run, c, "no answer in time");
		client_begin(run, c);
	}
}

static void
allow_many_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Connected before the clock starts; who cannot is told at its first call. */
static void
start_clients(struct run *run)
{
	const struct plan *plan = &run->plan;
	struct client *c;

	allow_many_files();
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (run->epoll == -1)
		err(111, "epoll");
	run->clients = plan_allocated(calloc(plan->clients, sizeof(*c)));
	for (c = run->clients; c < run->clients + plan->clients; c++) {
		c->request = plan_allocated(malloc(plan->request.len));
		memcpy(c->request, plan->request.data, plan->request.len);
		if (client_connect(run, c) == -1)
			client_close(c);
	}
	run->result.start = run->result.end = now_ns();
	for (c = run->clients; c < run->clients + plan->clients; c++)
		client_begin(run, c);
}

static void
run_calls(struct run *run)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t checked = now_ns();
	int i, n;

	while (run->result.ended < run->result.begun) {
		n = epoll_wait(run->epoll, events, EVENTS_MAX, 500);
		if (n == -1 && errno != EINTR)
			err(111, "epoll");
		for (i = 0; i < n; i++)
			client_ready(run, events[i].data.ptr,
			    events[i].events);
		if (now_ns() - checked > SECOND / 2) {
			expire_calls(run);
			checked = now_ns();
		}
	}
}

static void
free_clients(struct run *run)
{
	struct client *c;

	for (c = run->clients; c < run->clients + run->plan.clients; c++) {
		client_close(c);
		buf_free(&c->in);
		message_free(&c->answer);
		free(c->request);
	}
	free(run->clients);
	close(run->epoll);
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Of sorted latencies, in us: one that this share of them do not exceed. */
static double
quantile(const struct result *r, double share)
{
	size_t at = (size_t)(share * (double)r->nlatencies);

	if (r->nlatencies == 0)
		return 0;
	if (at >= r->nlatencies)
		at = r->nlatencies - 1;
	return (double)r->latencies[at] / 1000;
}

static double
cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
print_json(const struct result *r, double seconds, double rate)
{
	const char *comma = "";
	int i;

	printf("{\"calls\":%" PRIu64 ",\"errors\":%" PRIu64
	    ",\"mixups\":%" PRIu64 ",\"seconds\":%.6f,"
	    "\"callsPerSecond\":%.1f,\"us\":{\"min\":%.1f,\"p50\":%.1f,"
	    "\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f},\"statuses\":{",
	    r->ended, r->errors, r->mixups, seconds, rate, quantile(r, 0),
	    quantile(r, 0.5), quantile(r, 0.9), quantile(r, 0.99),
	    quantile(r, 1));
	for (i = 0; i <= STATUS_MAX; i++) {
		if (r->statuses[i] == 0)
			continue;
		printf("%s\"%d\":%" PRIu64, comma, i, r->statuses[i]);
		comma = ",";
	}
	printf("},\"firstError\":\"%s\",\"cpuSeconds\":%.6f}\n",
	    r->errors > 0 ? r->first_error : "", cpu_seconds());
}

static void
print_text(const struct result *r, double rate)
{
	int i;

	printf("calls %" PRIu64 "  errors %" PRIu64 "  mix-ups %" PRIu64
	    "  calls/s %.0f\n", r->ended, r->errors, r->mixups, rate);
	printf("us: min %.0f  p50 %.0f  p90 %.0f  p99 %.0f  max %.0f\n",
	    quantile(r, 0), quantile(r, 0.5), quantile(r, 0.9),
	    quantile(r, 0.99), quantile(r, 1));
	for (i = 0; i <= STATUS_MAX; i++)
		if (r->statuses[i] > 0)
			printf("status %d: %" PRIu64 "\n", i, r->statuses[i]);
	if (r->errors > 0)
		printf("first error: %s\n", r->first_error);
}

static void
report(const struct plan *plan, struct result *r)
{
	double seconds = (double)(r->end - r->start) / 1e9;
	double rate = seconds > 0 ? (double)r->nlatencies / seconds : 0;

	if (r->nlatencies > 0)
		qsort(r->latencies, r->nlatencies, sizeof(*r->latencies),
		    compare);
	if (plan->json)
		print_json(r, seconds, rate);
	else
		print_text(r, rate);
	if (fflush(stdout) == EOF || ferror(stdout))
		err(111, "stdout");
	if (plan->log != NULL && (ferror(plan->log) || fclose(plan->log)))
		err(111, "--log");
}

int
main(int argc, char *argv[])
{
	struct run run = { 0 };

	plan_parse(&run.plan, argc, argv);
	start_clients(&run);
	run_calls(&run);
	report(&run.plan, &run.result);
	free_clients(&run);
	free(run.result.latencies);
	plan_free(&run.plan);
	return run.result.errors > 0 || run.result.mixups > 0;
}
