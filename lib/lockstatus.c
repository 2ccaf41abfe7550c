#include <fcntl.h>

#include "clock.h"
#include "json.h"
#include "lockstatus.h"

static enum lockdir_state
look_folder(const char *path, struct holder *h)
{
	enum lockdir_state state;
	struct lockdir l;

	if (lockdir_open(&l, path) == -1)
		return LOCKDIR_UNSEEN;
	state = lockdir_look(&l, h);
	lockdir_close(&l);
	return state;
}

static enum lockdir_state
look_file(const char *path, struct holder *h)
{
	switch (holder_look(AT_FDCWD, path, h)) {
	case HOLDER_NONE:
		return LOCKDIR_FREE;
	case HOLDER_THERE:
		return LOCKDIR_HELD;
	default:
		return LOCKDIR_UNSEEN;
	}
}

int
lockstatus_look(struct lockstatus *s, const char *path, bool dir)
{
	*s = (struct lockstatus){ .holder.since = -1 };
	s->state = dir ? look_folder(path, &s->holder) :
	    look_file(path, &s->holder);
	return s->state == LOCKDIR_UNSEEN ? -1 : 0;
}

bool
lockstatus_is_free(const struct lockstatus *s)
{
	return s->state == LOCKDIR_FREE || s->state == LOCKDIR_LEFT;
}

void
lockstatus_put_holder(struct buf *out, const struct holder *h)
{
	char since[CLOCK_TEXT_SIZE];

	if (h->pid == 0) {
		buf_add_str(out, "an unknown process");
	} else {
		buf_add_str(out, h->alive ? "pid " : "what was left by pid ");
		buf_add_int(out, h->pid);
	}
	if (h->since > 0) {
		clock_format(h->since, since);
		buf_add_str(out, " since ");
		buf_add_str(out, since);
	}
}

void
lockstatus_put_text(struct buf *out, const struct lockstatus *s)
{
	const struct holder *h = &s->holder;
	const char *p;

	if (s->state == LOCKDIR_FREE) {
		buf_add_str(out, "free\n");
		return;
	}
	if (s->state == LOCKDIR_LEFT)
		buf_add_str(out, "free, ");
	buf_add_str(out, h->shared ? "shared by " : "held by ");
	lockstatus_put_holder(out, h);
	if (h->command[0] != '\0')
		buf_add_str(out, ": ");
	/* Others' words, on what may be a terminal. */
	for (p = h->command; *p != '\0'; p++)
		buf_add_char(out, *p >= 0x20 && *p <= 0x7e ? *p : '?');
	buf_add_char(out, '\n');
}

static void
put_optional(struct buf *out, const char *key, const char *text)
{
	json_put_key(out, key);
	if (text[0] != '\0' && utf8_is_valid(span_of(text)))
		json_put_string(out, span_of(text));
	else
		buf_add_str(out, "null");
}

static void
put_bool(struct buf *out, const char *key, bool value)
{
	json_put_key(out, key);
	buf_add_str(out, value ? "true" : "false");
}

void
lockstatus_put_json(struct buf *out, const struct lockstatus *s)
{
	static const struct holder nobody = { .since = -1 };
	const struct holder *h = s->state == LOCKDIR_FREE ? &nobody :
	    &s->holder;
	char since[CLOCK_TEXT_SIZE] = "";

	buf_add_char(out, '{');
	json_put_key(out, "state");
	json_put_string(out, span_of(s->state == LOCKDIR_FREE ? "free" :
	    s->state == LOCKDIR_LEFT ? "left" : "held"));
	put_bool(out, "shared", h->shared);
	json_put_key(out, "pid");
	if (h->pid != 0)
		buf_add_int(out, h->pid);
	else
		buf_add_str(out, "null");
	put_bool(out, "alive", h->alive);
	if (h->since > 0)
		clock_format(h->since, since);
	put_optional(out, "since", since);
	put_optional(out, "command", h->command);
	buf_add_str(out, "}\n");
}
