/*
 * record.h - requests, responses and reports: the files of the queue and the
 * lines between the tools (protocol: pc-records(5)).
 *
 * What is read is hostile.  A record is taken apart into the known fields,
 * each strictly typed, and written again from those: no byte of the input
 * that is not a checked field ever goes on.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "json.h"

#define RECORD_HEADERS_MAX	100
#define RECORD_METHOD_MAX	32
#define RECORD_BODY_MAX		262144		/* default, decoded bytes */
#define RECORD_TIMEOUT_MAX	600000		/* ms */
#define RECORD_TIMEOUT_DEFAULT	35000		/* ms, of a request without */

#define OUTCOME_HEADER		"x-paperclip-bridge-outcome"
#define CAPABILITY_HEADER	"x-paperclip-github-capability"
#define OUTCOME_NOT_STARTED	"not-started"
#define OUTCOME_INDETERMINATE	"indeterminate"

/* What the bridge says of its own, in the words that peers know. */
#define MESSAGE_BODY_TOO_LARGE \
	"Bridge request body exceeded the configured size limit."
#define MESSAGE_ENVELOPE_TOO_LARGE \
	"Bridge request envelope exceeded the configured size limit."
#define MESSAGE_STOPPED \
	"Bridge worker stopped before request could be handled."

/* Which of "method", "status", "wrote" a record has: exactly one. */
enum record_kind {
	RECORD_INVALID,		/* fault says why */
	RECORD_TOO_LARGE,	/* a request or response over the body limit */
	RECORD_REQUEST,
	RECORD_RESPONSE,
	RECORD_REPORT		/* passed on as it is, not taken apart */
};

/* The fault of a record that is not to blame for it. */
extern const char record_no_memory[];

struct record_header {
	struct span name, value;
};

enum record_body {
	RECORD_BODY_TEXT,	/* body is the characters of a JSON string */
	RECORD_BODY_BASE64,	/* body is canonical base64 */
	RECORD_BODY_BYTES	/* body is the bytes themselves */
};

/*
 * Zero it before the first record_parse(), then use it for as many as you
 * like.  Spans point into the parsed text or into the record, and hold until
 * the next parse.  To write a record that was not parsed, fill in the fields.
 */
struct record {
	struct span id;
	struct span method, path, query, created_at;	/* request */
	struct span completed_at;		/* response; may be empty */
	int status;					/* response, 200..599 */
	int64_t timeout_ms;	/* request: 0 when absent */
	int64_t remaining_ms;	/* request line: -1 when absent */
	int64_t expires_at;	/* response: ms since 1970, 0 when absent */
	struct record_header headers[RECORD_HEADERS_MAX];
	size_t nheaders;
	struct span body;
	enum record_body body_form;
	const char *fault;
	struct json json;	/* private, as what follows */
	struct buf arena;
};

/*
 * Takes one record apart.  body_max bounds the decoded body.  For an invalid
 * record id is still set when it could be read.  A response may lack its id
 * (a file is matched by its name); whoever needs it must look.
 */
enum record_kind record_parse(struct record *r, struct span text,
    size_t body_max);
void record_free(struct record *r);

/* Largest file, and longest line, for a body limit. */
size_t record_size_max(size_t body_max);

/* Appends the body's bytes; how many there are. */
void record_body_decode(const struct record *r, struct buf *out);
size_t record_body_len(const struct record *r);

/*
 * Append one line, keys in the order of the protocol.  remainingMs is
 * written when it is not negative.  A response without completed_at gets now.
 */
void record_put_request(struct buf *out, const struct record *r);
void record_put_response(struct buf *out, const struct record *r);
void record_put_report(struct buf *out, struct span id, bool wrote,
    const char *reason);

/*
 * Appends a response line of our own: {"error":message}, with the outcome
 * header unless outcome is NULL.
 */
void record_put_error(struct buf *out, struct span id, int status,
    const char *message, const char *outcome);

/* The same with the time until which it must be kept, or 0. */
void record_put_error_until(struct buf *out, struct span id, int status,
    const char *message, const char *outcome, int64_t expires_at);

/*
 * Makes r such a response; its body is put into body, emptied first, and must
 * hold as long as r.  Memory: ask buf_failed() of body.
 */
void record_make_error(struct record *r, struct buf *body, int status,
    const char *message, const char *outcome);

/* The value of the outcome header; empty when there is none. */
struct span record_outcome(const struct record *r);

/*
 * The request headers that are carried; all others stay where they are.  The
 * capability header is a credential of the newest peer's: it goes where that
 * is asked for, below /runtime-tools/, and nowhere else.
 */
#define REQUEST_HEADERS_COUNT 6
extern const char *const request_headers[REQUEST_HEADERS_COUNT];
bool request_header_is_carried(struct span lower_name, struct span path);

/* RFC 9110 9.2.1: a request that may be handled twice without harm. */
bool method_is_safe(struct span method);

/* RFC 9110 5.6.2; 5.5 without obs-fold: bytes that may be in a header. */
bool header_name_is_valid(struct span name);
bool header_value_is_valid(struct span value);

/* Whether two header names are the same (ASCII case does not count). */
bool header_name_is(struct span name, const char *lower);

/* RFC 9110 7.6.1: what a message says of its own connection. */
bool header_is_hop_by_hop(struct span name);

#endif
