#include <string.h>

#include "message.h"

#define CHUNK_MAX	(UINT64_C(1) << 40)

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool
message_is_word(struct span s, const char *word)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (word[i] == '\0' || lower(s.p[i]) != word[i])
			return false;
	return word[i] == '\0';
}

struct span
message_cut(struct span *s, char c)
{
	const char *at = s->n > 0 ? memchr(s->p, c, s->n) : NULL;
	struct span before = *s;

	if (at == NULL) {
		*s = (struct span){ s->p + s->n, 0 };
		return before;
	}
	before.n = (size_t)(at - s->p);
	s->p += before.n + 1;
	s->n -= before.n + 1;
	return before;
}

static struct span
trimmed(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool
message_next_line(struct span *head, struct span *line)
{
	const char *end = memmem(head->p, head->n, "\r\n", 2);

	if (end == NULL)
		return false;
	*line = (struct span){ head->p, (size_t)(end - head->p) };
	head->p = end + 2;
	head->n -= line->n + 2;
	return line->n > 0;
}

bool
message_next_header(struct span *head, struct span *name, struct span *value)
{
	struct span line;

	if (!message_next_line(head, &line) ||
	    memchr(line.p, ':', line.n) == NULL ||
	    memchr(line.p, '\n', line.n) != NULL)
		return false;
	*name = message_cut(&line, ':');
	*value = trimmed(line);
	return name->n > 0;
}

struct span
message_header(const struct message *m, struct span in, const char *name)
{
	struct span head = { in.p, m->head }, line, found, value;

	message_next_line(&head, &line);
	while (message_next_header(&head, &found, &value))
		if (message_is_word(found, name))
			return value;
	return (struct span){ NULL, 0 };
}

/* Decimal digits only, and few enough not to overflow. */
static int
parse_length(struct span s, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	if (s.n == 0 || s.n > 15)
		return -1;
	for (i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		value = value * 10 + (uint64_t)(s.p[i] - '0');
	}
	*out = value;
	return 0;
}

static int
parse_chunk_size(struct span s, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;
	char c;

	s = trimmed(message_cut(&s, ';'));
	if (s.n == 0)
		return -1;
	for (i = 0; i < s.n; i++) {
		c = lower(s.p[i]);
		if (c >= '0' && c <= '9')
			value = value * 16 + (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (uint64_t)(c - 'a' + 10);
		else
			return -1;
		if (value > CHUNK_MAX)
			return -1;
	}
	*out = value;
	return 0;
}

/* "HTTP/1.1 200 ..." or "METHOD target HTTP/1.1"; HTTP/1.0 likewise. */
static int
parse_start(struct message *m, struct span line)
{
	struct span version, target = { NULL, 0 };
	uint64_t status;

	if (m->kind == MESSAGE_REQUEST) {
		if (message_cut(&line, ' ').n == 0)
			return -1;
		target = message_cut(&line, ' ');
		version = line;
		if (target.n == 0)
			return -1;
	} else {
		version = message_cut(&line, ' ');
		if (line.n < 3 || (line.n > 3 && line.p[3] != ' ') ||
		    parse_length((struct span){ line.p, 3 }, &status) == -1 ||
		    status < 100 || status > 599)
			return -1;
		m->status = (int)status;
	}
	if (!span_is(version, "HTTP/1.1") && !span_is(version, "HTTP/1.0"))
		return -1;
	m->keep_alive = version.p[7] == '1';
	return 0;
}

static void
parse_connection(struct message *m, struct span value)
{
	struct span word;

	while (value.n > 0) {
		word = trimmed(message_cut(&value, ','));
		if (message_is_word(word, "close"))
			m->keep_alive = false;
		else if (message_is_word(word, "keep-alive"))
			m->keep_alive = true;
	}
}

/* One header that says how the message goes on.  0, or -1: malformed. */
static int
parse_header(struct message *m, struct span name, struct span value)
{
	if (message_is_word(name, "content-length")) {
		if (m->framing != BODY_NONE ||
		    parse_length(value, &m->length) == -1)
			return -1;
		m->framing = BODY_LENGTH;
	} else if (message_is_word(name, "transfer-encoding")) {
		if (m->framing != BODY_NONE ||
		    !message_is_word(value, "chunked"))
			return -1;
		m->framing = BODY_CHUNKED;
	} else if (message_is_word(name, "connection")) {
		parse_connection(m, value);
	} else if (message_is_word(name, "expect")) {
		m->expects_continue = message_is_word(value, "100-continue");
	}
	return 0;
}

static bool
answer_has_no_body(const struct message *m)
{
	return m->kind == MESSAGE_ANSWER_TO_HEAD || m->status < 200 ||
	    m->status == 204 || m->status == 304;
}

static int
parse_head(struct message *m, struct span head)
{
	struct span line, name, value;

	if (!message_next_line(&head, &line) || parse_start(m, line) == -1)
		return -1;
	while (message_next_header(&head, &name, &value))
		if (parse_header(m, name, value) == -1)
			return -1;
	if (head.n != 0)
		return -1;
	if (m->kind == MESSAGE_REQUEST)
		return 0;
	if (answer_has_no_body(m)) {
		m->framing = BODY_NONE;
	} else if (m->framing == BODY_NONE) {
		m->framing = BODY_TO_END;
		m->keep_alive = false;
	}
	return 0;
}

/* From m->len, the start of a chunk or a trailer, as far as there is input. */
static enum message_result
read_chunks(struct message *m, struct span in)
{
	struct span rest, line;
	uint64_t size;

	for (;;) {
		rest = (struct span){ in.p + m->len, in.n - m->len };
		if (!message_next_line(&rest, &line) && rest.p == in.p + m->len)
			return MESSAGE_MORE;
		if (m->trailers) {
			m->len = (size_t)(rest.p - in.p);
			if (line.n == 0)
				return MESSAGE_DONE;
			continue;
		}
		if (parse_chunk_size(line, &size) == -1)
			return MESSAGE_BAD;
		if (size == 0) {
			m->trailers = true;
			m->len = (size_t)(rest.p - in.p);
			continue;
		}
		if (rest.n < size + 2)
			return MESSAGE_MORE;
		if (memcmp(rest.p + size, "\r\n", 2) != 0)
			return MESSAGE_BAD;
		buf_add(&m->chunks, rest.p, (size_t)size);
		m->len = (size_t)(rest.p - in.p) + (size_t)size + 2;
	}
}

static enum message_result
read_body(struct message *m, struct span in, bool at_end)
{
	switch (m->framing) {
	case BODY_NONE:
		return MESSAGE_DONE;
	case BODY_LENGTH:
		if (in.n - m->head < m->length)
			return MESSAGE_MORE;
		m->len = m->head + (size_t)m->length;
		return MESSAGE_DONE;
	case BODY_CHUNKED:
		return read_chunks(m, in);
	case BODY_TO_END:
		m->len = in.n;
		return at_end ? MESSAGE_DONE : MESSAGE_MORE;
	}
	return MESSAGE_BAD;
}

void
message_start(struct message *m, enum message_kind kind)
{
	struct buf chunks = m->chunks;

	buf_reset(&chunks, 65536);
	*m = (struct message){ .kind = kind, .chunks = chunks };
}

void
message_free(struct message *m)
{
	buf_free(&m->chunks);
}

enum message_result
message_read(struct message *m, struct span in, bool at_end)
{
	enum message_result result;
	const char *end;

	if (m->head == 0) {
		end = in.n < 4 ? NULL : memmem(in.p + m->scanned,
		    in.n - m->scanned, "\r\n\r\n", 4);
		if (end == NULL) {
			m->scanned = in.n < 4 ? 0 : in.n - 3;
			return at_end && in.n > 0 ? MESSAGE_BAD : MESSAGE_MORE;
		}
		m->head = m->len = (size_t)(end + 4 - in.p);
		if (parse_head(m, (struct span){ in.p, m->head }) == -1)
			return MESSAGE_BAD;
	}
	result = read_body(m, in, at_end);
	if (result == MESSAGE_MORE && at_end)
		return MESSAGE_BAD;
	return result;
}

struct span
message_body(const struct message *m, struct span in)
{
	if (m->framing == BODY_CHUNKED)
		return (struct span){ m->chunks.data, m->chunks.len };
	return (struct span){ in.p + m->head, m->len - m->head };
}
