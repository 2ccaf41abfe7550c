#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io.h"
#include "unpacking.h"

int
staging_fault(struct fault *f)
{
	return fault_system(f, span_of(SCOPE_RUNTIME "/" UNPACK_STAGE));
}

struct manifest *
staged_manifest(int dir, const char *name, bool lines, struct fault *f)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		fault_system(f, span_of(name));
		return NULL;
	}
	return lines ? manifest_open_lines(fd, name, f) :
	    manifest_open(fd, name, f);
}

int
staged_remove(struct stage *s, int deleted, struct fault *f)
{
	struct path_list *l = path_list_open(deleted);
	struct beneath *b = beneath_open(s->new);
	const char *name;
	struct span path;
	int dir, got = 0, is = 0;

	if (l == NULL || b == NULL)
		got = staging_fault(f);
	while (got == 0 && (is = path_list_peek(l, &path)) == 1) {
		beneath_forget(b, path);
		dir = beneath_parent(b, path, &name);
		if (dir == -1 ? errno != ENOENT && errno != ENOTDIR &&
		    errno != ELOOP : beneath_remove_tree(dir, name) == -1)
			got = staging_fault(f);
		path_list_next(l);
	}
	if (is == -1)
		got = staging_fault(f);
	path_list_free(l);
	beneath_free(b);
	return got;
}

int
staged_result(struct stage *s, bool cut, struct manifest_writer *out,
    struct fault *f)
{
	struct manifest *base, *lines;
	int has = stage_has(s, BASE), deleted, got = -1;

	if (has == -1)
		return staging_fault(f);
	base = staged_manifest(s->dir, has == 1 ? BASE : ORIGIN, false, f);
	if (base == NULL)
		return -1;
	lines = staged_manifest(s->dir, LINES, true, f);
	deleted = openat(s->dir, DELETED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (lines != NULL && deleted == -1)
		staging_fault(f);
	else if (lines != NULL) {
		got = manifest_begin(out, manifest_scope(base));
		if (got == -1)
			staging_fault(f);
		else
			got = manifest_patch(base, lines, deleted, cut, out,
			    f);
	}
	io_close(deleted);
	manifest_free(lines);
	manifest_free(base);
	return got;
}

int
staged_file(struct stage *s, const char *name)
{
	if (unlinkat(s->dir, name, 0) == -1 && errno != ENOENT)
		return -1;
	return stage_file(s, name);
}

int
staged_result_write(struct stage *s, const char *name, bool cut,
    char id[static MANIFEST_ID_SIZE], struct fault *f)
{
	struct manifest_writer out = { .fd = -1 };
	int got = -1;

	if ((out.fd = staged_file(s, name)) == -1)
		return staging_fault(f);
	if (staged_result(s, cut, &out, f) == 0) {
		got = manifest_end(&out, id);
		if (got == -1)
			staging_fault(f);
	}
	manifest_writer_free(&out);
	io_close(out.fd);
	return got;
}

struct statcache *
origin_cache(const struct stage *s)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(s->dir, ORIGIN_CACHE, flags);

	if (fd == -1)
		fd = openat(s->runtime, STORED_MANIFEST CACHE_SUFFIX, flags);
	return statcache_open(fd);
}
