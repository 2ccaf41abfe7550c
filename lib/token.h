/* token.h - bearer tokens in files. */
#ifndef TOKEN_H
#define TOKEN_H

#include "buf.h"

#define TOKEN_BYTES 24		/* random bytes; 32 characters of base64url */

/* Visible ASCII, 1 to 4096 characters: what fits into a header unchanged. */
bool token_is_valid(struct span token);

/*
 * Reads a token, with or without a newline at its end, into b as a C string.
 * 0, or -1 with errno; EINVAL when there is no valid token in the file.
 */
int token_read(const char *file, struct buf *b);

/* A fresh one into b, as a C string.  0, or -1 with errno. */
int token_make(struct buf *b);

/* One into file, 0600, whole or not at all (put.h).  0, or -1 with errno. */
int token_write(const char *file, struct span token);

#endif
