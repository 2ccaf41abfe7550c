/*
 * conn.h - one HTTP connection of the gateway: bytes in, bytes out, and when
 * its patience ends.  What a request means is the gateway's business.
 */
#ifndef CONN_H
#define CONN_H

#include "buf.h"
#include "http.h"
#include "id.h"
#include "idmap.h"

enum conn_state {
	CONN_HEAD,		/* reading a request's head */
	CONN_BODY,		/* reading its body */
	CONN_WAIT,		/* the request is in the queue */
	CONN_LINGER		/* answered for good: discarding, then closed */
};

/* How long a connection may stay as it is: one list for each. */
enum conn_patience {
	PATIENCE_HEAD, PATIENCE_BODY, PATIENCE_IDLE, PATIENCE_WAIT,
	PATIENCE_WRITE, PATIENCE_LINGER, PATIENCES
};

/*
 * All connections of a list have the same time to go, so they are in the
 * order of their deadlines, and only the first is ever looked at.
 */
struct conn_list {
	struct conn *first, *last;
};

struct conn {
	struct idmap_node node;		/* while waiting, by id */
	struct conn *prev, *next;	/* in lists[patience] */
	struct buf in;			/* from the head of the request on */
	struct buf out;
	struct buf body;		/* of a chunked request, decoded */
	struct http_scan scan;
	struct http_chunked chunked;
	size_t head_len, body_len;	/* of the request in in */
	size_t out_at;
	int64_t deadline;
	int fd;
	enum conn_state state;
	enum conn_patience patience;
	bool listed;
	bool readable, writable;	/* as far as epoll has said */
	bool is_chunked, keep_alive, http_1_0, is_head, is_safe;
	bool hung_up;			/* epoll has said so: read to the end */
	bool peer_closed;		/* nothing more will come */
	bool dead;			/* to be freed when events are done */
	size_t discarded;
	char id[ID_NEW_SIZE];
};

struct conn *conn_new(int fd);
void conn_free(struct conn *c);		/* closes; must be in no list */

/* Moves c to the end of a list, or out of all (conn_unlist). */
void conn_list_in(struct conn_list lists[static PATIENCES], struct conn *c,
    enum conn_patience patience, int64_t deadline);
void conn_unlist(struct conn_list lists[static PATIENCES], struct conn *c);

/*
 * Reads what there is, until in holds max bytes.  False when the connection
 * has gone (peer_closed) or in has failed, which leaves what was read.
 */
bool conn_fill(struct conn *c, size_t max);

/* Sends what the socket takes: -1 when it has failed, else 0. */
int conn_flush(struct conn *c);

/* Drops the request from the front of in; what follows is pipelined. */
void conn_next_request(struct conn *c);

/*
 * How much of the body is there: 1 complete, 0 not yet, -1 malformed, -2 over
 * max bytes.  Then conn_body() is the body.
 */
int conn_take_body(struct conn *c, size_t max);
struct span conn_body(const struct conn *c);

#endif
