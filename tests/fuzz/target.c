/*
 * Properties: what passes a check comes out of target_canonicalise as it is;
 * what comes out of that comes out again as it is, and its query passes.
 */
#include <stdint.h>
#include <stdlib.h>

#include "target.h"

static void
check(bool ok)
{
	if (!ok)
		abort();
}

static void
check_fixpoint(struct span path, struct span query)
{
	struct buf target = { 0 }, newpath = { 0 }, newquery = { 0 };
	struct span exact;
	char *block;

	buf_add_span(&target, path);
	buf_add_span(&target, query);
	exact.p = block = malloc(target.len > 0 ? target.len : 1);
	exact.n = target.len;
	check(block != NULL && !buf_failed(&target));
	if (target.len > 0)
		memcpy(block, target.data, target.len);
	check(target_canonicalise(exact, &newpath, &newquery) == 0);
	check(span_equal(buf_span(&newpath), path));
	check(span_equal(buf_span(&newquery), query));
	buf_free(&target);
	buf_free(&newpath);
	buf_free(&newquery);
	free(block);
}

/* The only faults of a path that the standard leaves in. */
static void
check_reason(struct span path)
{
	const char *reason = target_check_path(path);

	check(reason == NULL || strcmp(reason, "empty segment") == 0 ||
	    strcmp(reason, "malformed percent escape") == 0 ||
	    strncmp(reason, "encoded ", 8) == 0);
}

static void
check_canonical(struct span target)
{
	struct buf path = { 0 }, query = { 0 };

	if (target_canonicalise(target, &path, &query) == 0) {
		check(path.len <= 3 * target.n + 1);
		check(target_check_query(buf_span(&query)) == NULL);
		check_reason(buf_span(&path));
		/* "//x" would name a host. */
		if (path.len == 1 || path.data[1] != '/')
			check_fixpoint(buf_span(&path), buf_span(&query));
	}
	buf_free(&path);
	buf_free(&query);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span none = { "", 0 }, s;
	char *block = malloc(len > 0 ? len : 1);

	check(block != NULL);
	if (len > 0)
		memcpy(block, data, len);
	s = (struct span){ block, len };
	check_canonical(s);
	if (target_check_path(s) == NULL)
		check_fixpoint(s, none);
	if (target_check_query(s) == NULL)
		check_fixpoint(span_of("/"), s);
	target_is_authority(s);
	free(block);
	return 0;
}
