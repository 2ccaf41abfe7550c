#include <errno.h>
#include <limits.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "io.h"
#include "source.h"

#define RAW_SIZE	65536	/* of what is still coded */
#define DETECT_SIZE	512

/*
 * Bytes go through at most two stages on their way into the window: base64,
 * then gzip.  Each stage has a buffer for what it reads from.
 */
struct stage {
	uint8_t *data;
	size_t at, len;
};

struct source {
	int fd;
	enum source_form form;		/* as asked, until detected */
	bool base64, gzip;
	bool detected;
	bool input_ended, ended, cut;
	bool inflating;			/* inside a gzip member */
	bool any_member;
	uint64_t read_bytes;
	struct stage coded, text;	/* from fd; and of base64 */
	struct base64_decode_ctx decode;
	z_stream z;
	bool z_open;
	uint8_t *window;
	size_t at, len;
};

struct source *
source_open(int fd, enum source_form form)
{
	struct source *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->fd = fd;
	s->form = form;
	s->window = malloc(SOURCE_WINDOW);
	if (s->window == NULL) {
		source_free(s);
		errno = ENOMEM;
		return NULL;
	}
	io_widen_pipe(fd);
	return s;
}

void
source_free(struct source *s)
{
	if (s == NULL)
		return;
	if (s->z_open)
		inflateEnd(&s->z);
	free(s->coded.data);
	free(s->text.data);
	free(s->window);
	free(s);
}

/* read(2): bytes, 0 at the end, -1. */
static ssize_t
read_input(struct source *s, void *to, size_t len)
{
	ssize_t n;

	do
		n = read(s->fd, to, len);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		s->read_bytes += (uint64_t)n;
	if (n == 0)
		s->input_ended = true;
	return n;
}

static int
damaged(struct source *s, bool cut)
{
	s->cut = cut;
	errno = EBADMSG;
	return -1;
}

/* --- what it is --- */

static bool
is_base64_text(const uint8_t *p, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/=\r\n";
	size_t i;

	for (i = 0; i < n; i++)
		if (memchr(alphabet, p[i], sizeof(alphabet) - 1) == NULL)
			return false;
	return n > 0;
}

static bool
is_gzip(const uint8_t *p, size_t n)
{
	return n >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static int
open_stage(struct stage *t)
{
	if (t->data == NULL)
		t->data = malloc(RAW_SIZE);
	return t->data == NULL ? -1 : 0;
}

/* The first bytes of fd, into the window, where plain ones belong. */
static int
read_first(struct source *s)
{
	ssize_t n = 1;

	while (s->len < DETECT_SIZE && n > 0) {
		n = read_input(s, s->window + s->len, SOURCE_WINDOW - s->len);
		if (n == -1)
			return -1;
		s->len += (size_t)n;
	}
	return 0;
}

/* What was read is a stage's, not the window's: it fits, or is left. */
static int
open_coded(struct source *s, struct stage *t)
{
	size_t len = s->len;

	t->data = malloc(SOURCE_WINDOW);
	if (t->data == NULL)
		return -1;
	memcpy(t->data, s->window, len);
	t->len = len;
	s->len = 0;
	return 0;
}

static int
open_inflate(struct source *s)
{
	s->gzip = true;
	if (inflateInit2(&s->z, 15 + 16) != Z_OK) {
		errno = ENOMEM;
		return -1;
	}
	s->z_open = true;
	return 0;
}

static int decode_base64(struct source *s);

static int
detect(struct source *s)
{
	size_t n;

	s->detected = true;
	if (read_first(s) == -1)
		return -1;
	n = s->len < DETECT_SIZE ? s->len : DETECT_SIZE;
	if (s->form == SOURCE_PLAIN)
		return 0;
	if (s->form == SOURCE_BASE64 || (s->form == SOURCE_DETECT &&
	    is_base64_text(s->window, n))) {
		s->base64 = true;
		base64_decode_init(&s->decode);
		if (open_coded(s, &s->coded) == -1 ||
		    open_stage(&s->text) == -1 || decode_base64(s) == -1)
			return -1;
		return is_gzip(s->text.data, s->text.len) ?
		    open_inflate(s) : 0;
	}
	if (s->form == SOURCE_GZIP || is_gzip(s->window, n)) {
		if (open_coded(s, &s->coded) == -1)
			return -1;
		return open_inflate(s);
	}
	return 0;
}

/* --- base64 --- */

static int
fill_coded(struct source *s)
{
	ssize_t n;

	if (s->coded.at < s->coded.len || s->input_ended)
		return 0;
	n = read_input(s, s->coded.data, RAW_SIZE);
	s->coded.at = 0;
	s->coded.len = n > 0 ? (size_t)n : 0;
	return n == -1 ? -1 : 0;
}

/* Fills s->text, which is empty, with what can be decoded; none at the end. */
static int
decode_base64(struct source *s)
{
	size_t take, out;

	s->text.at = s->text.len = 0;
	while (s->text.len == 0) {
		if (fill_coded(s) == -1)
			return -1;
		if (s->coded.at == s->coded.len) {
			if (!base64_decode_final(&s->decode))
				return damaged(s, true);
			return 0;
		}
		take = s->coded.len - s->coded.at;
		if (take > RAW_SIZE)
			take = RAW_SIZE;
		out = RAW_SIZE;
		if (!base64_decode_update(&s->decode, &out, s->text.data,
		    take, (const char *)s->coded.data + s->coded.at))
			return damaged(s, false);
		s->coded.at += take;
		s->text.len = out;
	}
	return 0;
}

/* --- gzip --- */

/* The stage that gzip reads from, with something in it unless at its end. */
static struct stage *
gzip_input(struct source *s)
{
	struct stage *t = s->base64 ? &s->text : &s->coded;

	if (t->at < t->len)
		return t;
	if ((s->base64 ? decode_base64(s) : fill_coded(s)) == -1)
		return NULL;
	return t;
}

/* After a member: another, or the end, and nothing else. */
static int
next_member(struct source *s, const struct stage *t)
{
	if (t->at == t->len) {
		s->ended = true;
		return s->any_member ? 0 : damaged(s, true);
	}
	if (inflateReset(&s->z) != Z_OK)
		return damaged(s, false);
	s->inflating = s->any_member = true;
	return 0;
}

/* More bytes into the window: how many, 0 at the end, -1. */
static ssize_t
inflate_some(struct source *s, uint8_t *to, size_t room)
{
	struct stage *t;
	size_t had;
	int got;

	s->z.next_out = to;
	s->z.avail_out = (uInt)room;
	while (s->z.avail_out == (uInt)room && !s->ended) {
		if ((t = gzip_input(s)) == NULL)
			return -1;
		if (!s->inflating) {
			if (next_member(s, t) == -1)
				return -1;
			continue;
		}
		if (t->at == t->len)
			return damaged(s, true);
		had = t->len - t->at;
		s->z.next_in = t->data + t->at;
		s->z.avail_in = (uInt)had;
		got = inflate(&s->z, Z_NO_FLUSH);
		t->at += had - s->z.avail_in;
		if (got == Z_STREAM_END)
			s->inflating = false;
		else if (got == Z_MEM_ERROR) {
			errno = ENOMEM;
			return -1;
		} else if (got != Z_OK && got != Z_BUF_ERROR)
			return damaged(s, false);
	}
	return (ssize_t)(room - s->z.avail_out);
}

/* --- the window --- */

/* Bytes out of base64 alone. */
static ssize_t
copy_text(struct source *s, uint8_t *to, size_t room)
{
	size_t n;

	if (s->text.at == s->text.len && decode_base64(s) == -1)
		return -1;
	n = s->text.len - s->text.at;
	if (n > room)
		n = room;
	if (n > 0)
		memcpy(to, s->text.data + s->text.at, n);
	s->text.at += n;
	return (ssize_t)n;
}

static ssize_t
fill(struct source *s)
{
	uint8_t *to = s->window + s->len;
	size_t room = SOURCE_WINDOW - s->len;
	ssize_t n;

	n = s->gzip ? inflate_some(s, to, room) : s->base64 ?
	    copy_text(s, to, room) : read_input(s, to, room);
	if (n > 0)
		s->len += (size_t)n;
	return n;
}

ptrdiff_t
source_peek(struct source *s, size_t want, const uint8_t **data)
{
	ssize_t n;

	if (!s->detected && detect(s) == -1)
		return -1;
	if (s->len - s->at < want && s->at > 0) {
		memmove(s->window, s->window + s->at, s->len - s->at);
		s->len -= s->at;
		s->at = 0;
	}
	while (s->len - s->at < want && !s->ended) {
		if ((n = fill(s)) == -1)
			return -1;
		if (n == 0)
			s->ended = true;
	}
	*data = s->window + s->at;
	return (ptrdiff_t)(s->len - s->at);
}

void
source_consume(struct source *s, size_t n)
{
	s->at += n;
	if (s->at == s->len)
		s->at = s->len = 0;
}

bool
source_is_cut(const struct source *s)
{
	return s->cut;
}

uint64_t
source_read_bytes(const struct source *s)
{
	return s->read_bytes;
}
