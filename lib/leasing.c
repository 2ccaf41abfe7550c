#include <errno.h>
#include <string.h>

#include "leasing.h"

int
leasing_check_text(const char *what, const char *text, size_t max,
    struct problem *p)
{
	size_t i, n = strlen(text);

	if (n > max)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "%s: longer than %zu bytes", what, max);
	if (!utf8_is_valid((struct span){ text, n }))
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "%s: not UTF-8", what);
	for (i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return problem_set(p, PROBLEM_INPUT, "invalid_input",
			    "%s: a control character in it", what);
	return 0;
}

int
leasing_check_object(const char *what, const char *text, struct problem *p)
{
	struct json json = { .text = { NULL, 0 } };
	bool good;

	if (strlen(text) > LEASING_JSON_MAX)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "%s: longer than %d bytes", what, LEASING_JSON_MAX);
	good = json_parse(&json, span_of(text)) == 0;
	if (!good && errno == ENOMEM)
		return problem_memory(p);
	good = good && json_type_of(&json, 0) == JSON_OBJECT;
	json_free(&json);
	return good ? 0 : problem_set(p, PROBLEM_INPUT, "invalid_input",
	    "%s: not a JSON object", what);
}

int
leasing_check_caller(const struct caller *c, struct problem *p)
{
	if (*c->company == '\0')
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "company: empty");
	if (leasing_check_text("company", c->company, LEASING_TEXT_MAX, p) ==
	    -1 ||
	    leasing_check_text("actor", c->actor, LEASING_TEXT_MAX, p) == -1)
		return -1;
	return leasing_check_text("run", c->run, LEASING_TEXT_MAX, p);
}

void
leasing_put_compact(struct buf *out, const char *json)
{
	bool inside = false;

	for (; *json != '\0'; json++) {
		if (*json == '"')
			inside = !inside;
		if (!inside && strchr(" \t\r\n", *json) != NULL)
			continue;
		buf_add_char(out, *json);
		if (inside && *json == '\\')
			buf_add_char(out, *++json);
	}
}

void
leasing_put_cut(struct buf *out, const char *text, size_t max)
{
	size_t i, n = strnlen(text, max), from = out->len;

	/* Not in the middle of a character. */
	while (n > 0 && text[n] != '\0' && ((unsigned char)text[n] & 0xc0) ==
	    0x80)
		n--;
	buf_add(out, text, n);
	if (n == 0 || buf_failed(out))
		return;
	n = out->len;
	if (!utf8_is_valid((struct span){ out->data + from, n - from }))
		for (i = from; i < n; i++)
			if ((unsigned char)out->data[i] >= 0x80)
				out->data[i] = '?';
	for (i = from; i < n; i++)
		if ((unsigned char)out->data[i] < 0x20 ||
		    out->data[i] == 0x7f)
			out->data[i] = ' ';
}

char *
leasing_keep(struct fields_memory *m, const char *text, struct problem *p)
{
	size_t n = strlen(text) + 1;
	char *copy = fields_alloc(m, n);

	if (copy == NULL)
		(void)problem_memory(p);
	else
		memcpy(copy, text, n);
	return copy;
}

static bool
has_key(const struct json *j, struct span key)
{
	size_t i, at = 1, n = json_size(j, 0);

	for (i = 0; i < n; i++, at = json_skip(j, at + 1))
		if (span_equal(json_raw(j, at), key))
			return true;
	return false;
}

/* A value's own text; a string's with its quotes. */
static void
put_members(struct buf *out, const struct json *j, const struct json *but)
{
	size_t i, at = 1, n = json_size(j, 0);
	struct span key, value;

	for (i = 0; i < n; i++, at = json_skip(j, at + 1)) {
		key = json_raw(j, at);
		value = json_raw(j, at + 1);
		if (but != NULL && has_key(but, key))
			continue;
		if (out->len > 0 && out->data[out->len - 1] != '{')
			buf_add_char(out, ',');
		buf_add(out, key.p - 1, key.n + 2);
		buf_add_char(out, ':');
		if (json_type_of(j, at + 1) == JSON_STRING)
			value = (struct span){ value.p - 1, value.n + 2 };
		buf_add_span(out, value);
	}
}

int
leasing_merge_json(struct buf *out, const char *a, const char *b)
{
	struct json ja = { .text = { NULL, 0 } };
	struct json jb = { .text = { NULL, 0 } };
	int result = -1;

	if (json_parse(&ja, span_of(a)) == 0 &&
	    json_parse(&jb, span_of(b)) == 0) {
		buf_add_char(out, '{');
		put_members(out, &ja, &jb);
		put_members(out, &jb, NULL);
		buf_add_char(out, '}');
		result = buf_failed(out) ? -1 : 0;
	}
	json_free(&ja);
	json_free(&jb);
	return result;
}

void
leasing_put_text(struct buf *out, const char *key, const char *text)
{
	json_put_key(out, key);
	if (*text == '\0')
		buf_add_str(out, "null");
	else
		json_put_string(out, span_of(text));
}
