/*
 * rules.h - which requests may pass: lines of a method and a path pattern
 * (format: pc-rules(5)).
 *
 * A pattern is matched segment by segment against the whole path; `:name`
 * stands for one non-empty segment (`:name.txt`: one with that ending, and
 * something before it; an ending begins with a dot).  Nothing is folded or
 * decoded: the bytes that were checked are the bytes that are sent.
 */
#ifndef RULES_H
#define RULES_H

#include "buf.h"

#define RULES_MAX		4096
#define RULES_SEGMENTS_MAX	64
#define RULES_TEXT_MAX		(1 << 20)

struct rule {
	struct span method, pattern;	/* into the rules' own text */
	struct rule *next;		/* private: of the same bucket */
};

/* Zeroed is empty: nothing is allowed. */
struct rules {
	char *text;
	struct rule *rules;
	size_t count;
	struct rule **buckets;		/* private: by method and segments */
};

/*
 * Takes a rules text (copied).  0; -1 with *line and *fault set, a static
 * phrase, and r empty.  A line of 0 is no line's fault: out of memory, or a
 * text over RULES_TEXT_MAX.
 */
int rules_parse(struct rules *r, struct span text, size_t *line,
    const char **fault);
void rules_free(struct rules *r);

/* The rule that allows it, or NULL.  path must be canonical (target.h). */
const struct rule *rules_match(const struct rules *r, struct span method,
    struct span path);

/* Appends `METHOD pattern` and a newline for each, in the order given. */
void rules_put(const struct rules *r, struct buf *out);

/* A built-in text: "@default", "@2026.916"; NULL for any other name. */
const char *rules_builtin(const char *name);

#endif
