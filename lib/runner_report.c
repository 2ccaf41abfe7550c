/* How a command has ended, as pc-exec reports it. */
#include "json.h"
#include "runner.h"

static const char *const cause_names[] = {
	[RUNNER_CLOSED] = "closed", [RUNNER_DEADLINE] = "deadline",
	[RUNNER_KILLED] = "killed", [RUNNER_IDLE] = "idle"
};

static void
put_text(struct buf *out, const char *key, struct span text)
{
	json_put_key(out, key);
	if (text.n == 0)
		buf_add_str(out, "null");
	else if (utf8_is_valid(text))
		json_put_string(out, text);
	else
		buf_add_str(out, "\"(not UTF-8)\"");
}

void
runner_put_report(struct buf *out, const struct command *c,
    const struct runner_end *end)
{
	const char *cause = cause_names[end->cause];

	buf_add_str(out, "{\"exit\":");
	buf_add_int(out, end->status);
	json_put_key(out, "signal");
	if (end->signal != 0)
		buf_add_int(out, end->signal);
	else
		buf_add_str(out, "null");
	json_put_key(out, "timedOut");
	buf_add_str(out, end->cause == RUNNER_DEADLINE ? "true" : "false");
	put_text(out, "ended", span_of(cause != NULL ? cause : ""));
	put_text(out, "error", buf_span(&end->error));
	if (end->skipped)
		buf_add_str(out, ",\"skipped\":true");
	if (end->left)
		buf_add_str(out, ",\"left\":true");
	if (end->lost > 0) {
		json_put_key(out, "lostBytes");
		buf_add_int(out, (int64_t)end->lost);
	}
	if (c->id != NULL)
		put_text(out, "id", span_of(c->id));
	buf_add_str(out, "}\n");
}
