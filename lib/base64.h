/* base64.h - RFC 4648 base64, strict (section 4) and URL-safe (section 5). */
#ifndef BASE64_H
#define BASE64_H

#include <stdbool.h>

#include "buf.h"

/* Length a multiple of 4, standard alphabet, re-encodes to itself. */
bool base64_is_canonical(struct span text);

/* Bytes that canonical text stands for. */
size_t base64_decoded_len(struct span text);

/* Appends.  Decoding wants canonical text: 0, or -1 and nothing appended. */
void base64_encode(struct buf *out, struct span bytes);
int base64_decode(struct buf *out, struct span text);

/* URL-safe alphabet, no padding. */
void base64_encode_url(struct buf *out, struct span bytes);

#endif
