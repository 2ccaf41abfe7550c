/*
 * target.c - the URL standard's path and query, for input that is ASCII.
 *
 * The path is built as text: a segment is appended with its '/', a double
 * dot cuts back to the last '/'.  As escapes are never decoded, a segment can
 * be judged before it is encoded.
 */
#include <arpa/inet.h>
#include <stdint.h>

#include "ascii.h"
#include "target.h"

/*
 * What the standard escapes, besides controls and bytes outside ASCII.  In
 * paths '^' joined late: older parsers leave it as it is.
 */
#define PATH_ESCAPED	" \"#<>?^`{}"
#define QUERY_ESCAPED	" \"#'<>"

static bool
is_slash(char c)
{
	return c == '/' || c == '\\';
}

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static struct span
span_from(struct span s, size_t at)
{
	return (struct span){ s.p + at, s.n - at };
}

/* How many bytes of s come before the first that is in set. */
static size_t
span_until(struct span s, const char *set)
{
	size_t i = 0;

	while (i < s.n && (s.p[i] == '\0' || strchr(set, s.p[i]) == NULL))
		i++;
	return i;
}

/* 1 for ".", 2 for "..", also when written with %2e, 0 for any other. */
static int
segment_dots(struct span s)
{
	int dots;

	for (dots = 0; s.n > 0 && dots < 3; dots++) {
		if (s.p[0] == '.')
			s = span_from(s, 1);
		else if (ascii_starts(s, "%2e"))
			s = span_from(s, 3);
		else
			return 0;
	}
	return s.n == 0 && dots < 3 ? dots : 0;
}

static void
add_escaped(struct buf *out, struct span s, const char *escaped)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char c;
	size_t plain;

	for (;;) {
		plain = span_until(s, escaped);
		buf_add(out, s.p, plain);
		if (plain == s.n)
			return;
		c = (unsigned char)s.p[plain];
		buf_add_char(out, '%');
		buf_add_char(out, digits[c >> 4]);
		buf_add_char(out, digits[c & 15]);
		s = span_from(s, plain + 1);
	}
}

static void
drop_last_segment(struct buf *path)
{
	while (path->len > 0 && path->data[--path->len] != '/')
		;
}

static void
add_path(struct buf *out, struct span s)
{
	struct span segment;
	bool last;
	int dots;

	if (s.n > 0 && is_slash(s.p[0]))
		s = span_from(s, 1);
	do {
		segment = (struct span){ s.p, span_until(s, "/\\") };
		last = segment.n == s.n;
		dots = segment_dots(segment);
		if (dots == 2)
			drop_last_segment(out);
		if (dots == 0 || last)
			buf_add_char(out, '/');
		if (dots == 0)
			add_escaped(out, segment, PATH_ESCAPED);
		if (!last)
			s = span_from(s, segment.n + 1);
	} while (!last);
}

/* The standard's "ends in a number": such a host must be an IPv4 address. */
static bool
is_number(struct span label)
{
	size_t i;

	if (ascii_starts(label, "0x")) {
		for (i = 2; i < label.n; i++)
			if (ascii_hex_value(label.p[i]) == -1)
				return false;
		return true;
	}
	for (i = 0; i < label.n; i++)
		if (!ascii_is_digit(label.p[i]))
			return false;
	return true;
}

static bool
is_address(int family, struct span s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (s.n >= sizeof(text) || memchr(s.p, '\0', s.n) != NULL)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	return inet_pton(family, text, &address) == 1;
}

static bool
is_label(struct span s)
{
	size_t i;

	if (s.n == 0 || s.n > 63 || ascii_starts(s, "xn--"))
		return false;
	for (i = 0; i < s.n; i++)
		if (!ascii_is_letter(s.p[i]) && !ascii_is_digit(s.p[i]) &&
		    s.p[i] != '-' && s.p[i] != '_')
			return false;
	return true;
}

static bool
is_host(struct span s)
{
	struct span label, rest = s;

	if (s.n > 253)
		return false;
	do {
		label = (struct span){ rest.p, span_until(rest, ".") };
		if (!is_label(label))
			return false;
		rest = span_from(rest, label.n);
		if (rest.n > 0)
			rest = span_from(rest, 1);
	} while (rest.n > 0);
	return !is_number(label) || is_address(AF_INET, s);
}

static bool
is_port(struct span s)
{
	uint32_t port = 0;
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (!ascii_is_digit(s.p[i]))
			return false;
		port = port * 10 + (uint32_t)(s.p[i] - '0');
		if (port > 65535)
			return false;
	}
	return true;
}

bool
target_is_authority(struct span s)
{
	size_t end;

	if (s.n > 0 && s.p[0] == '[') {
		end = span_until(s, "]");
		if (end == s.n ||
		    !is_address(AF_INET6, (struct span){ s.p + 1, end - 1 }))
			return false;
		end++;
	} else {
		end = span_until(s, ":");
		if (!is_host((struct span){ s.p, end }))
			return false;
	}
	s = span_from(s, end);
	return s.n == 0 || (s.p[0] == ':' && is_port(span_from(s, 1)));
}

/*
 * Cuts scheme and authority off.  As in the standard, any number of slashes
 * of either kind may come before the authority.
 */
static int
drop_authority(struct span *target)
{
	struct span s = *target;
	size_t n;

	if (ascii_starts(s, "http://"))
		s = span_from(s, 7);
	else if (ascii_starts(s, "https://"))
		s = span_from(s, 8);
	else if (s.n == 0 || s.p[0] != '/')
		return -1;
	else if (s.n == 1 || !is_slash(s.p[1]))
		return 0;
	while (s.n > 0 && is_slash(s.p[0]))
		s = span_from(s, 1);
	n = span_until(s, "/\\?#");
	if (!target_is_authority((struct span){ s.p, n }))
		return -1;
	*target = span_from(s, n);
	return 0;
}

int
target_canonicalise(struct span target, struct buf *path, struct buf *query)
{
	struct span rest = target;
	size_t i, n;

	for (i = 0; i < target.n; i++)
		if (target.p[i] <= ' ' || target.p[i] > '~')
			return -1;
	buf_reset(path, SIZE_MAX);
	buf_reset(query, SIZE_MAX);
	if (span_is(target, "*")) {
		buf_add_str(path, "/*");
		return 0;
	}
	if (drop_authority(&rest) == -1)
		return -1;
	rest.n = span_until(rest, "#");
	n = span_until(rest, "?");
	add_path(path, (struct span){ rest.p, n });
	if (rest.n > n + 1) {
		buf_add_char(query, '?');
		add_escaped(query, span_from(rest, n + 1), QUERY_ESCAPED);
	}
	return 0;
}

/* Of bytes that may appear neither in a path nor in a query. */
static const char *
check_byte(char byte)
{
	unsigned char c = (unsigned char)byte;

	if (is_control(c))
		return "control byte";
	if (c == ' ')
		return "space";
	if (c >= 0x80)
		return "byte outside ascii";
	if (c == '#')
		return "fragment";
	return NULL;
}

/* s begins with '%'. */
static const char *
check_escape(struct span s)
{
	int high = s.n > 2 ? ascii_hex_value(s.p[1]) : -1;
	int low = s.n > 2 ? ascii_hex_value(s.p[2]) : -1;
	unsigned char c;

	if (high == -1 || low == -1)
		return "malformed percent escape";
	c = (unsigned char)(high << 4 | low);
	if (c == '/')
		return "encoded slash";
	if (c == '\\')
		return "encoded backslash";
	if (is_control(c))
		return "encoded control byte";
	return NULL;
}

static const char *
check_segments(struct span path)
{
	struct span segment, rest = path;

	while (rest.n > 0) {
		rest = span_from(rest, 1);
		segment = (struct span){ rest.p, span_until(rest, "/") };
		if (segment.n == 0 && rest.n > 0)
			return "empty segment";
		if (segment_dots(segment) > 0)
			return "dot segment";
		rest = span_from(rest, segment.n);
	}
	return NULL;
}

const char *
target_check_path(struct span path)
{
	const char *reason = NULL;
	size_t i;

	if (path.n == 0 || path.p[0] != '/')
		return "not absolute";
	for (i = 0; i < path.n && reason == NULL; i++) {
		if (path.p[i] == '%')
			reason = check_escape(span_from(path, i));
		else if (path.p[i] == '\\')
			reason = "backslash";
		else if (path.p[i] == '?')
			reason = "question mark";
		else if ((reason = check_byte(path.p[i])) == NULL &&
		    strchr(PATH_ESCAPED, path.p[i]) != NULL)
			reason = "byte that must be escaped";
	}
	return reason != NULL ? reason : check_segments(path);
}

const char *
target_check_query(struct span query)
{
	const char *reason = NULL;
	size_t i;

	if (query.n == 0)
		return NULL;
	if (query.p[0] != '?')
		return "query without question mark";
	if (query.n == 1)
		return "empty query";
	for (i = 1; i < query.n && reason == NULL; i++)
		if ((reason = check_byte(query.p[i])) == NULL &&
		    strchr(QUERY_ESCAPED, query.p[i]) != NULL)
			reason = "byte that must be escaped";
	return reason;
}
