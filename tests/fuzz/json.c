/*
 * JSON, UTF-8 and base64.  Whatever is taken can be written from its tokens,
 * and is then taken again as the same text; no part of it is taken; what is
 * UTF-8 or base64 is so by a second reading that decodes and encodes.
 */
#include "base64.h"
#include "fuzz.h"
#include "json.h"

static unsigned
unit_at(struct span raw, size_t at)
{
	char hex[5] = "";

	if (raw.n - at < 6 || raw.p[at] != '\\' || raw.p[at + 1] != 'u')
		return 0;
	memcpy(hex, raw.p + at + 2, 4);
	return (unsigned)strtoul(hex, NULL, 16);
}

/* A surrogate stands before or after its other half only. */
static void
check_surrogates(struct span raw)
{
	size_t i, n;
	unsigned c;

	for (i = 0; i < raw.n; i += n) {
		n = raw.p[i] != '\\' ? 1 : raw.p[i + 1] == 'u' ? 6 : 2;
		c = unit_at(raw, i);
		if (c < 0xd800 || c > 0xdfff)
			continue;
		check(c < 0xdc00);
		c = unit_at(raw, i + 6);
		check(c >= 0xdc00 && c <= 0xdfff);
		n = 12;
	}
}

/* Writes a token and all in it; returns the one after it. */
static size_t
print(struct buf *out, const struct json *j, size_t t)
{
	bool object = json_type_of(j, t) == JSON_OBJECT;
	size_t n = json_size(j, t), i, at = t + 1;
	struct buf text = { 0 };

	if (json_type_of(j, t) == JSON_STRING) {
		check_surrogates(json_raw(j, t));
		json_unescape(&text, json_raw(j, t));
		check(text.len == json_unescaped_len(json_raw(j, t)));
		check(text.len <= json_raw(j, t).n);
		check(text.len == 0 || utf8_is_valid(buf_span(&text)));
		json_put_string(out, text.len > 0 ? buf_span(&text) :
		    span_of(""));
		buf_add_char(&text, '\0');
		check(json_string_is(json_raw(j, t), text.data) ==
		    (strlen(text.data) == text.len - 1));
		buf_free(&text);
	} else if (!object && json_type_of(j, t) != JSON_ARRAY) {
		buf_add_span(out, json_raw(j, t));
	} else {
		buf_add_char(out, object ? '{' : '[');
		for (i = 0; i < n; i++) {
			if (i > 0)
				buf_add_char(out, ',');
			at = print(out, j, at);
			if (object)
				buf_add_char(out, ':');
			if (object)
				at = print(out, j, at);
		}
		buf_add_char(out, object ? '}' : ']');
	}
	check(at == json_skip(j, t));
	return at;
}

static void
check_taken(struct json *j, struct span text)
{
	struct buf one = { 0 }, two = { 0 };
	struct json again = { .tokens = NULL };
	size_t at;

	check(j->count <= JSON_TOKENS_MAX && j->count <= text.n);
	check(utf8_is_valid(text));
	check(print(&one, j, 0) == j->count);
	check(json_parse(&again, buf_span(&one)) == 0);
	check(again.count == j->count);
	check(print(&two, &again, 0) == again.count);
	check(span_equal(buf_span(&one), buf_span(&two)));
	for (at = 0; at < one.len; at += 1 + one.len / 64)
		check(json_parse(&again, (struct span){ one.data, at }) ==
		    -1);
	json_free(&again);
	buf_free(&one);
	buf_free(&two);
}

/* RFC 3629, the other way round: the shortest form of a scalar value. */
static bool
is_utf8(struct span s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t i = 0, n, k;
	uint32_t c;

	for (; i < s.n; i += n) {
		c = (unsigned char)s.p[i];
		for (n = 0; n < 8 && (c & (0x80u >> n)) != 0; n++)
			;
		if (n == 0) {
			n = 1;
			continue;
		}
		if (n == 1 || n > 4 || n > s.n - i)
			return false;
		c &= 0x7fu >> n;
		for (k = 1; k < n; k++) {
			if (((unsigned char)s.p[i + k] & 0xc0) != 0x80)
				return false;
			c = c << 6 | ((unsigned char)s.p[i + k] & 0x3f);
		}
		if (c < least[n] || c > 0x10ffff ||
		    (c >= 0xd800 && c < 0xe000))
			return false;
	}
	return true;
}

static void
check_base64(struct span s)
{
	struct buf bytes = { 0 }, text = { 0 };
	bool is = base64_is_canonical(s);

	check((base64_decode(&bytes, s) == 0) == is);
	if (is) {
		check(bytes.len == base64_decoded_len(s));
		base64_encode(&text, buf_span(&bytes));
		check(span_equal(buf_span(&text), s));
	}
	buf_reset(&text, 4096);
	buf_reset(&bytes, 4096);
	base64_encode(&text, s);
	check(base64_is_canonical(buf_span(&text)));
	check(base64_decode(&bytes, buf_span(&text)) == 0);
	check(span_equal(buf_span(&bytes), s));
	buf_free(&bytes);
	buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span text = fuzz_block(data, len);
	struct json j = { .tokens = NULL };

	if (json_parse(&j, text) == 0)
		check_taken(&j, text);
	check(utf8_is_valid(text) == is_utf8(text));
	check_base64(text);
	json_free(&j);
	free((char *)text.p);
	return 0;
}
