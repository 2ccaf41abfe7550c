/*
 * lockstatus.h - a lock, be it a file or a folder, as somebody sees it who
 * looks at it: in a sentence, in a line, as JSON.
 */
#ifndef LOCKSTATUS_H
#define LOCKSTATUS_H

#include "buf.h"
#include "lockdir.h"

struct lockstatus {
	enum lockdir_state state;	/* never LOCKDIR_UNSEEN */
	struct holder holder;		/* unless it is LOCKDIR_FREE */
};

/* 0, or -1 with errno: there is no lock that could be looked at. */
int lockstatus_look(struct lockstatus *s, const char *path, bool dir);

/* It is free, or left by a holder that is dead. */
bool lockstatus_is_free(const struct lockstatus *s);

/* "pid 4711 since 2026-01-02T03:04:05.678Z", as far as that is known. */
void lockstatus_put_holder(struct buf *out, const struct holder *h);

/* A line each. */
void lockstatus_put_text(struct buf *out, const struct lockstatus *s);
void lockstatus_put_json(struct buf *out, const struct lockstatus *s);

#endif
