#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include "json.h"
#include "json_valid.h"

/*
 * json.h speaks of struct jsmntok, jsmn of an untagged jsmntok_t: the array
 * is the latter, and only this file looks into it.
 */
static jsmntok_t *
token_at(const struct json *j, size_t token)
{
	return (jsmntok_t *)(void *)j->tokens + token;
}

static int
grow_tokens(struct json *j, size_t count)
{
	void *tokens;

	if (count <= j->cap)
		return 0;
	if (count < 64)
		count = 64;
	tokens = realloc(j->tokens, count * sizeof(jsmntok_t));
	if (tokens == NULL)
		return -1;
	j->tokens = tokens;
	j->cap = count;
	return 0;
}

int
json_parse(struct json *j, struct span text)
{
	jsmn_parser parser;
	size_t count;
	int got;

	j->count = 0;
	if (text.n > INT_MAX) {
		errno = E2BIG;
		return -1;
	}
	if (json_validate(text, &count) == -1)
		return -1;
	if (grow_tokens(j, count) == -1)
		return -1;
	jsmn_init(&parser);
	got = jsmn_parse(&parser, text.p, text.n, token_at(j, 0),
	    (unsigned int)count);
	if (got < 0 || (size_t)got != count) {
		errno = EINVAL;
		return -1;
	}
	j->text = text;
	j->count = count;
	return 0;
}

void
json_free(struct json *j)
{
	free(j->tokens);
	memset(j, 0, sizeof(*j));
}

enum json_type
json_type_of(const struct json *j, size_t token)
{
	const jsmntok_t *t = token_at(j, token);

	switch (t->type) {
	case JSMN_OBJECT:
		return JSON_OBJECT;
	case JSMN_ARRAY:
		return JSON_ARRAY;
	case JSMN_STRING:
		return JSON_STRING;
	default:
		break;
	}
	switch (j->text.p[t->start]) {
	case 't': case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER;
	}
}

struct span
json_raw(const struct json *j, size_t token)
{
	const jsmntok_t *t = token_at(j, token);

	return (struct span){ j->text.p + t->start,
	    (size_t)(t->end - t->start) };
}

size_t
json_skip(const struct json *j, size_t token)
{
	int end = token_at(j, token)->end;

	for (token++; token < j->count; token++)
		if (token_at(j, token)->start >= end)
			break;
	return token;
}

size_t
json_size(const struct json *j, size_t token)
{
	return (size_t)token_at(j, token)->size;
}

static unsigned int
hex4(const char *p)
{
	unsigned int value = 0;
	int i, c;

	for (i = 0; i < 4; i++) {
		c = p[i];
		value = value * 16 + (unsigned int)
		    (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
	}
	return value;
}

static size_t
put_utf8(char out[static 4], unsigned int c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/*
 * The escape at raw[at], which is a backslash: its characters to out, how
 * many to *len; returns how much of raw it took.  raw has been validated.
 */
static size_t
decode_escape(struct span raw, size_t at, char out[static 4], size_t *len)
{
	unsigned int c, low;

	*len = 1;
	switch (raw.p[at + 1]) {
	case 'b': out[0] = '\b'; return 2;
	case 'f': out[0] = '\f'; return 2;
	case 'n': out[0] = '\n'; return 2;
	case 'r': out[0] = '\r'; return 2;
	case 't': out[0] = '\t'; return 2;
	case 'u': break;
	default: out[0] = raw.p[at + 1]; return 2;
	}
	c = hex4(raw.p + at + 2);
	if (c < 0xd800 || c > 0xdbff) {
		*len = put_utf8(out, c);
		return 6;
	}
	low = hex4(raw.p + at + 8);
	*len = put_utf8(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
	return 12;
}

void
json_unescape(struct buf *out, struct span raw)
{
	const char *escape;
	char piece[4];
	size_t at = 0, len;

	while (at < raw.n) {
		escape = memchr(raw.p + at, '\\', raw.n - at);
		if (escape == NULL) {
			buf_add(out, raw.p + at, raw.n - at);
			return;
		}
		buf_add(out, raw.p + at, (size_t)(escape - raw.p) - at);
		at = (size_t)(escape - raw.p);
		at += decode_escape(raw, at, piece, &len);
		buf_add(out, piece, len);
	}
}

size_t
json_unescaped_len(struct span raw)
{
	const char *escape;
	char piece[4];
	size_t at = 0, len, total = 0;

	while (at < raw.n) {
		escape = memchr(raw.p + at, '\\', raw.n - at);
		if (escape == NULL)
			return total + raw.n - at;
		total += (size_t)(escape - raw.p) - at;
		at = (size_t)(escape - raw.p);
		at += decode_escape(raw, at, piece, &len);
		total += len;
	}
	return total;
}

bool
json_string_is(struct span raw, const char *s)
{
	char piece[4];
	size_t at = 0, len, n = strlen(s);

	if (memchr(raw.p, '\\', raw.n) == NULL)
		return raw.n == n && memcmp(raw.p, s, n) == 0;
	while (at < raw.n) {
		if (raw.p[at] == '\\') {
			at += decode_escape(raw, at, piece, &len);
		} else {
			piece[0] = raw.p[at++];
			len = 1;
		}
		if (n < len || memcmp(piece, s, len) != 0)
			return false;
		s += len;
		n -= len;
	}
	return n == 0;
}

int
json_integer(const struct json *j, size_t token, int64_t max, int64_t *out)
{
	struct span raw = json_raw(j, token);
	int64_t value = 0;
	size_t i;
	int digit;

	if (json_type_of(j, token) != JSON_NUMBER)
		return -1;
	for (i = 0; i < raw.n; i++) {
		digit = raw.p[i] - '0';
		if (digit < 0 || digit > 9)
			return -1;
		if (digit > max || value > (max - digit) / 10)
			return -1;
		value = value * 10 + digit;
	}
	*out = value;
	return 0;
}

void
json_put_string(struct buf *out, struct span text)
{
	static const char hex[] = "0123456789abcdef";
	char escape[6] = { '\\', 'u', '0', '0', 0, 0 };
	size_t from = 0, at;
	unsigned char c;

	buf_reserve(out, text.n + 2);
	buf_add_char(out, '"');
	for (at = 0; at < text.n; at++) {
		c = (unsigned char)text.p[at];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(out, text.p + from, at - from);
		from = at + 1;
		switch (c) {
		case '"': buf_add_str(out, "\\\""); break;
		case '\\': buf_add_str(out, "\\\\"); break;
		case '\n': buf_add_str(out, "\\n"); break;
		case '\r': buf_add_str(out, "\\r"); break;
		case '\t': buf_add_str(out, "\\t"); break;
		default:
			escape[4] = hex[c >> 4];
			escape[5] = hex[c & 15];
			buf_add(out, escape, sizeof(escape));
		}
	}
	if (at > from)
		buf_add(out, text.p + from, at - from);
	buf_add_char(out, '"');
}

void
json_put_key(struct buf *out, const char *key)
{
	if (out->len > 0 && out->data[out->len - 1] != '{')
		buf_add_char(out, ',');
	json_put_string(out, span_of(key));
	buf_add_char(out, ':');
}

void
json_put_member(struct buf *out, const char *key, const char *text)
{
	json_put_key(out, key);
	if (text != NULL && utf8_is_valid(span_of(text)))
		json_put_string(out, span_of(text));
	else
		buf_add_str(out, "null");
}
