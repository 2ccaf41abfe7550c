/*
 * http.h - strict parsing of HTTP/1.x requests, for a server.
 *
 * Nothing is allocated and nothing is read: input is what has arrived so
 * far, results are spans into it.  An answer never depends on how the bytes
 * were cut into reads; what is certain to be bad is said as soon as the line
 * that shows it is complete, or at once for a byte that may stand nowhere.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "span.h"

#define HTTP_HEAD_MAX		32768	/* all bytes up to the empty line's */
#define HTTP_HEADERS_MAX	100
#define HTTP_METHOD_MAX		32
#define HTTP_EMPTY_LINES_MAX	2	/* skipped before a request line */
#define HTTP_CHUNK_DIGITS_MAX	16	/* of a chunk size */
#define HTTP_TRAILERS_MAX	8192	/* bytes, with the last empty line */

struct http_header {
	struct span name;	/* as it was written; never empty */
	struct span value;	/* without blanks around it; may be empty */
};

struct http_request {
	struct span method, target;
	int minor;		/* of HTTP/1.x: 0 or 1 */
	struct span host;	/* NULL without one, in HTTP/1.0 only */
	/* The body: chunked, or has_length, or else there is none. */
	bool chunked, has_length;
	uint64_t content_length;
	bool keep_alive;
	bool expect_continue;	/* waits for a 100 before it sends a body */
	size_t nheaders;
	struct http_header headers[HTTP_HEADERS_MAX];
};

/* How far a head has been read; zeroed before the first call for each. */
struct http_scan {
	size_t at;		/* bytes found good */
	size_t line;		/* where the unfinished line begins */
	size_t lines;		/* complete lines, from the request line on */
};

/*
 * in holds every byte since the end of the last message.  Bytes are added
 * between calls, and may be moved, but not changed.
 *
 * > 0	bytes of the head, its empty line included; req is complete and points
 *	into in
 * 0	incomplete
 * -1	bad, and *status tells how to answer; asked again, the same answer:
 *	400	malformed: bare CR or LF, a control byte, a folded header, a
 *		blank before the colon, more than HTTP_EMPTY_LINES_MAX empty
 *		lines in front, a method over HTTP_METHOD_MAX, a target that
 *		is not printable ASCII; Content-Length repeated, not a plain
 *		number, or with Transfer-Encoding; any transfer coding but
 *		one "chunked", or in HTTP/1.0; Host missing in HTTP/1.1,
 *		repeated, or not an authority; Expect other than 100-continue
 *	431	no end in HTTP_HEAD_MAX bytes, or over HTTP_HEADERS_MAX headers
 *	505	HTTP/x.y other than 1.0 and 1.1
 *	Of several faults the one in the earliest line counts; what only the
 *	whole head shows (Host, lengths, codings, Expect) comes last.
 *
 * Unless the result is > 0, req is scratch space.  A head costs linear time
 * however it arrives.
 */
ssize_t http_parse_head(struct http_scan *scan, struct span in,
    struct http_request *req, int *status);

/* The first value of a header, or a span of NULL.  name is lower-case. */
struct span http_header_get(const struct http_request *req, const char *name);

/* The next header of that name behind after (NULL: the first), or NULL. */
const struct http_header *http_header_next(const struct http_request *req,
    const char *name, const struct http_header *after);

enum http_chunked_result {
	HTTP_CHUNKED_BAD = -1,	/* malformed, for ever; answer 400 */
	HTTP_CHUNKED_MORE,	/* all input consumed, the body goes on */
	HTTP_CHUNKED_DATA,	/* data is the next piece of the body */
	HTTP_CHUNKED_DONE	/* what was not consumed is the next message */
};

/* Zeroed before each body; the members are private. */
struct http_chunked {
	int state;
	unsigned int digits;
	uint64_t left;
	size_t trailers;
};

/*
 * Decodes as far as the next piece of data.  *consumed, of in, is always set;
 * call again with the rest of the input.  Only CRLF ends a line.  A size is 1
 * to HTTP_CHUNK_DIGITS_MAX hexadecimal digits and nothing else: chunk
 * extensions are refused, no client of ours sends any.  Trailers are checked
 * like headers, up to HTTP_TRAILERS_MAX, and dropped.
 */
enum http_chunked_result http_chunked_decode(struct http_chunked *body,
    struct span in, size_t *consumed, struct span *data);

#endif
