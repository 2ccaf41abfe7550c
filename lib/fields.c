#include <errno.h>
#include <stdlib.h>

#include "fields.h"
#include "units.h"

struct fields_chunk {
	struct fields_chunk *next;
	max_align_t data[];
};

struct reader {
	struct json json;
	struct fields_memory *memory;
	struct fault *fault;
	struct buf path;		/* of the key that is read */
};

void *
fields_alloc(struct fields_memory *m, size_t size)
{
	struct fields_chunk *c = calloc(1, sizeof(*c) + size);

	if (c == NULL)
		return NULL;
	c->next = m->first;
	m->first = c;
	return c->data;
}

char *
fields_copy(struct fields_memory *m, struct span raw, size_t *len)
{
	struct buf text = { 0 };
	char *copy = NULL;

	json_unescape(&text, raw);
	if (!buf_failed(&text))
		copy = fields_alloc(m, text.len + 1);
	if (copy != NULL && text.len > 0)
		memcpy(copy, text.data, text.len);
	*len = text.len;
	buf_free(&text);
	return copy;
}

void
fields_free(struct fields_memory *m)
{
	struct fields_chunk *c;

	while ((c = m->first) != NULL) {
		m->first = c->next;
		free(c);
	}
}

static int
wrong(struct reader *r, const char *reason)
{
	return fault_input(r->fault, buf_span(&r->path), reason);
}

static void *
get_memory(struct reader *r, size_t size)
{
	void *p = fields_alloc(r->memory, size);

	if (p == NULL)
		(void)fault_system(r->fault, buf_span(&r->path));
	return p;
}

static char *
copy_text(struct reader *r, size_t token, size_t *len)
{
	char *copy = fields_copy(r->memory, json_raw(&r->json, token), len);

	if (copy == NULL)
		(void)fault_system(r->fault, buf_span(&r->path));
	return copy;
}

static int
read_text(struct reader *r, size_t token, char **out)
{
	size_t len;
	char *text;

	if (json_type_of(&r->json, token) != JSON_STRING)
		return wrong(r, "not a string");
	if ((text = copy_text(r, token, &len)) == NULL)
		return -1;
	if (strlen(text) != len)
		return wrong(r, "a NUL in it");
	*out = text;
	return 0;
}

static int
read_texts(struct reader *r, size_t token, struct texts *out)
{
	size_t n, i, at = token + 1;
	char **v;

	if (json_type_of(&r->json, token) != JSON_ARRAY)
		return wrong(r, "not an array of strings");
	n = json_size(&r->json, token);
	if ((v = get_memory(r, (n + 1) * sizeof(*v))) == NULL)
		return -1;
	for (i = 0; i < n; i++, at = json_skip(&r->json, at))
		if (read_text(r, at, &v[i]) == -1)
			return -1;
	*out = (struct texts){ v, n };
	return 0;
}

static int
read_words(struct reader *r, size_t token, struct words *out)
{
	struct words w = { NULL, { NULL, 0 } };

	if (json_type_of(&r->json, token) == JSON_STRING) {
		if (read_text(r, token, &w.line) == -1)
			return -1;
		if (*w.line == '\0')
			return wrong(r, "empty");
	} else if (json_type_of(&r->json, token) != JSON_ARRAY) {
		return wrong(r, "neither a string nor an array of strings");
	} else if (read_texts(r, token, &w.argv) == -1) {
		return -1;
	} else if (w.argv.n == 0 || *w.argv.v[0] == '\0') {
		return wrong(r, "empty");
	}
	*out = w;
	return 0;
}

/* A name of the environment and its value, joined. */
static char *
read_pair(struct reader *r, size_t key)
{
	size_t name_len, value_len;
	char *name = copy_text(r, key, &name_len), *value, *pair;

	if (name == NULL)
		return NULL;
	if (name_len == 0 || strlen(name) != name_len ||
	    strchr(name, '=') != NULL) {
		(void)wrong(r, "a name that is empty, or has = or NUL in it");
		return NULL;
	}
	if (json_type_of(&r->json, key + 1) != JSON_STRING) {
		(void)wrong(r, "a value that is not a string");
		return NULL;
	}
	if ((value = copy_text(r, key + 1, &value_len)) == NULL ||
	    (pair = get_memory(r, name_len + value_len + 2)) == NULL)
		return NULL;
	if (strlen(value) != value_len) {
		(void)wrong(r, "a NUL in it");
		return NULL;
	}
	memcpy(pair, name, name_len);
	pair[name_len] = '=';
	memcpy(pair + name_len + 1, value, value_len);
	return pair;
}

static int
read_map(struct reader *r, size_t token, struct texts *out)
{
	size_t n, i, at = token + 1;
	char **v;

	if (json_type_of(&r->json, token) != JSON_OBJECT)
		return wrong(r, "not an object of strings");
	n = json_size(&r->json, token);
	if ((v = get_memory(r, (n + 1) * sizeof(*v))) == NULL)
		return -1;
	for (i = 0; i < n; i++, at = json_skip(&r->json, at + 1))
		if ((v[i] = read_pair(r, at)) == NULL)
			return -1;
	*out = (struct texts){ v, n };
	return 0;
}

static int
read_bytes(struct reader *r, size_t token, struct span *out)
{
	if (json_type_of(&r->json, token) != JSON_STRING)
		return wrong(r, "not a string");
	return (out->p = copy_text(r, token, &out->n)) != NULL ? 0 : -1;
}

static int
read_flag(struct reader *r, size_t token, bool *out)
{
	if (json_type_of(&r->json, token) != JSON_BOOL)
		return wrong(r, "neither true nor false");
	*out = span_is(json_raw(&r->json, token), "true");
	return 0;
}

static int
read_number(struct reader *r, size_t token, int64_t max, int64_t *out)
{
	if (json_integer(&r->json, token, max == 0 ? INT64_MAX : max,
	    out) == -1)
		return wrong(r, "not a number in range");
	return 0;
}

static int
read_duration(struct reader *r, size_t token, int64_t *out)
{
	char *text;

	if (json_integer(&r->json, token, 0, out) == 0)
		return 0;
	if (json_type_of(&r->json, token) != JSON_STRING)
		return wrong(r, "not a duration like \"10s\"");
	if (read_text(r, token, &text) == -1)
		return -1;
	if (units_parse_duration(text, out) == -1)
		return wrong(r, "not a duration like \"10s\"");
	return 0;
}

static int
read_size(struct reader *r, size_t token, uint64_t *out)
{
	int64_t number;
	char *text;

	if (json_integer(&r->json, token, INT64_MAX, &number) == 0) {
		*out = (uint64_t)number;
		return 0;
	}
	if (json_type_of(&r->json, token) != JSON_STRING)
		return wrong(r, "not a size like \"64K\"");
	if (read_text(r, token, &text) == -1)
		return -1;
	if (units_parse_size(text, out) == -1)
		return wrong(r, "not a size like \"64K\"");
	return 0;
}

static int read_object(struct reader *r, size_t token,
    const struct field *fields, void *out);

static int
read_objects(struct reader *r, size_t token, const struct field *field,
    struct objects *out)
{
	size_t n, i, at = token + 1;
	char *v;

	if (json_type_of(&r->json, token) != JSON_ARRAY)
		return wrong(r, "not an array of objects");
	n = json_size(&r->json, token);
	if ((v = get_memory(r, (n + 1) * field->size)) == NULL)
		return -1;
	for (i = 0; i < n; i++, at = json_skip(&r->json, at))
		if (read_object(r, at, field->fields, v + i * field->size) ==
		    -1)
			return -1;
	*out = (struct objects){ v, n };
	return 0;
}

static int
read_value(struct reader *r, size_t token, const struct field *field,
    void *out)
{
	switch (field->type) {
	case FIELD_TEXT:
		return read_text(r, token, out);
	case FIELD_TEXTS:
		return read_texts(r, token, out);
	case FIELD_WORDS:
		return read_words(r, token, out);
	case FIELD_MAP:
		return read_map(r, token, out);
	case FIELD_BYTES:
		return read_bytes(r, token, out);
	case FIELD_JSON:
		*(struct span *)out = json_raw(&r->json, token);
		return 0;
	case FIELD_FLAG:
		return read_flag(r, token, out);
	case FIELD_NUMBER:
		return read_number(r, token, field->max, out);
	case FIELD_DURATION:
		return read_duration(r, token, out);
	case FIELD_SIZE:
		return read_size(r, token, out);
	case FIELD_OBJECT:
		return read_object(r, token, field->fields, out);
	default:
		return read_objects(r, token, field, out);
	}
}

/* Whether the same key stands before, in the object that begins at first. */
static bool
is_twice(struct reader *r, size_t first, size_t at, const char *key)
{
	size_t i;

	for (i = first; i < at; i = json_skip(&r->json, i + 1))
		if (json_string_is(json_raw(&r->json, i), key))
			return true;
	return false;
}

/* By FIELDS_OTHERS at the end of the table that found is in. */
static bool
may_pass_over(const struct reader *r, size_t value, const struct field *found)
{
	const struct field *end = found;

	while (end->key != NULL)
		end++;
	return end->max != 0 && (found == end ||
	    json_type_of(&r->json, value) == JSON_NULL);
}

static int
read_object(struct reader *r, size_t token, const struct field *fields,
    void *out)
{
	size_t n, i, k, at = token + 1, outer = r->path.len;

	if (json_type_of(&r->json, token) != JSON_OBJECT)
		return wrong(r, "not an object");
	n = json_size(&r->json, token);
	for (i = 0; i < n; i++, at = json_skip(&r->json, at + 1)) {
		struct span key = json_raw(&r->json, at);

		if (outer > 0)
			buf_add_char(&r->path, '.');
		buf_add_span(&r->path, key);
		for (k = 0; fields[k].key != NULL; k++)
			if (json_string_is(key, fields[k].key))
				break;
		if (may_pass_over(r, at + 1, &fields[k])) {
			r->path.len = outer;
			continue;
		}
		if (fields[k].key == NULL)
			return wrong(r, "unknown key");
		if (is_twice(r, token + 1, at, fields[k].key))
			return wrong(r, "given twice");
		if (read_value(r, at + 1, &fields[k],
		    (char *)out + fields[k].at) == -1)
			return -1;
		r->path.len = outer;
	}
	return 0;
}

int
fields_read(struct span text, const struct field *fields, void *out,
    struct fields_memory *memory, struct fault *f)
{
	struct reader r = { .memory = memory, .fault = f };
	int result = -1;

	if (json_parse(&r.json, text) == 0)
		result = read_object(&r, 0, fields, out);
	else if (errno == ENOMEM)
		(void)fault_system(f, span_of(""));
	else
		(void)fault_input(f, span_of(""), errno == E2BIG ?
		    "JSON over the limits" : "not JSON");
	json_free(&r.json);
	buf_free(&r.path);
	return result;
}
