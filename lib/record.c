#include <errno.h>

#include "ascii.h"
#include "base64.h"
#include "clock.h"
#include "id.h"
#include "record.h"

/* More members than this at the top are no record of ours or of a peer. */
#define MEMBERS_MAX 64

enum key {
	KEY_ID, KEY_METHOD, KEY_PATH, KEY_QUERY, KEY_HEADERS, KEY_BODY,
	KEY_BODY_ENCODING, KEY_CREATED_AT, KEY_TIMEOUT_MS, KEY_REMAINING_MS,
	KEY_STATUS, KEY_COMPLETED_AT, KEY_EXPIRES_AT, KEY_WROTE, KEY_COUNT
};

static const char *const key_names[KEY_COUNT] = {
	"id", "method", "path", "query", "headers", "body",
	"bodyEncoding", "createdAt", "timeoutMs", "remainingMs",
	"status", "completedAt", "expiresAt", "wrote"
};

/* Tokens of the known members; 0, the root, stands for absent. */
struct members {
	size_t token[KEY_COUNT];
};

size_t
record_size_max(size_t body_max)
{
	return 6 * body_max + 65536;
}

const char *const request_headers[REQUEST_HEADERS_COUNT] = {
	"accept", "content-type", "idempotency-key", "if-match",
	"if-none-match", CAPABILITY_HEADER
};

static bool
path_takes_capability(struct span path)
{
	return span_starts(path, "/runtime-tools/");
}

bool
request_header_is_carried(struct span name, struct span path)
{
	size_t i;

	if (span_is(name, CAPABILITY_HEADER))
		return path_takes_capability(path);
	for (i = 0; i < REQUEST_HEADERS_COUNT; i++)
		if (span_is(name, request_headers[i]))
			return true;
	return false;
}

bool
method_is_safe(struct span method)
{
	return span_is(method, "GET") || span_is(method, "HEAD") ||
	    span_is(method, "OPTIONS") || span_is(method, "TRACE");
}

bool
header_name_is_valid(struct span name)
{
	size_t i;
	char c;

	for (i = 0; i < name.n; i++) {
		c = name.p[i];
		if (!ascii_is_digit(c) && !ascii_is_letter(c) &&
		    (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
			return false;
	}
	return name.n > 0;
}

bool
header_value_is_valid(struct span value)
{
	size_t i;
	unsigned char c;

	for (i = 0; i < value.n; i++) {
		c = (unsigned char)value.p[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

bool
header_name_is(struct span name, const char *lower)
{
	return ascii_is(name, lower);
}

bool
header_is_hop_by_hop(struct span name)
{
	static const char *const names[] = {
		"connection", "keep-alive", "proxy-authenticate",
		"proxy-authorization", "proxy-connection", "te", "trailer",
		"transfer-encoding", "upgrade"
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (header_name_is(name, names[i]))
			return true;
	return false;
}

const char record_no_memory[] = "out of memory";

static enum record_kind
invalid(struct record *r, const char *fault)
{
	r->fault = fault;
	return RECORD_INVALID;
}

/* The characters of a string token: the text itself, or a copy unescaped. */
static struct span
token_text(struct record *r, size_t token)
{
	struct span raw = json_raw(&r->json, token);
	size_t from = r->arena.len;

	if (memchr(raw.p, '\\', raw.n) == NULL)
		return raw;
	json_unescape(&r->arena, raw);
	return (struct span){ r->arena.data + from, r->arena.len - from };
}

/* Finds the known members: 0, or -1 with fault set. */
static int
find_members(struct record *r, struct members *m)
{
	const struct json *j = &r->json;
	struct span key;
	size_t at, k;

	memset(m, 0, sizeof(*m));
	if (json_type_of(j, 0) != JSON_OBJECT)
		goto bad;
	if (json_size(j, 0) > MEMBERS_MAX)
		goto bad;
	for (at = 1; at < j->count; at = json_skip(j, at + 1)) {
		key = json_raw(j, at);
		for (k = 0; k < KEY_COUNT; k++)
			if (json_string_is(key, key_names[k]))
				break;
		if (k == KEY_COUNT)
			continue;
		if (m->token[k] != 0) {
			r->fault = "duplicate key";
			return -1;
		}
		m->token[k] = at + 1;
	}
	return 0;
bad:
	r->fault = "not a record";
	return -1;
}

/* A member that must be a string; false when absent or of another type. */
static bool
take_string(struct record *r, size_t token, struct span *out)
{
	if (token == 0 || json_type_of(&r->json, token) != JSON_STRING)
		return false;
	*out = token_text(r, token);
	return true;
}

static bool
take_integer(struct record *r, size_t token, int64_t min, int64_t max,
    int64_t *out)
{
	return token == 0 || (json_integer(&r->json, token, max, out) == 0 &&
	    *out >= min);
}

/* lenient: a value that is no string is left out, as existing readers do. */
static bool
take_headers(struct record *r, size_t token, bool lenient)
{
	const struct json *j = &r->json;
	struct record_header *h;
	size_t at, end, i;

	if (token == 0)
		return lenient;
	if (json_type_of(j, token) != JSON_OBJECT)
		return false;
	end = json_skip(j, token);
	for (at = token + 1; at < end; at = json_skip(j, at + 1)) {
		if (json_type_of(j, at + 1) != JSON_STRING) {
			if (lenient)
				continue;
			return false;
		}
		if (r->nheaders == RECORD_HEADERS_MAX)
			return false;
		h = &r->headers[r->nheaders];
		h->name = token_text(r, at);
		h->value = token_text(r, at + 1);
		for (i = 0; i < r->nheaders; i++)
			if (span_equal(r->headers[i].name, h->name))
				return false;
		r->nheaders++;
	}
	return true;
}

static bool
take_body(struct record *r, const struct members *m, bool lenient)
{
	size_t body = m->token[KEY_BODY];
	size_t encoding = m->token[KEY_BODY_ENCODING];
	struct span name;

	r->body = (struct span){ "", 0 };
	if (body == 0 || json_type_of(&r->json, body) != JSON_STRING) {
		if (!lenient)
			return false;
	} else {
		r->body = json_raw(&r->json, body);
	}
	if (encoding == 0)
		return true;
	if (json_type_of(&r->json, encoding) != JSON_STRING)
		return false;
	name = json_raw(&r->json, encoding);
	if (json_string_is(name, "utf8"))
		return true;
	if (!json_string_is(name, "base64"))
		return false;
	if (r->body.n > 0)
		r->body = token_text(r, body);
	r->body_form = RECORD_BODY_BASE64;
	return base64_is_canonical(r->body);
}

static bool
method_is_valid(struct span method)
{
	return method.n <= RECORD_METHOD_MAX && header_name_is_valid(method);
}

static enum record_kind
parse_request(struct record *r, const struct members *m, size_t body_max)
{
	if (!id_is_valid(r->id))
		return invalid(r, "bad id");
	if (!take_string(r, m->token[KEY_METHOD], &r->method) ||
	    !method_is_valid(r->method))
		return invalid(r, "bad method");
	if (!take_string(r, m->token[KEY_PATH], &r->path))
		return invalid(r, "bad path");
	if (!take_string(r, m->token[KEY_QUERY], &r->query))
		return invalid(r, "bad query");
	if (!take_headers(r, m->token[KEY_HEADERS], false))
		return invalid(r, "bad headers");
	if (!take_body(r, m, false))
		return invalid(r, "bad body");
	if (!take_string(r, m->token[KEY_CREATED_AT], &r->created_at))
		return invalid(r, "bad createdAt");
	if (!take_integer(r, m->token[KEY_TIMEOUT_MS], 1, RECORD_TIMEOUT_MAX,
	    &r->timeout_ms))
		return invalid(r, "bad timeoutMs");
	if (!take_integer(r, m->token[KEY_REMAINING_MS], 0, RECORD_TIMEOUT_MAX,
	    &r->remaining_ms))
		return invalid(r, "bad remainingMs");
	if (record_body_len(r) > body_max)
		return RECORD_TOO_LARGE;
	return RECORD_REQUEST;
}

static enum record_kind
parse_response(struct record *r, const struct members *m, size_t body_max)
{
	int64_t status = 0;

	if (!take_integer(r, m->token[KEY_STATUS], 200, 599, &status))
		return invalid(r, "bad status");
	r->status = (int)status;
	if (!take_headers(r, m->token[KEY_HEADERS], true))
		return invalid(r, "bad headers");
	if (!take_body(r, m, true))
		return invalid(r, "bad body");
	if (m->token[KEY_COMPLETED_AT] != 0 && !take_string(r,
	    m->token[KEY_COMPLETED_AT], &r->completed_at))
		return invalid(r, "bad completedAt");
	if (!take_integer(r, m->token[KEY_EXPIRES_AT], 0, INT64_MAX / 2,
	    &r->expires_at))
		return invalid(r, "bad expiresAt");
	if (record_body_len(r) > body_max)
		return RECORD_TOO_LARGE;
	return RECORD_RESPONSE;
}

static void
reset(struct record *r)
{
	struct json json = r->json;
	struct buf arena = r->arena;

	buf_reset(&arena, 1 << 20);
	memset(r, 0, offsetof(struct record, headers));
	r->nheaders = 0;
	r->body = (struct span){ "", 0 };
	r->body_form = RECORD_BODY_TEXT;
	r->fault = NULL;
	r->remaining_ms = -1;
	r->json = json;
	r->arena = arena;
}

enum record_kind
record_parse(struct record *r, struct span text, size_t body_max)
{
	struct members m;
	bool method, status, wrote;

	reset(r);
	if (json_parse(&r->json, text) == -1)
		return invalid(r, errno == ENOMEM ? record_no_memory :
		    errno == E2BIG ? "JSON nested too deep or too long" :
		    "not JSON");
	/* Unescaping only shortens: with this, spans into it stay put. */
	if (buf_reserve(&r->arena, text.n) == NULL)
		return invalid(r, record_no_memory);
	if (find_members(r, &m) == -1)
		return RECORD_INVALID;
	if (m.token[KEY_ID] != 0 &&
	    (!take_string(r, m.token[KEY_ID], &r->id) || !id_is_valid(r->id))) {
		r->id = (struct span){ NULL, 0 };
		return invalid(r, "bad id");
	}
	method = m.token[KEY_METHOD] != 0;
	status = m.token[KEY_STATUS] != 0;
	wrote = m.token[KEY_WROTE] != 0;
	if (method + status + wrote != 1)
		return invalid(r,
		    "not exactly one of \"method\", \"status\", \"wrote\"");
	if (wrote)
		return RECORD_REPORT;
	return method ? parse_request(r, &m, body_max) :
	    parse_response(r, &m, body_max);
}

void
record_free(struct record *r)
{
	json_free(&r->json);
	buf_free(&r->arena);
}

void
record_body_decode(const struct record *r, struct buf *out)
{
	switch (r->body_form) {
	case RECORD_BODY_TEXT:
		json_unescape(out, r->body);
		break;
	case RECORD_BODY_BASE64:
		base64_decode(out, r->body);
		break;
	case RECORD_BODY_BYTES:
		buf_add_span(out, r->body);
		break;
	}
}

struct span
record_outcome(const struct record *r)
{
	size_t i;

	for (i = 0; i < r->nheaders; i++)
		if (header_name_is(r->headers[i].name, OUTCOME_HEADER))
			return r->headers[i].value;
	return (struct span){ "", 0 };
}

size_t
record_body_len(const struct record *r)
{
	switch (r->body_form) {
	case RECORD_BODY_TEXT:
		return json_unescaped_len(r->body);
	case RECORD_BODY_BASE64:
		return base64_decoded_len(r->body);
	default:
		return r->body.n;
	}
}

static void
put_text(struct buf *out, const char *key, struct span text)
{
	json_put_key(out, key);
	json_put_string(out, text);
}

static void
put_number(struct buf *out, const char *key, int64_t value)
{
	json_put_key(out, key);
	buf_add_int(out, value);
}

static void
put_headers(struct buf *out, const struct record *r)
{
	size_t i;

	json_put_key(out, "headers");
	buf_add_char(out, '{');
	for (i = 0; i < r->nheaders; i++) {
		if (i > 0)
			buf_add_char(out, ',');
		json_put_string(out, r->headers[i].name);
		buf_add_char(out, ':');
		json_put_string(out, r->headers[i].value);
	}
	buf_add_char(out, '}');
}

static void
put_body(struct buf *out, const struct record *r)
{
	bool base64 = r->body_form == RECORD_BODY_BASE64;

	json_put_key(out, "body");
	if (r->body_form == RECORD_BODY_BYTES && utf8_is_valid(r->body)) {
		json_put_string(out, r->body);
	} else {
		buf_add_char(out, '"');
		if (r->body_form == RECORD_BODY_BYTES) {
			base64_encode(out, r->body);
			base64 = true;
		} else {
			buf_add_span(out, r->body);
		}
		buf_add_char(out, '"');
	}
	if (base64)
		put_text(out, "bodyEncoding", span_of("base64"));
}

void
record_put_request(struct buf *out, const struct record *r)
{
	buf_add_str(out, "{");
	put_text(out, "id", r->id);
	put_text(out, "method", r->method);
	put_text(out, "path", r->path);
	put_text(out, "query", r->query);
	put_headers(out, r);
	put_body(out, r);
	put_text(out, "createdAt", r->created_at);
	if (r->timeout_ms > 0)
		put_number(out, "timeoutMs", r->timeout_ms);
	if (r->remaining_ms >= 0)
		put_number(out, "remainingMs", r->remaining_ms);
	buf_add_str(out, "}\n");
}

void
record_put_response(struct buf *out, const struct record *r)
{
	char now[CLOCK_TEXT_SIZE];

	buf_add_str(out, "{");
	put_text(out, "id", r->id);
	put_number(out, "status", r->status);
	put_headers(out, r);
	put_body(out, r);
	if (r->completed_at.n > 0) {
		put_text(out, "completedAt", r->completed_at);
	} else {
		clock_format(clock_wall_ms(), now);
		put_text(out, "completedAt", span_of(now));
	}
	if (r->expires_at > 0)
		put_number(out, "expiresAt", r->expires_at);
	buf_add_str(out, "}\n");
}

void
record_put_report(struct buf *out, struct span id, bool wrote,
    const char *reason)
{
	buf_add_str(out, "{");
	put_text(out, "id", id);
	json_put_key(out, "wrote");
	buf_add_str(out, wrote ? "true" : "false");
	put_text(out, "reason", span_of(reason));
	buf_add_str(out, "}\n");
}

static void
put_error_body(struct buf *out, const char *message, const char *outcome)
{
	buf_add_str(out, "{");
	put_text(out, "error", span_of(message));
	if (outcome != NULL && strcmp(outcome, OUTCOME_INDETERMINATE) == 0) {
		put_text(out, "outcome", span_of(outcome));
		json_put_key(out, "retryable");
		buf_add_str(out, "false");
	}
	buf_add_str(out, "}");
}

void
record_make_error(struct record *r, struct buf *body, int status,
    const char *message, const char *outcome)
{
	buf_reset(body, body->cap);
	put_error_body(body, message, outcome);
	r->status = status;
	r->body = buf_span(body);
	r->body_form = RECORD_BODY_BYTES;
	r->headers[0] = (struct record_header){
	    span_of("content-type"), span_of("application/json") };
	r->nheaders = 1;
	if (outcome != NULL)
		r->headers[r->nheaders++] = (struct record_header){
		    span_of(OUTCOME_HEADER), span_of(outcome) };
}

void
record_put_error(struct buf *out, struct span id, int status,
    const char *message, const char *outcome)
{
	record_put_error_until(out, id, status, message, outcome, 0);
}

void
record_put_error_until(struct buf *out, struct span id, int status,
    const char *message, const char *outcome, int64_t expires_at)
{
	struct buf body = { 0 };
	struct record r = { .id = id, .expires_at = expires_at };

	record_make_error(&r, &body, status, message, outcome);
	record_put_response(out, &r);
	out->failed |= body.failed;
	buf_free(&body);
}
