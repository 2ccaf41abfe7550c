/*
 * One pass, no recursion: the nesting is a stack of bits (object or array),
 * so the depth limit is the width of a word.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "json.h"
#include "json_valid.h"

struct scanner {
	const unsigned char *p, *end;
	uint64_t objects;	/* bit 0: the innermost container is an object */
	unsigned int depth;
	size_t tokens;
};

size_t
utf8_sequence_len(const unsigned char *p, const unsigned char *end)
{
	size_t n, i;

	if (p == end)
		return 0;
	if (*p < 0x80)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	if ((size_t)(end - p) < n)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool
utf8_is_valid(struct span text)
{
	const unsigned char *p = (const unsigned char *)text.p;
	const unsigned char *end = p + text.n;
	size_t n;

	while (p < end) {
		if ((n = utf8_sequence_len(p, end)) == 0)
			return false;
		p += n;
	}
	return true;
}

static void
skip_space(struct scanner *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' ||
	    *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* Four hex digits, or -1. */
static int
scan_hex4(struct scanner *s)
{
	int value = 0, i, c;

	if (s->end - s->p < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		c = *s->p++;
		if (is_digit((unsigned char)c))
			c -= '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			c = (c | 32) - 'a' + 10;
		else
			return -1;
		value = value * 16 + c;
	}
	return value;
}

/* After a backslash. */
static bool
scan_escape(struct scanner *s)
{
	int high, low;

	if (s->p == s->end)
		return false;
	switch (*s->p++) {
	case '"': case '\\': case '/': case 'b':
	case 'f': case 'n': case 'r': case 't':
		return true;
	case 'u':
		break;
	default:
		return false;
	}
	high = scan_hex4(s);
	if (high == -1 || (high >= 0xdc00 && high <= 0xdfff))
		return false;
	if (high < 0xd800 || high > 0xdbff)
		return true;
	/* A high surrogate stands for nothing without its low one. */
	if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
		return false;
	s->p += 2;
	low = scan_hex4(s);
	return low >= 0xdc00 && low <= 0xdfff;
}

/* After the opening quote. */
static bool
scan_string(struct scanner *s)
{
	size_t n;

	while (s->p < s->end) {
		if (*s->p == '"') {
			s->p++;
			return true;
		}
		if (*s->p == '\\') {
			s->p++;
			if (!scan_escape(s))
				return false;
		} else if (*s->p < 0x20) {
			return false;
		} else if (*s->p < 0x80) {
			s->p++;
		} else {
			if ((n = utf8_sequence_len(s->p, s->end)) == 0)
				return false;
			s->p += n;
		}
	}
	return false;
}

static bool
scan_digits(struct scanner *s)
{
	if (s->p == s->end || !is_digit(*s->p))
		return false;
	while (s->p < s->end && is_digit(*s->p))
		s->p++;
	return true;
}

static bool
scan_number(struct scanner *s)
{
	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else if (!scan_digits(s))
		return false;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p | 32) == 'e') {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s))
			return false;
	}
	return true;
}

static bool
scan_word(struct scanner *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

static bool
scan_scalar(struct scanner *s)
{
	switch (*s->p) {
	case '"':
		s->p++;
		return scan_string(s);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	default:
		return (*s->p == '-' || is_digit(*s->p)) && scan_number(s);
	}
}

/* `"key" :`, when the innermost container is an object. */
static bool
scan_key(struct scanner *s)
{
	skip_space(s);
	if (s->p == s->end || *s->p++ != '"' || !scan_string(s))
		return false;
	s->tokens++;
	skip_space(s);
	return s->p < s->end && *s->p++ == ':';
}

/* What follows a complete value: closes what ends here.  False if invalid. */
static bool
scan_after_value(struct scanner *s, bool *another)
{
	*another = false;
	while (s->depth > 0) {
		skip_space(s);
		if (s->p == s->end)
			return false;
		if (*s->p == ',') {
			s->p++;
			*another = true;
			return (s->objects & 1) == 0 || scan_key(s);
		}
		if (*s->p != ((s->objects & 1) ? '}' : ']'))
			return false;
		s->p++;
		s->objects >>= 1;
		s->depth--;
	}
	skip_space(s);
	return s->p == s->end;
}

/* After '{' or '[': false if invalid, *empty if it closed at once. */
static bool
scan_open(struct scanner *s, bool object, bool *empty)
{
	s->objects = s->objects << 1 | object;
	s->depth++;
	skip_space(s);
	*empty = s->p < s->end && *s->p == (object ? '}' : ']');
	return *empty || !object || scan_key(s);
}

static int
fail(int error)
{
	errno = error;
	return -1;
}

int
json_validate(struct span text, size_t *tokens)
{
	struct scanner s = { .p = (const unsigned char *)text.p };
	bool another = true, empty;

	if (text.n == 0)
		return fail(EINVAL);
	s.end = s.p + text.n;
	skip_space(&s);
	if (s.p == s.end || (*s.p != '{' && *s.p != '['))
		return fail(EINVAL);
	while (another) {
		skip_space(&s);
		if (s.p == s.end)
			return fail(EINVAL);
		if (++s.tokens > JSON_TOKENS_MAX)
			return fail(E2BIG);
		if (*s.p == '{' || *s.p == '[') {
			if (s.depth == JSON_DEPTH_MAX)
				return fail(E2BIG);
			s.p++;
			if (!scan_open(&s, s.p[-1] == '{', &empty))
				return fail(EINVAL);
			if (!empty)
				continue;
		} else if (!scan_scalar(&s)) {
			return fail(EINVAL);
		}
		if (!scan_after_value(&s, &another))
			return fail(EINVAL);
	}
	if (s.tokens > JSON_TOKENS_MAX)
		return fail(E2BIG);
	*tokens = s.tokens;
	return 0;
}
