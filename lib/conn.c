#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "io.h"

#define CHUNK 16384

struct conn *
conn_new(int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c != NULL) {
		c->fd = fd;
		c->writable = true;
	}
	return c;
}

void
conn_free(struct conn *c)
{
	io_close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->body);
	free(c);
}

void
conn_unlist(struct conn_list lists[static PATIENCES], struct conn *c)
{
	struct conn_list *list = &lists[c->patience];

	if (!c->listed)
		return;
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		list->first = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		list->last = c->prev;
	c->prev = c->next = NULL;
	c->listed = false;
}

void
conn_list_in(struct conn_list lists[static PATIENCES], struct conn *c,
    enum conn_patience patience, int64_t deadline)
{
	struct conn_list *list = &lists[patience];

	conn_unlist(lists, c);
	c->patience = patience;
	c->deadline = deadline;
	c->prev = list->last;
	c->next = NULL;
	if (list->last != NULL)
		list->last->next = c;
	else
		list->first = c;
	list->last = c;
	c->listed = true;
}

bool
conn_fill(struct conn *c, size_t max)
{
	char *to;
	ssize_t n;

	while (c->readable && c->in.len < max) {
		if ((to = buf_reserve(&c->in, CHUNK)) == NULL)
			return false;
		n = recv(c->fd, to, CHUNK, 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			c->readable = false;
			break;
		}
		if (n <= 0) {
			c->peer_closed = true;
			c->readable = false;
			return false;
		}
		c->in.len += (size_t)n;
		/*
		 * Edge-triggered: a short read has emptied the socket.  But an
		 * end that was told of together with data is told only once.
		 */
		if (n < CHUNK && !c->hung_up)
			c->readable = false;
	}
	return true;
}

int
conn_flush(struct conn *c)
{
	ssize_t n;

	while (c->writable && c->out_at < c->out.len) {
		n = send(c->fd, c->out.data + c->out_at,
		    c->out.len - c->out_at, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			c->writable = false;
			break;
		}
		if (n == -1)
			return -1;
		c->out_at += (size_t)n;
	}
	if (c->out_at == c->out.len) {
		c->out_at = 0;
		buf_reset(&c->out, 0);
	}
	return 0;
}

void
conn_next_request(struct conn *c)
{
	buf_consume(&c->in, c->head_len + (c->is_chunked ? 0 : c->body_len));
	if (c->in.len == 0)
		buf_reset(&c->in, 0);
	buf_reset(&c->body, 0);
	c->head_len = c->body_len = 0;
	c->scan = (struct http_scan){ 0 };
}

/* Moves what has arrived of a chunked body, decoded, from in to body. */
static int
decode_chunked(struct conn *c, size_t max)
{
	enum http_chunked_result result;
	struct span rest = { c->in.data + c->head_len,
	    c->in.len - c->head_len }, data;
	size_t taken, left;

	do {
		result = http_chunked_decode(&c->chunked, rest, &taken, &data);
		rest.p += taken;
		rest.n -= taken;
		if (result == HTTP_CHUNKED_DATA) {
			if (data.n > max - c->body.len)
				return -2;
			buf_add_span(&c->body, data);
		}
	} while (result == HTTP_CHUNKED_DATA);
	left = rest.n;
	memmove(c->in.data + c->head_len, rest.p, left);
	c->in.len = c->head_len + left;
	if (result == HTTP_CHUNKED_BAD || buf_failed(&c->body))
		return -1;
	return result == HTTP_CHUNKED_DONE;
}

int
conn_take_body(struct conn *c, size_t max)
{
	if (c->is_chunked)
		return decode_chunked(c, max);
	if (c->body_len > max)
		return -2;
	return c->in.len - c->head_len >= c->body_len;
}

struct span
conn_body(const struct conn *c)
{
	if (c->is_chunked)
		return (struct span){ c->body.data ? c->body.data : "",
		    c->body.len };
	return (struct span){ c->in.data + c->head_len, c->body_len };
}
