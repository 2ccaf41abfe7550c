#include <sys/socket.h>

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "apiurl.h"
#include "clock.h"
#include "forward.h"

#define RECEIVE_SIZE	32768L	/* a usual answer is one recv(2) */
#define HEADERS_MORE	4	/* ours, besides the record's */

static const char *const always_kept[] = {
	"content-type", "etag", "last-modified", "retry-after",
	"content-disposition", OUTCOME_HEADER, NULL
};

/* A handle of libcurl with its fixed options, and the request it carries. */
struct slot {
	struct forward *f;
	CURL *easy;
	struct forward_call *call;
	struct slot *next;	/* free one */
	bool may_send;		/* once for each time it is told to */
	bool too_large;
	bool customised;	/* a method by name is set */
	size_t head_len;
	bool head_ended;
	struct curl_slist headers[RECORD_HEADERS_MAX + HEADERS_MORE];
	char error[CURL_ERROR_SIZE];
};

struct forward {
	struct forward_options o;
	struct apiurl api;
	struct buf socket, authorization, run_id;	/* strings */
	CURLM *multi;
	CURLSH *share;
	CURLU *base;
	struct interest *interest;
	int64_t due;
	struct slot **slots, *free;
	size_t nslots, active;	/* active: with a call */
	int running;		/* of the active, not yet at their end */
	struct buf values;	/* of the answer that forward_next() gave */
};

/* The sockets, on the user's epoll */

static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *unused)
{
	struct forward *f = user;

	(void)easy;
	(void)unused;
	switch (what) {
	case CURL_POLL_IN:
		(void)interest_set(f->interest, fd, EPOLLIN);
		break;
	case CURL_POLL_OUT:
		(void)interest_set(f->interest, fd, EPOLLOUT);
		break;
	case CURL_POLL_INOUT:
		(void)interest_set(f->interest, fd, EPOLLIN | EPOLLOUT);
		break;
	default:
		/* A kept connection rests until the next request. */
		(void)interest_rest(f->interest, fd);
	}
	/* Any failure would end all transfers; so one meets its deadline. */
	return 0;
}

static curl_socket_t
open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct forward *f = user;
	int fd;

	(void)purpose;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
	    address->protocol);
	if (fd != -1 && interest_opened(f->interest, fd) == -1) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	return fd;
}

static int
close_socket(void *user, curl_socket_t fd)
{
	struct forward *f = user;

	interest_closed(f->interest, fd);
	return close(fd);
}

static int
set_timer(CURLM *multi, long ms, void *user)
{
	struct forward *f = user;

	(void)multi;
	f->due = ms < 0 ? -1 : clock_mono_ms() + ms;
	return 0;
}

int64_t
forward_due(const struct forward *f)
{
	return (size_t)f->running < f->active ? 0 : f->due;
}

void
forward_tick(struct forward *f)
{
	if (f->due == -1 || f->due > clock_mono_ms())
		return;
	f->due = -1;
	(void)curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0,
	    &f->running);
}

void
forward_ready(struct forward *f, int fd, uint32_t events)
{
	int what = 0;

	events = interest_match(f->interest, fd, events);
	if (events & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (what != 0)
		(void)curl_multi_socket_action(f->multi, fd, what,
		    &f->running);
}

/* What libcurl calls while it carries a request */

static int
before_sending(void *user, char *peer_ip, char *own_ip, int peer_port,
    int own_port)
{
	struct slot *s = user;

	(void)peer_ip;
	(void)own_ip;
	(void)peer_port;
	(void)own_port;
	if (!s->may_send)
		return CURL_PREREQFUNC_ABORT;
	s->may_send = false;
	s->call->sent = true;
	return CURL_PREREQFUNC_OK;
}

/*
 * A line of a head, interim ones included, or of the trailer.  A connection
 * that is lost within the head makes an answer, to libcurl, as if the head
 * had ended there.
 */
static size_t
take_head(char *data, size_t size, size_t n, void *user)
{
	struct slot *s = user;
	struct span line = { data, size * n };

	if (span_is(line, "\r\n") || span_is(line, "\n"))
		s->head_ended = true;
	else if (span_starts(line, "HTTP/"))
		s->head_ended = false;
	s->head_len += line.n;
	return s->head_len <= FORWARD_HEAD_MAX ? line.n : 0;
}

static size_t
take_body(char *data, size_t size, size_t n, void *user)
{
	struct slot *s = user;
	struct buf *body = &s->call->answer;

	if (size * n > s->f->o.body_max - body->len) {
		s->too_large = true;
		return 0;
	}
	buf_add(body, data, size * n);
	return buf_failed(body) ? 0 : size * n;
}

/* Handles */

#define SET(easy, option, value) \
	(bad |= curl_easy_setopt(easy, option, value) != CURLE_OK)

/* Options that are the same for every request; true if one did not take. */
static bool
set_fixed(struct forward *f, struct slot *s)
{
	CURL *e = s->easy;
	bool bad = false;

	SET(e, CURLOPT_CURLU, f->base);
	SET(e, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(e, CURLOPT_PATH_AS_IS, 1L);
	SET(e, CURLOPT_FOLLOWLOCATION, 0L);
	SET(e, CURLOPT_PROXY, "");
	SET(e, CURLOPT_NOPROXY, "*");
	SET(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(e, CURLOPT_HTTP09_ALLOWED, 0L);
	/* Undoes a coding that was used all the same. */
	SET(e, CURLOPT_ACCEPT_ENCODING, "identity");
	SET(e, CURLOPT_USERAGENT, "pc-forward/" PC_VERSION);
	SET(e, CURLOPT_NOSIGNAL, 1L);
	SET(e, CURLOPT_QUICK_EXIT, 1L);	/* never joins a resolver's thread */
	SET(e, CURLOPT_TCP_NODELAY, 1L);
	SET(e, CURLOPT_TCP_FASTOPEN, 0L);
	SET(e, CURLOPT_BUFFERSIZE, RECEIVE_SIZE);
	SET(e, CURLOPT_SHARE, f->share);
	SET(e, CURLOPT_SSL_VERIFYPEER, 1L);
	SET(e, CURLOPT_SSL_VERIFYHOST, 2L);
	if (f->o.ca_file != NULL)
		SET(e, CURLOPT_CAINFO, f->o.ca_file);
	if (f->socket.len > 0)
		SET(e, CURLOPT_UNIX_SOCKET_PATH, f->socket.data);
	SET(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(e, CURLOPT_OPENSOCKETDATA, f);
	SET(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(e, CURLOPT_CLOSESOCKETDATA, f);
	SET(e, CURLOPT_PREREQFUNCTION, before_sending);
	SET(e, CURLOPT_PREREQDATA, s);
	SET(e, CURLOPT_HEADERFUNCTION, take_head);
	SET(e, CURLOPT_HEADERDATA, s);
	SET(e, CURLOPT_WRITEFUNCTION, take_body);
	SET(e, CURLOPT_WRITEDATA, s);
	SET(e, CURLOPT_ERRORBUFFER, s->error);
	SET(e, CURLOPT_PRIVATE, s);
	return bad;
}

/*
 * libcurl parses the authorities' file once for many connections, but only
 * where it is to look at no folder besides.  A file of the user's stands
 * alone in any case.
 */
static bool
set_authorities(const struct forward *f, CURL *easy)
{
	char *bundle = NULL;
	bool bad = false;

	(void)curl_easy_getinfo(easy, CURLINFO_CAINFO, &bundle);
	if (f->o.ca_file != NULL ||
	    (bundle != NULL && access(bundle, R_OK) == 0))
		SET(easy, CURLOPT_CAPATH, NULL);
	return bad;
}

static struct slot *
slot_open(struct forward *f)
{
	struct slot *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->f = f;
	s->easy = curl_easy_init();
	if (s->easy == NULL || set_fixed(f, s) || set_authorities(f, s->easy)) {
		curl_easy_cleanup(s->easy);
		free(s);
		return NULL;
	}
	f->slots[f->nslots++] = s;
	return s;
}

static struct slot *
slot_take(struct forward *f)
{
	struct slot *s = f->free;

	if (s != NULL)
		f->free = s->next;
	else if (f->nslots < f->o.in_flight_max)
		s = slot_open(f);
	return s;
}

static void
slot_release(struct slot *s)
{
	s->f->active--;
	s->call = NULL;
	s->next = s->f->free;
	s->f->free = s;
}

static void
make_header(struct buf *b, const char *name, const char *value)
{
	buf_add_str(b, name);
	buf_add_str(b, value);
	buf_add_char(b, '\0');
}

/* Gives libcurl the base: a query or a path of its own is not in it. */
static bool
set_base(struct forward *f)
{
	struct span origin = f->api.origin.n > 0 ? f->api.origin :
	    span_of("http://localhost");
	struct buf url = { 0 };
	bool good;

	buf_add_span(&url, origin);
	buf_add_str(&url, "/");
	buf_add_char(&url, '\0');
	good = !buf_failed(&url) && curl_url_set(f->base, CURLUPART_URL,
	    url.data, CURLU_DISALLOW_USER) == CURLUE_OK;
	buf_free(&url);
	return good;
}

static bool
set_multi(struct forward *f)
{
	CURLM *m = f->multi;

	return curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, watch_socket) ==
	    CURLM_OK &&
	    curl_multi_setopt(m, CURLMOPT_SOCKETDATA, f) == CURLM_OK &&
	    curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, set_timer) ==
	    CURLM_OK &&
	    curl_multi_setopt(m, CURLMOPT_TIMERDATA, f) == CURLM_OK &&
	    curl_multi_setopt(m, CURLMOPT_MAXCONNECTS,
	    (long)f->o.in_flight_max) == CURLM_OK;
}

static bool
start(struct forward *f)
{
	make_header(&f->authorization, "authorization: Bearer ", f->o.token);
	if (f->o.run_id != NULL)
		make_header(&f->run_id, "x-paperclip-run-id: ", f->o.run_id);
	if (f->api.socket.n > 0) {
		buf_add_span(&f->socket, f->api.socket);
		buf_add_char(&f->socket, '\0');
	}
	f->slots = calloc(f->o.in_flight_max, sizeof(*f->slots));
	if (f->slots == NULL || buf_failed(&f->authorization) ||
	    buf_failed(&f->run_id) || buf_failed(&f->socket) ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return false;
	f->multi = curl_multi_init();
	f->base = curl_url();
	f->share = curl_share_init();
	return f->multi != NULL && f->base != NULL && f->share != NULL &&
	    set_base(f) && set_multi(f) && curl_share_setopt(f->share,
	    CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK;
}

struct forward *
forward_open(const struct forward_options *o, struct interest *i)
{
	struct forward *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->o = *o;
	f->interest = i;
	f->due = -1;
	if (apiurl_parse(&f->api, span_of(o->url)) != NULL || !start(f)) {
		forward_close(f);
		return NULL;
	}
	return f;
}

void
forward_close(struct forward *f)
{
	size_t i;

	if (f == NULL)
		return;
	for (i = 0; i < f->nslots; i++) {
		if (f->slots[i]->call != NULL)
			(void)curl_multi_remove_handle(f->multi,
			    f->slots[i]->easy);
		curl_easy_cleanup(f->slots[i]->easy);
		free(f->slots[i]);
	}
	(void)curl_multi_cleanup(f->multi);
	(void)curl_share_cleanup(f->share);
	curl_url_cleanup(f->base);
	curl_global_cleanup();
	free(f->slots);
	buf_free(&f->socket);
	buf_free(&f->authorization);
	buf_free(&f->run_id);
	buf_free(&f->values);
	free(f);
}

/* Requests */

const char *
forward_prepare(const struct forward *f, struct forward_call *c,
    const struct record *r)
{
	c->sent = false;
	c->times = 0;
	return outbound_make(&c->request, r, f->api.path);
}

void
forward_call_free(struct forward_call *c)
{
	outbound_free(&c->request);
	buf_free(&c->answer);
}

static void
add_header(struct slot *s, size_t *n, char *text)
{
	s->headers[*n] = (struct curl_slist){ .data = text };
	if (*n > 0)
		s->headers[*n - 1].next = &s->headers[*n];
	(*n)++;
}

/*
 * The list that libcurl reads is made of the slot's own nodes: it copies
 * neither, and nothing is allocated.
 */
static void
set_headers(struct slot *s, char *header)
{
	static char no_expect[] = "Expect:", no_type[] = "Content-Type:";
	const struct outbound *request = &s->call->request;
	struct forward *f = s->f;
	bool typed = false;
	size_t n = 0;

	add_header(s, &n, f->authorization.data);
	if (f->run_id.len > 0)
		add_header(s, &n, f->run_id.data);
	while ((header = outbound_next(request, header)) != NULL) {
		typed |= header_name_is((struct span){ header,
		    strcspn(header, ":;") }, "content-type");
		add_header(s, &n, header);
	}
	add_header(s, &n, no_expect);
	if (!typed)
		add_header(s, &n, no_type);
}

static bool
set_method(struct slot *s)
{
	const struct outbound *request = &s->call->request;
	const char *method = outbound_method(request);
	bool custom = false, bad = false;
	CURL *e = s->easy;

	if (strcmp(method, "HEAD") == 0) {
		SET(e, CURLOPT_NOBODY, 1L);
	} else if (request->has_content) {
		SET(e, CURLOPT_POST, 1L);
		SET(e, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)request->body.len);
		SET(e, CURLOPT_POSTFIELDS,
		    request->body.len > 0 ? request->body.data : "");
		custom = strcmp(method, "POST") != 0;
	} else {
		SET(e, CURLOPT_HTTPGET, 1L);
		custom = strcmp(method, "GET") != 0;
	}
	if (custom || s->customised)
		SET(e, CURLOPT_CUSTOMREQUEST, custom ? method : NULL);
	s->customised = custom;
	return bad;
}

/* Tells libcurl to carry the slot's request: 0, or -1. */
static int
send_call(struct slot *s)
{
	struct forward_call *c = s->call;
	bool bad, safe = c->request.safe, fresh = !safe || c->times > 0;
	char *target = outbound_target(&c->request);
	int64_t left = 0;
	CURL *e = s->easy;

	if (c->deadline >= 0) {
		left = c->deadline - clock_mono_ms();
		if (left <= 0)
			left = 1;
	}
	bad = set_method(s);
	set_headers(s, target);
	SET(e, CURLOPT_REQUEST_TARGET, target);
	SET(e, CURLOPT_HTTPHEADER, s->headers);
	SET(e, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
	SET(e, CURLOPT_FORBID_REUSE, safe ? 0L : 1L);
	SET(e, CURLOPT_TIMEOUT_MS, (long)left);
	s->error[0] = '\0';
	s->head_len = 0;
	s->head_ended = false;
	s->too_large = false;
	buf_reset(&c->answer, RECEIVE_SIZE);
	c->times++;
	s->may_send = true;
	if (bad || curl_multi_add_handle(s->f->multi, e) != CURLM_OK)
		return -1;
	return 0;
}

int
forward_begin(struct forward *f, struct forward_call *c)
{
	struct slot *s = slot_take(f);

	if (s == NULL)
		return -1;
	s->call = c;
	f->active++;
	if (send_call(s) == -1) {
		slot_release(s);
		return -1;
	}
	return 0;
}

/* Answers */

/* Appends all valid values of one header, joined; false if there is none. */
static bool
join_values(struct buf *out, CURL *easy, const char *name)
{
	struct curl_header *h;
	struct span value;
	bool any = false;
	size_t i, n = 1;

	for (i = 0; i < n; i++) {
		if (curl_easy_header(easy, name, i, CURLH_HEADER, -1, &h) !=
		    CURLHE_OK)
			break;
		n = h->amount;
		value = span_of(h->value);
		if (!header_value_is_valid(value) || !utf8_is_valid(value))
			continue;
		if (any)
			buf_add_str(out, ", ");
		buf_add_span(out, value);
		any = true;
	}
	return any;
}

static void
keep_header(struct forward *f, CURL *easy, const char *name, struct record *r)
{
	size_t from = f->values.len, i;

	for (i = 0; i < r->nheaders; i++)
		if (span_is(r->headers[i].name, name))
			return;
	if (r->nheaders == RECORD_HEADERS_MAX ||
	    !join_values(&f->values, easy, name))
		return;
	r->headers[r->nheaders++] = (struct record_header){ span_of(name),
	    { f->values.data + from, f->values.len - from } };
}

/* Joined, the values are no longer than the block they were in: none moves. */
static bool
keep_headers(struct forward *f, CURL *easy, struct record *r)
{
	size_t i;

	f->values.len = 0;
	if (buf_reserve(&f->values, FORWARD_HEAD_MAX) == NULL)
		return false;
	r->nheaders = 0;
	for (i = 0; always_kept[i] != NULL; i++)
		keep_header(f, easy, always_kept[i], r);
	for (i = 0; i < f->o.nkeep; i++)
		keep_header(f, easy, f->o.keep[i], r);
	return true;
}

/* Of a Unix socket libcurl speaks as of port 80 of localhost. */
static const char *
detail_of(const struct slot *s)
{
	long error = 0;

	(void)curl_easy_getinfo(s->easy, CURLINFO_OS_ERRNO, &error);
	if (s->f->socket.len > 0 && error != 0)
		return strerror((int)error);
	return s->error[0] != '\0' ? s->error : NULL;
}

static enum forward_result
judge(struct slot *s, CURLcode code, struct record *r)
{
	struct forward_call *c = s->call;
	long status = 0;

	c->reason = c->detail = NULL;
	if (s->too_large)
		return FORWARD_TOO_LARGE;
	if (code == CURLE_OPERATION_TIMEDOUT)
		return FORWARD_LATE;
	if (code != CURLE_OK) {
		c->reason = curl_easy_strerror(code);
		c->detail = detail_of(s);
		return c->sent ? FORWARD_LOST : FORWARD_UNREACHED;
	}
	if (!s->head_ended) {
		c->reason = "the connection was lost within the head";
		return FORWARD_LOST;
	}
	(void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status > 599) {
		c->reason = "a status that is not 200 to 599";
		return FORWARD_LOST;
	}
	if (!keep_headers(s->f, s->easy, r)) {
		c->reason = "out of memory";
		return FORWARD_LOST;
	}
	c->status = (int)status;
	return FORWARD_ANSWERED;
}

/* A safe request that was lost is sent once more, if there is time. */
static bool
send_again(struct slot *s)
{
	struct forward_call *c = s->call;

	return c->result == FORWARD_LOST && c->request.safe && c->times == 1 &&
	    (c->deadline < 0 || c->deadline > clock_mono_ms()) &&
	    send_call(s) == 0;
}

struct forward_call *
forward_next(struct forward *f, struct record *r)
{
	struct forward_call *c;
	struct slot *s;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(f->multi, &left)) != NULL) {
		CURLcode code = message->data.result;
		CURL *easy = message->easy_handle;

		(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&s);
		(void)curl_multi_remove_handle(f->multi, easy);
		c = s->call;
		c->result = judge(s, code, r);
		if (send_again(s))
			continue;
		slot_release(s);
		return c;
	}
	return NULL;
}

struct forward_call *
forward_stop(struct forward *f)
{
	struct forward_call *c;
	struct slot *s;
	size_t i;

	for (i = 0; f != NULL && i < f->nslots; i++) {
		s = f->slots[i];
		if (s->call == NULL)
			continue;
		(void)curl_multi_remove_handle(f->multi, s->easy);
		c = s->call;
		c->result = FORWARD_STOPPED;
		slot_release(s);
		return c;
	}
	return NULL;
}
