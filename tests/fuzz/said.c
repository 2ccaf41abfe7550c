/*
 * A line in which pc-exec tells of a command, from a sandbox that may write
 * anything: what was said is what its JSON says by a plain look, and stays
 * when the line has gone.
 */
#include "base64.h"
#include "fuzz.h"
#include "json.h"
#include "running.h"

/* The last member of this name, and of this type; 0 for none. */
static size_t
member(const struct json *j, const char *name, enum json_type type)
{
	size_t at, found = 0;

	for (at = 1; at < j->count; at = json_skip(j, at + 1))
		if (json_string_is(json_raw(j, at), name) &&
		    json_type_of(j, at + 1) == type)
			found = at + 1;
	return found;
}

static void
check_text(const struct json *j, const char *name, const char *base64,
    struct span said)
{
	size_t plain = member(j, name, JSON_STRING);
	size_t coded = member(j, base64, JSON_STRING);
	struct buf text = { 0 };

	if (coded > plain)
		(void)base64_decode(&text, json_raw(j, coded));
	else if (plain > 0)
		json_unescape(&text, json_raw(j, plain));
	check(span_equal(buf_span(&text), said));
	buf_free(&text);
}

static void
check_string(const struct json *j, const char *name, const char *said)
{
	size_t at = member(j, name, JSON_STRING);
	struct buf text = { 0 };

	check((at > 0) == (said != NULL));
	if (at > 0) {
		json_unescape(&text, json_raw(j, at));
		buf_add_char(&text, '\0');
		check(strcmp(text.data, said) == 0);
	}
	buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span line = fuzz_block(data, len), copy = fuzz_block(data, len);
	struct json j = { .tokens = NULL };
	struct tail tail = { .len = 0 };
	struct said s;
	int got = said_parse(&s, line);

	free((char *)line.p);
	check((got == 0) == (json_parse(&j, copy) == 0 &&
	    json_type_of(&j, 0) == JSON_OBJECT));
	if (got == 0) {
		check_text(&j, "stdout", "stdoutBase64", s.out);
		check_text(&j, "stderr", "stderrBase64", s.err);
		check_string(&j, "error", s.error);
		check_string(&j, "startedAt", s.started);
		check(!s.ended || (s.status >= 0 && s.status <= 255));
		check(s.signal >= 0 && s.lost >= 0);
		check(!s.timed_out || member(&j, "timedOut", JSON_BOOL) > 0);
		check(!s.skipped || member(&j, "skipped", JSON_BOOL) > 0);
		check(!s.running || member(&j, "running", JSON_BOOL) > 0);
		tail_add(&tail, s.out);
		tail_add(&tail, s.err);
		check(tail.len <= sizeof(tail.text));
	}
	said_free(&s);
	json_free(&j);
	free((char *)copy.p);
	return 0;
}
