/*
 * outbound.h - a request as it goes to the API: what of a record is sent, and
 * which headers of an answer can be passed back.
 */
#ifndef OUTBOUND_H
#define OUTBOUND_H

#include "buf.h"
#include "record.h"

/* Zero it before the first use, then use it for many. */
struct outbound {
	struct buf text;	/* strings in a row: method, target, headers */
	struct buf body;
	bool safe;		/* it may be handled twice without harm */
	bool has_content;	/* its length is told, even if it is 0 */
};

/*
 * Takes over a request record; prefix goes before its path.  Path and query
 * are checked once more, and no byte of either is changed; headers that are
 * invalid, or not a client's to say, are left out.  NULL, or why not, as a
 * static phrase.  Memory: ask outbound_failed().
 */
const char *outbound_make(struct outbound *o, const struct record *r,
    struct span prefix);
void outbound_free(struct outbound *o);

/* The strings.  A header is "name: value", or "name;" if its value is empty. */
const char *outbound_method(const struct outbound *o);
char *outbound_target(const struct outbound *o);

/* The header after this string, or NULL; the first is after the target. */
char *outbound_next(const struct outbound *o, char *string);

static inline bool
outbound_failed(const struct outbound *o)
{
	return buf_failed(&o->text) || buf_failed(&o->body);
}

static inline size_t
outbound_size(const struct outbound *o)
{
	return o->text.len + o->body.len;
}

/* Whether this header of an answer means the same at its requester. */
bool outbound_may_return(struct span name);

#endif
