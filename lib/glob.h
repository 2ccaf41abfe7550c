/*
 * glob.h - shell patterns.  Our own, since C libraries differ in what a
 * backslash means within brackets, and both sides must leave out the same.
 */
#ifndef GLOB_H
#define GLOB_H

#include <stdbool.h>

/*
 * Whether glob matches all of name, byte by byte: "*" anything, "?" one byte,
 * "[a-z]" and "[!a-z]" one of a set, a backslash the next byte as it is, in a
 * set, too.  A "[" that is never closed is itself; a backslash at the end
 * matches nothing.  Takes length of glob times length of name at most.
 */
bool glob_match(const char *glob, const char *name);

#endif
