/* mode.h - a mode for an entry, and never for what a link leads to. */
#ifndef MODE_H
#define MODE_H

/*
 * Sets the permission bits of name below dir, if they are not so.  A link is
 * left alone.  0, or -1 with errno.
 */
int mode_set_at(int dir, const char *name, unsigned mode);

#endif
