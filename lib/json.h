/*
 * json.h - strict JSON (RFC 8259) over jsmn.
 *
 * A text is first proved valid by one linear pass without recursion (UTF-8,
 * escapes, numbers, nesting), and only then given to jsmn, which is a
 * tokenizer and not a validator.  Tokens are numbered from 0, the root;
 * strings stay escaped in the text until somebody asks for them.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

#define JSON_DEPTH_MAX	64
#define JSON_TOKENS_MAX	65536

enum json_type {
	JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL
};

/* A parsed text; zero it before the first use, reuse it, free it. */
struct json {
	struct span text;
	struct jsmntok *tokens;
	size_t count, cap;
};

/*
 * The root must be an object or an array; nothing but white space may follow.
 * 0, or -1 with errno: EINVAL (not JSON), E2BIG (over a limit above), ENOMEM.
 * The text must outlive the parse.
 */
int json_parse(struct json *j, struct span text);
void json_free(struct json *j);

enum json_type json_type_of(const struct json *j, size_t token);

/* The token's own text; a string without its quotes, still escaped. */
struct span json_raw(const struct json *j, size_t token);

/* The token after this one and all that is inside it; count at the end. */
size_t json_skip(const struct json *j, size_t token);

/* Members of an object, elements of an array. */
size_t json_size(const struct json *j, size_t token);

/* Appends the characters of an escaped string, as UTF-8. */
void json_unescape(struct buf *out, struct span raw);

/* Length of what json_unescape would append. */
size_t json_unescaped_len(struct span raw);

/* Whether an escaped string stands for exactly these characters. */
bool json_string_is(struct span raw, const char *s);

/* An integer without fraction or exponent, 0..max; -1 if it is none. */
int json_integer(const struct json *j, size_t token, int64_t max,
    int64_t *out);

/* Appends a quoted string; text must be valid UTF-8. */
void json_put_string(struct buf *out, struct span text);

/* Appends `"key":`, with a comma before it unless an object just opened. */
void json_put_key(struct buf *out, const char *key);

/* A key, and text; or null, for NULL and for what is not UTF-8. */
void json_put_member(struct buf *out, const char *key, const char *text);

/* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
bool utf8_is_valid(struct span text);

#endif
