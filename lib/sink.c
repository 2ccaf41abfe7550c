#include <errno.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "io.h"
#include "sink.h"

#define BUFFER		262144	/* what is collected before it goes on */
#define CODED		65536	/* compressed, or a multiple of lines */
#define LINE_BYTES	57	/* 76 characters of base64 */
#define TEXT_SIZE	(CODED / LINE_BYTES * 77 + 256)

struct sink {
	int fd, error;
	bool base64, gzip;
	uint64_t written;
	uint8_t *buffer;
	size_t len;
	z_stream z;
	uint8_t *coded;
	uint8_t line[LINE_BYTES];	/* of base64, not yet whole */
	size_t line_len;
	char *text;
};

struct sink *
sink_open(int fd, int gzip_level, bool base64)
{
	struct sink *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->fd = fd;
	s->base64 = base64;
	s->buffer = malloc(BUFFER);
	s->text = base64 ? malloc(TEXT_SIZE) : NULL;
	s->coded = gzip_level > 0 ? malloc(CODED) : NULL;
	if (s->buffer == NULL || (base64 && s->text == NULL) ||
	    (gzip_level > 0 && (s->coded == NULL || deflateInit2(&s->z,
	    gzip_level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK))) {
		sink_free(s);
		errno = ENOMEM;
		return NULL;
	}
	s->gzip = gzip_level > 0;
	io_widen_pipe(fd);
	return s;
}

void
sink_free(struct sink *s)
{
	if (s == NULL)
		return;
	if (s->gzip)
		deflateEnd(&s->z);
	free(s->buffer);
	free(s->coded);
	free(s->text);
	free(s);
}

static int
stuck(struct sink *s)
{
	if (s->error == 0)
		s->error = errno;
	errno = s->error;
	return -1;
}

static int
write_out(struct sink *s, const void *data, size_t len)
{
	if (io_write_all(s->fd, data, len) == -1)
		return stuck(s);
	s->written += len;
	return 0;
}

/* Whole lines of what is coded, and the last one when it is the end. */
static int
write_text(struct sink *s, const uint8_t *data, size_t len, bool end)
{
	size_t take, out = 0;

	while (len > 0 || (end && s->line_len > 0)) {
		take = LINE_BYTES - s->line_len;
		if (take > len)
			take = len;
		memcpy(s->line + s->line_len, data, take);
		s->line_len += take;
		data += take;
		len -= take;
		if (s->line_len < LINE_BYTES && !end)
			break;
		base64_encode_raw(s->text + out, s->line_len, s->line);
		out += BASE64_ENCODE_RAW_LENGTH(s->line_len);
		s->text[out++] = '\n';
		s->line_len = 0;
		if (out > TEXT_SIZE - 2 * 77) {
			if (write_out(s, s->text, out) == -1)
				return -1;
			out = 0;
		}
	}
	return out > 0 ? write_out(s, s->text, out) : 0;
}

static int
pass_on(struct sink *s, const uint8_t *data, size_t len, bool end)
{
	return s->base64 ? write_text(s, data, len, end) : len > 0 ?
	    write_out(s, data, len) : 0;
}

static int
deflate_all(struct sink *s, const uint8_t *data, size_t len, bool end)
{
	int got;

	s->z.next_in = (uint8_t *)(uintptr_t)data;
	s->z.avail_in = (uInt)len;
	do {
		s->z.next_out = s->coded;
		s->z.avail_out = CODED;
		got = deflate(&s->z, end ? Z_FINISH : Z_NO_FLUSH);
		if (got == Z_STREAM_ERROR) {
			errno = EIO;
			return stuck(s);
		}
		if (pass_on(s, s->coded, CODED - s->z.avail_out,
		    end && got == Z_STREAM_END) == -1)
			return -1;
	} while (s->z.avail_out == 0);
	return 0;
}

static int
code(struct sink *s, const uint8_t *data, size_t len, bool end)
{
	return s->gzip ? deflate_all(s, data, len, end) :
	    pass_on(s, data, len, end);
}

static int
flush(struct sink *s)
{
	size_t len = s->len;

	s->len = 0;
	return len == 0 ? 0 : code(s, s->buffer, len, false);
}

int
sink_flush(struct sink *s)
{
	return s->error != 0 ? stuck(s) : flush(s);
}

int
sink_write(struct sink *s, const void *data, size_t len)
{
	if (s->error != 0)
		return stuck(s);
	if (len > BUFFER - s->len && flush(s) == -1)
		return -1;
	if (len >= BUFFER)
		return code(s, data, len, false);
	memcpy(s->buffer + s->len, data, len);
	s->len += len;
	return 0;
}

uint8_t *
sink_reserve(struct sink *s, size_t *len)
{
	if (s->error != 0) {
		stuck(s);
		return NULL;
	}
	/* A tail of the buffer is worth no read of its own. */
	if (BUFFER - s->len < *len && BUFFER - s->len < BUFFER / 4 &&
	    flush(s) == -1)
		return NULL;
	if (*len > BUFFER - s->len)
		*len = BUFFER - s->len;
	return s->buffer + s->len;
}

int
sink_commit(struct sink *s, size_t len)
{
	s->len += len;
	return s->len == BUFFER ? flush(s) : 0;
}

int
sink_finish(struct sink *s)
{
	size_t len = s->len;

	if (s->error != 0)
		return stuck(s);
	s->len = 0;
	return code(s, s->buffer, len, true);
}

uint64_t
sink_written_bytes(const struct sink *s)
{
	return s->written;
}
