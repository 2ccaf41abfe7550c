/*
 * target.h - request targets: what a client asked for, and what is passed on.
 *
 * The gateway turns a raw target into a canonical path and query, by the
 * rules of the WHATWG URL standard, as the peers do; whoever reads a request
 * from a queue only checks that they are canonical, and changes no byte.
 */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>

#include "buf.h"
#include "span.h"

/*
 * Replaces the content of path and query by what the standard calls pathname
 * and search of the target, resolved against a base of scheme http.  Taken
 * are "/path", "//authority/path", "http://" and "https://" URLs (authority
 * dropped; it must pass target_is_authority) and "*" (a '/' before it).
 * Dot segments are resolved, '\' in a path is '/', the fragment is dropped,
 * and an empty query is no query.  A malformed '%' stays as it is.
 *
 * 0, or -1 for any other form and for bytes that are not printable ASCII;
 * on -1 the buffers are unspecified.  Memory: ask buf_failed of both.
 */
int target_canonicalise(struct span target, struct buf *path,
    struct buf *query);

/*
 * True for host[:port] without user information: a name of letters, digits,
 * '-' and '_' in non-empty labels, a dotted quad, or an IPv6 address in
 * brackets; the port is empty or at most 65535.  Stricter than the standard,
 * which would also take a number for an IPv4 address, or non-ASCII labels.
 */
bool target_is_authority(struct span s);

/*
 * NULL when canonical, else why not, as a static lower-case phrase.
 * A path that passes is absolute, has no empty or dot segment (a '/' at the
 * end is fine), hides no slash or control behind an escape, and is its own
 * pathname: a URL parser of any version leaves every byte as it is.  A query
 * that passes is empty or '?' and something, and is its own search.
 */
const char *target_check_path(struct span path);
const char *target_check_query(struct span query);

#endif
