/*
 * fields.h - a JSON object into a struct, by a table of its keys.
 *
 * What is read is somebody's configuration or request: an unknown key, a key
 * twice, or a value of another type is an error that names the key, as in
 * `workspace.remote`.  A key that is absent leaves the struct as it was.
 */
#ifndef FIELDS_H
#define FIELDS_H

#include "fault.h"
#include "json.h"

/* Strings, with a NULL after the last. */
struct texts {
	char **v;
	size_t n;
};

/* A command: its words; or a line for a shell, and no words. */
struct words {
	char *line;
	struct texts argv;
};

/* Elements of a list of objects, size bytes each. */
struct objects {
	void *v;
	size_t n;
};

enum field_type {
	FIELD_TEXT,		/* char *; no NUL in it */
	FIELD_TEXTS,		/* struct texts */
	FIELD_WORDS,		/* struct words: a string or an array of them */
	FIELD_MAP,		/* struct texts: "NAME=value" of an object, each */
	FIELD_BYTES,		/* struct span: any text */
	FIELD_JSON,		/* struct span: of the text read, any value */
	FIELD_FLAG,		/* bool */
	FIELD_NUMBER,		/* int64_t, 0..max */
	FIELD_DURATION,		/* int64_t, ms; "10s", or 0 */
	FIELD_SIZE,		/* uint64_t, bytes; "64K", or a number */
	FIELD_OBJECT,		/* a struct, by fields */
	FIELD_OBJECTS		/* struct objects, each by fields */
};

/*
 * A table ends with an entry without key: FIELDS_OTHERS where an object may
 * have other keys, and null for its own; these are passed over.
 */
#define FIELDS_OTHERS	.key = NULL, .max = 1

struct field {
	const char *key;
	enum field_type type;
	size_t at;			/* offset in the struct */
	int64_t max;			/* FIELD_NUMBER; 0: any */
	const struct field *fields;
	size_t size;			/* of each of FIELD_OBJECTS */
};

/* What the values point to.  Zeroed is empty. */
struct fields_memory {
	struct fields_chunk *first;
};

/*
 * Fills out from text, which must be one JSON object.  0, or -1 with f: the
 * key and what is wrong, or FAULT_SYSTEM for ENOMEM.  Also after -1 the
 * memory is the caller's to free.
 */
int fields_read(struct span text, const struct field *fields, void *out,
    struct fields_memory *memory, struct fault *f);

/* size bytes, zeroed, or NULL with errno. */
void *fields_alloc(struct fields_memory *m, size_t size);

/*
 * The characters of a string of JSON (json_raw), of which there may be NULs,
 * and a NUL after them; or NULL with errno.
 */
char *fields_copy(struct fields_memory *m, struct span raw, size_t *len);

void fields_free(struct fields_memory *m);

#endif
