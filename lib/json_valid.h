/* json_valid.h - the validator in front of jsmn. */
#ifndef JSON_VALID_H
#define JSON_VALID_H

#include "span.h"

/*
 * Proves that text is one RFC 8259 object or array: 0 and how many tokens
 * jsmn will make of it, or -1 with errno (EINVAL, E2BIG).
 */
int json_validate(struct span text, size_t *tokens);

/* The length of the valid UTF-8 sequence at p (end is past it), or 0. */
size_t utf8_sequence_len(const unsigned char *p, const unsigned char *end);

#endif
