/*
 * manifest_parse.h - the lines of a manifest (pc-manifest(5)), strictly: what
 * is written in another way than manifest_write.c would is refused, but for
 * the order of keys.  manifest_read.c's own.
 */
#ifndef MANIFEST_PARSE_H
#define MANIFEST_PARSE_H

#include "entry.h"
#include "json.h"
#include "scope.h"

/*
 * The first line; its patterns are added to s.  j is room to work in, zeroed
 * at first.  0, or -1: it is none, or errno is ENOMEM.
 */
int manifest_parse_header(struct json *j, struct span line, struct scope *s);

/*
 * An entry's line; what e points to is in arena, which is emptied before.
 * That the path is in the scope, and in order, is the caller's business.  0,
 * or -1: it is none, or errno is ENOMEM.
 */
int manifest_parse_entry(struct json *j, struct span line, struct entry *e,
    struct buf *arena);

#endif
