#include "base64.h"
#include "beneath.h"
#include "manifest.h"
#include "manifest_parse.h"
#include "units.h"

/* --- the first line --- */

/* A pattern: a string, or {"base64":...}. */
static int
take_pattern(const struct json *j, size_t t, struct buf *text)
{
	buf_reset(text, 4096);
	if (json_type_of(j, t) == JSON_STRING) {
		json_unescape(text, json_raw(j, t));
		return 0;
	}
	if (json_type_of(j, t) != JSON_OBJECT || json_size(j, t) != 1 ||
	    !json_string_is(json_raw(j, t + 1), "base64") ||
	    json_type_of(j, t + 2) != JSON_STRING ||
	    !base64_is_canonical(json_raw(j, t + 2)))
		return -1;
	return base64_decode(text, json_raw(j, t + 2));
}

static int
take_patterns(const struct json *j, size_t t, struct scope *s,
    int (*add)(struct scope *, struct span))
{
	struct buf text = { .data = NULL };
	size_t i, n, at;
	int got, result = 0;

	if (json_type_of(j, t) != JSON_ARRAY)
		return -1;
	n = json_size(j, t);
	for (i = 0, at = t + 1; i < n && result == 0; i++) {
		got = take_pattern(j, at, &text);
		if (buf_failed(&text) || got == -1 ||
		    add(s, buf_span(&text)) == -1)
			result = -1;
		at = json_skip(j, at);
	}
	buf_free(&text);
	return result;
}

int
manifest_parse_header(struct json *j, struct span line, struct scope *s)
{
	bool version = false, exclude = false;
	size_t i, n, at;
	int64_t number;

	if (json_parse(j, line) == -1 || json_type_of(j, 0) != JSON_OBJECT)
		return -1;
	n = json_size(j, 0);
	for (i = 0, at = 1; i < n; i++, at = json_skip(j, at + 1)) {
		struct span key = json_raw(j, at);

		if (json_string_is(key, "manifest")) {
			version = json_integer(j, at + 1, 1, &number) == 0 &&
			    number == 1;
		} else if (json_string_is(key, "exclude")) {
			exclude = true;
			if (take_patterns(j, at + 1, s, scope_exclude) == -1)
				return -1;
		} else if (!json_string_is(key, "preserve") ||
		    take_patterns(j, at + 1, s, scope_preserve) == -1) {
			return -1;
		}
	}
	return version && exclude ? 0 : -1;
}

/* --- an entry's line --- */

/* What a line says, before it is known to be whole. */
struct seen {
	bool path, type, mode, size, mtime, sha256, target;
};

/* A string's bytes into arena; spans are set when it no longer grows. */
static int
take_bytes(const struct json *j, size_t t, bool base64, struct buf *arena,
    size_t *at, size_t *len)
{
	struct span raw = json_raw(j, t);

	if (json_type_of(j, t) != JSON_STRING)
		return -1;
	*at = arena->len;
	if (!base64)
		json_unescape(arena, raw);
	else if (!base64_is_canonical(raw) ||
	    base64_decode(arena, raw) == -1)
		return -1;
	*len = arena->len - *at;
	/* Only what is not UTF-8 is written as base64; what is empty is. */
	return base64 && (*len == 0 || utf8_is_valid((struct span){
	    arena->data + *at, *len })) ? -1 : 0;
}

static int
take_type(struct span raw, struct entry *e)
{
	if (json_string_is(raw, "file"))
		e->type = ENTRY_FILE;
	else if (json_string_is(raw, "dir"))
		e->type = ENTRY_DIR;
	else if (json_string_is(raw, "link"))
		e->type = ENTRY_LINK;
	else
		return -1;
	return 0;
}

/* A decimal int64 in a string, as "-1500000000". */
static int
take_time(struct span raw, int64_t *out)
{
	char text[24];
	uint64_t value;
	bool negative = raw.n > 0 && raw.p[0] == '-';

	if (raw.n == 0 || raw.n >= sizeof(text))
		return -1;
	memcpy(text, raw.p, raw.n);
	text[raw.n] = '\0';
	if (units_parse_number(text + negative,
	    (uint64_t)INT64_MAX + negative, &value) == -1 ||
	    (text[negative] == '0' && raw.n > 1))
		return -1;
	*out = negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
	return 0;
}

static int
take_member(const struct json *j, size_t at, struct entry *e,
    struct seen *seen, struct buf *arena, size_t where[4])
{
	struct span key = json_raw(j, at), raw = json_raw(j, at + 1);
	bool text = json_type_of(j, at + 1) == JSON_STRING;
	int64_t number;

	if (json_string_is(key, "path") || json_string_is(key, "pathBase64")) {
		if (seen->path)
			return -1;
		seen->path = true;
		return take_bytes(j, at + 1, key.n > 4, arena, &where[0],
		    &where[1]);
	}
	if (json_string_is(key, "target") ||
	    json_string_is(key, "targetBase64")) {
		if (seen->target)
			return -1;
		seen->target = true;
		return take_bytes(j, at + 1, key.n > 6, arena, &where[2],
		    &where[3]);
	}
	if (json_string_is(key, "type") && text && !seen->type) {
		seen->type = true;
		return take_type(raw, e);
	}
	if (json_string_is(key, "mode") && !seen->mode) {
		seen->mode = true;
		if (json_integer(j, at + 1, 0777, &number) == -1)
			return -1;
		e->mode = (unsigned)number;
		return 0;
	}
	if (json_string_is(key, "size") && !seen->size) {
		seen->size = true;
		if (json_integer(j, at + 1, INT64_MAX, &number) == -1)
			return -1;
		e->size = (uint64_t)number;
		return 0;
	}
	if (json_string_is(key, "mtimeNs") && text && !seen->mtime) {
		seen->mtime = true;
		return take_time(raw, &e->mtime_ns);
	}
	if (json_string_is(key, "sha256") && text && !seen->sha256) {
		seen->sha256 = true;
		return sha256_from_hex(raw, e->sha256);
	}
	return -1;
}

static bool
is_whole(const struct entry *e, const struct seen *s)
{
	bool file = e->type == ENTRY_FILE, link = e->type == ENTRY_LINK;

	return s->path && s->type && s->mode == !link && s->size == file &&
	    s->mtime == file && s->sha256 == file && s->target == link &&
	    (!link || (e->target.n > 0 && e->target.n <= ENTRY_TARGET_MAX &&
	    memchr(e->target.p, '\0', e->target.n) == NULL));
}

int
manifest_parse_entry(struct json *j, struct span line, struct entry *e,
    struct buf *arena)
{
	struct seen seen = { .path = false };
	size_t where[4] = { 0, 0, 0, 0 }, i, n, at;

	*e = (struct entry){ .type = ENTRY_FILE };
	buf_reset(arena, 65536);
	if (json_parse(j, line) == -1 || json_type_of(j, 0) != JSON_OBJECT)
		return -1;
	n = json_size(j, 0);
	for (i = 0, at = 1; i < n; i++, at = json_skip(j, at + 1))
		if (take_member(j, at, e, &seen, arena, where) == -1)
			return -1;
	if (buf_failed(arena) || arena->len == 0)
		return -1;
	e->path = (struct span){ arena->data + where[0], where[1] };
	e->target = (struct span){ arena->data + where[2], where[3] };
	if (e->type == ENTRY_LINK)
		e->mode = 0777;
	return is_whole(e, &seen) && path_check(e->path, BENEATH_PATH_MAX,
	    BENEATH_DEPTH_MAX) == PATH_OK ? 0 : -1;
}
